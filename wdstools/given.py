"""Functions that users pass in: their exceptions are reported as theirs, with the place, not as a bug in wdstools."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING, Self

from wdstools.errors import UsageError, WdsError

if TYPE_CHECKING:
    from types import TracebackType


class Calling:
    """Around a call of a user's function: what it raises becomes a UsageError (``function-failed``) that names it.

    ``what`` is the function, as the user knows it; ``at`` is what it was called with. Errors of wdstools pass through.
    """

    def __init__(self, what: str, at: str = "", *, hint: str = "") -> None:
        self.what = what
        self.at = at
        self._hint = hint

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, WdsError | MemoryError):
            last = traceback.extract_tb(trace)[-1]
            text = str(error).strip().partition("\n")[0][:200]
            raise UsageError(
                "a function that was given has failed",
                code="function-failed",
                where=f"{self.what}, {self.at}" if self.at else self.what,
                got=f"{type(error).__name__}{f': {text}' if text else ''} "
                f"({os.path.basename(last.filename)}, line {last.lineno}, in {last.name})",
                hint=self._hint,
            ) from error
