"""For laws that allow two answers: a value, or a documented refusal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from wdstools.errors import WdsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def or_refused(code: str) -> Iterator[None]:
    """Accept a wdstools error with this code instead of what the block asserts; anything else is a failure."""
    try:
        yield
    except WdsError as error:
        if error.code != code:
            raise
