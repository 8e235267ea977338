"""Loops that cannot pass on nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Thing = TypeVar("Thing")


def came(things: Iterable[Thing]) -> Iterator[Thing]:
    """Each of the things; fails if there is none, so that a loop over them cannot skip its asserts."""
    nothing = True
    for thing in things:
        nothing = False
        yield thing
    assert not nothing, "nothing came, so nothing was looked at"
