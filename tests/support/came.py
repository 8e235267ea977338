"""Loops that cannot pass on nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Thing = TypeVar("Thing")


def came(things: Iterable[Thing]) -> Iterator[Thing]:
    """Each of the things; fails where there is none, lest the asserts in a loop over them are never reached."""
    nothing = True
    for thing in things:
        nothing = False
        yield thing
    assert not nothing, "nothing came, so nothing was looked at"
