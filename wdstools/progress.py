"""How long-running work reports its progress. The library reports; only the CLI draws."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Progress(Protocol):
    """Receives the progress of operations. Every method may be called often, so it must be cheap."""

    def start(self, task: str, total: int, unit: str) -> None:
        """A task begins; ``total`` is 0 if it is not known."""

    def advance(self, count: int) -> None:
        """``count`` more units are done."""

    def finish(self) -> None:
        """The current task is over, whether it succeeded or not."""


class Silent:
    """The default: reports nothing."""

    def start(self, task: str, total: int, unit: str) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


@contextmanager
def under_way(progress: Progress, task: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Report a task from its start to its end, however it ends; yields a function to call with the number of units just done."""
    progress.start(task, total, unit)
    try:
        yield progress.advance
    finally:
        progress.finish()
