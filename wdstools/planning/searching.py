"""The workers that search for identical images: remote workers, or threads here, which need no copy of the codes."""

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
    """An executor's workers as ``dedup.parts.Workers``; if they are on this machine, as many threads instead."""

    def __init__(self, executor: Executor, progress: Progress) -> None:
        self._executor = in_threads(executor)
        self._progress = progress

    def ranges(self, seconds: float) -> int:
        """The number of ranges: one for a single worker, so that each band knows what earlier bands have linked."""
        return 1 if self._executor.jobs == 1 else ranges_for(seconds, self._executor.jobs)

    def search(self, tasks: Iterable[SearchTask], count: int) -> Iterator[NDArray[Any]]:
        """The result of each task, in the order of completion."""
        coming = iter(tasks)
        first = next(coming, None)
        if first is None:
            return
        executor = self._fitting(first.bytes)
        with under_way(self._progress, "search hashes", count, "ranges") as tick:
            for outcome in executor.map(search_part, chain([first], coming), tick):
                yield outcome.result()

    def _fitting(self, each: int) -> Executor:
        """The executor, with no more threads than fit in half the free memory: each needs memory besides the codes."""
        executor = self._executor
        if not isinstance(executor, Threads):
            return executor
        fitting = max(1, free_bytes() // 2 // each)
        return Threads(fitting) if fitting < executor.jobs else executor

    def compare(self, tasks: Iterable[Comparison], count: int) -> Iterator[tuple[int, tuple[Compared, ...]]]:
        """The number and result of each task, in the order of completion."""
        coming = iter(tasks)
        first = next(coming, None)
        if first is None:
            return
        if not first.few:
            compile_comparing(self._progress)
        with under_way(self._progress, "compare pictures", count, "images") as tick:
            for outcome in self._executor.map(compare, chain([first], coming), tick):
                yield outcome.index, outcome.result()
