"""How long-running work tells how far it is. The library reports; only the CLI draws."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Progress(Protocol):
    """Receives progress from ops; every method may be called often and must be cheap."""

    def start(self, task: str, total: int, unit: str) -> None:
        """A task begins; ``total`` is 0 when it is not known."""

    def advance(self, count: int) -> None:
        """``count`` more units are done."""

    def finish(self) -> None:
        """The current task is over, whether it succeeded or not."""


class Silent:
    """The default: says nothing."""

    def start(self, task: str, total: int, unit: str) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


@contextmanager
def under_way(progress: Progress, task: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A task from its start to its end, however it ends; gives what is called with the number of units just done."""
    progress.start(task, total, unit)
    try:
        yield progress.advance
    finally:
        progress.finish()
