"""Who looks for images that are the same: workers elsewhere, or threads here, which need no copy of the codes."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from wdstools.dedup.compare import compare
from wdstools.dedup.parts import ranges_for, search_part
from wdstools.executors.local import Threads
from wdstools.executors.open import in_threads
from wdstools.memory import free_bytes
from wdstools.planning.compiling import compile_comparing
from wdstools.progress import under_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from wdstools.dedup.compare import Compared, Comparison
    from wdstools.dedup.parts import SearchTask
    from wdstools.executors.base import Executor
    from wdstools.progress import Progress


class OnWorkers:
    """An executor's workers, as ``dedup.parts.Workers``; where they are on this machine, as many threads."""

    def __init__(self, executor: Executor, progress: Progress) -> None:
        self._executor = in_threads(executor)
        self._progress = progress

    def ranges(self, seconds: float) -> int:
        """One where one worker does it all: then each band knows what those before it have linked."""
        return 1 if self._executor.jobs == 1 else ranges_for(seconds, self._executor.jobs)

    def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[NDArray[Any]]:
        """What each task gives, as they end."""
        coming = iter(tasks)
        first = next(coming, None)
        if first is None:
            return
        executor = self._fitting(first.bytes)
        with under_way(self._progress, "search hashes", count, "ranges") as tick:
            for outcome in executor.map(search_part, chain([first], coming), tick):
                yield outcome.result()

    def _fitting(self, each: int) -> Executor:
        """Threads here share the codes, and each holds memory of its own: no more than fit into half of what is free."""
        executor = self._executor
        if not isinstance(executor, Threads):
            return executor
        fitting = max(1, free_bytes() // 2 // each)
        return Threads(fitting) if fitting < executor.jobs else executor

    def compare(self, tasks: Iterable[Comparison], count: int) -> Iterator[tuple[int, tuple[Compared, ...]]]:
        """The number of each task and what it gives, as they end."""
        coming = iter(tasks)
        first = next(coming, None)
        if first is None:
            return
        if not first.few:
            compile_comparing(self._progress)
        with under_way(self._progress, "compare pictures", count, "images") as tick:
            for outcome in self._executor.map(compare, chain([first], coming), tick):
                yield outcome.index, outcome.result()
