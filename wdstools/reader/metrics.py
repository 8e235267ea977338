"""Where a loader's time goes: how long the training waited for each batch, and what the threads did in the meantime.

A loader without metrics uses nothing in here: the classes below replace the ones that they measure.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from wdstools.reader.batch_maker import Maker
from wdstools.reader.payloads import Payloads
from wdstools.reader.transforms import Function
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.reader.ranges import Ranges
    from wdstools.reader.recipe import Recipe
    from wdstools.reader.rows import Extents, RowTable
    from wdstools.reader.transforms import Draws

Plan = TypeVar("Plan")

#: Where time is spent: ``index`` and ``hand_out`` in the training thread, the others in the loader's threads.
STAGES = ("index", "read", "check", "decode", "transform", "tokenize", "hand_out")
#: The number of steps whose waits are kept.
_KEPT = 10_000
#: A wait of at least this long for a batch that was not ready is a stall.
_STALL_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """One step: how many seconds the training waited for its batch, how many batches were ready, and why it waited.

    ``cause`` is the stage on which most time was spent during a stall, ``start`` for the first batch of a pass, and None if
    the batch was ready.
    """

    step: int
    samples: int
    waited: float
    ready: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class LoaderMetrics:
    """What a loader did since it was made, or since ``metrics(reset=True)``. Times are seconds.

    ``seconds`` is how long the loops over it took, ``waited`` how much of that was waiting, and ``wait_p50`` and
    ``wait_p99`` cover the last 10,000 steps. ``stages`` is the time of each stage, summed over all threads; ``ready`` how
    many batches were ready on average when one was requested, of the ``ahead`` made at a time. ``stalls`` is how long
    the training waited for batches that were not ready, by cause.
    """

    steps: int
    samples: int
    seconds: float
    waited: float
    wait_p50: float
    wait_p99: float
    stages: Mapping[str, float]
    ready: float
    ahead: int
    stalls: Mapping[str, float]

    @property
    def samples_per_second(self) -> float:
        """Samples divided by the time of the loops."""
        return self.samples / self.seconds if self.seconds else 0.0

    def postfix(self) -> dict[str, str]:
        """The most important numbers, short, for ``tqdm.set_postfix``."""
        share = self.waited / self.seconds if self.seconds else 0.0
        worst = max(self.stalls, key=self.stalls.__getitem__, default="")
        return {
            "wait": f"{share:.0%}" + (f" {worst}" if worst and share >= 0.01 else ""),
            "p99": f"{self.wait_p99 * 1000:.1f}ms",
            "ready": f"{self.ready:.1f}/{self.ahead}",
            "rate": f"{self.samples_per_second:,.0f}/s",
        }

    def __str__(self) -> str:
        lines = [
            f"{counted(self.steps, 'step')}, {counted(self.samples, 'sample')} in {self.seconds:.2f} s: {self.samples_per_second:,.0f} samples/s",
            f"waited {self.waited:.2f} s; a step {self.wait_p50 * 1000:.2f} ms (p50), {self.wait_p99 * 1000:.2f} ms (p99)",
            f"batches ready when requested: {self.ready:.1f} of {self.ahead}",
            "seconds over all threads: "
            + ", ".join(f"{name} {took:.2f}" for name, took in self.stages.items() if took),
        ]
        if self.stalls:
            stalls = sorted(self.stalls.items(), key=lambda stall: -stall[1])
            lines.append("stalls by cause: " + ", ".join(f"{cause} {took:.2f} s" for cause, took in stalls))
        return "\n".join(lines)


@dataclass(slots=True)
class _Counts:
    """The counts between two resets."""

    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    ready: int = 0
    waits: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    stages: Counter[str] = field(default_factory=Counter)
    stalls: Counter[str] = field(default_factory=Counter)


class Meter:
    """Measures one loader. Many threads enter stages; the training thread takes steps."""

    def __init__(self, callback: Callable[[StepMetrics], object] | None = None) -> None:
        self._callback = callback
        self._make()

    def _make(self) -> None:
        self._counts = _Counts()
        self._lock = threading.Lock()
        self._local = threading.local()
        self._ready = self._ahead = 0
        self._asked: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_callback": self._callback}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make()

    def stage(self, name: str) -> Stage:
        """Measures a thread's time in a stage; time in a nested stage counts for the nested one."""
        return Stage(self, name)

    def add(self, name: str, seconds: float) -> None:
        """Add time to a stage."""
        with self._lock:
            self._counts.stages[name] += seconds  # type: ignore[assignment]

    def taken(self) -> dict[str, float]:
        """The time of each stage since the last call: what a worker process reports to its parent."""
        with self._lock:
            stages: dict[str, float] = dict(self._counts.stages)
            self._counts.stages.clear()
        return stages

    def stack(self) -> list[list[float]]:
        """The stages that this thread is in: when each began, and how long the nested ones took."""
        found: list[list[float]] | None = getattr(self._local, "stack", None)
        if found is None:
            found = self._local.stack = []
        return found

    def queued(self, ready: int, ahead: int) -> None:
        """Record how many batches are ready when one is requested."""
        self._ready, self._ahead = ready, ahead

    def begin(self) -> None:
        """A loop over the loader begins."""
        self._asked = None

    def ask(self) -> Wait:
        """A batch is requested."""
        return Wait(self, dict(self._counts.stages), first=self._asked is None)

    def step(self, wait: Wait, samples: int) -> None:
        """A batch was handed out."""
        now = time.perf_counter()
        counts, waited = self._counts, now - wait.begun
        cause = None
        if wait.first:
            cause = "start"
        elif not self._ready and waited >= _STALL_SECONDS:
            with self._lock:
                spent = {name: took - wait.stages.get(name, 0.0) for name, took in counts.stages.items()}
            cause = max(spent, key=spent.__getitem__, default="read")
        counts.steps += 1
        counts.samples += samples
        counts.seconds += now - (wait.begun if self._asked is None else self._asked)
        counts.waited += waited
        counts.ready += self._ready
        counts.waits.append(waited)
        if cause is not None:
            counts.stalls[cause] += waited  # type: ignore[assignment]
        self._asked = now
        if self._callback is not None:
            self._callback(StepMetrics(counts.steps, samples, waited, self._ready, cause))

    def end(self) -> None:
        """A loop has finished with its last batch."""
        if self._asked is not None:
            self._counts.seconds += time.perf_counter() - self._asked
        self._asked = None

    def result(self, *, reset: bool) -> LoaderMetrics:
        """What was measured."""
        counts = self._counts
        waits = np.array(counts.waits or [0.0])
        with self._lock:
            stages = {name: float(counts.stages.get(name, 0.0)) for name in STAGES}
            if reset:
                self._counts = _Counts()
        return LoaderMetrics(
            counts.steps,
            counts.samples,
            counts.seconds,
            counts.waited,
            float(np.percentile(waits, 50)),
            float(np.percentile(waits, 99)),
            stages,
            counts.ready / counts.steps if counts.steps else 0.0,
            self._ahead,
            dict(counts.stalls),
        )

    def maker(self, recipe: Recipe) -> tuple[type[Maker], Recipe]:
        """A maker and a recipe whose functions measure how long they take."""
        image, whole, tokenizer = recipe.image_transform, recipe.transform, recipe.tokenizer
        changed = replace(
            recipe,
            image_transform=TimedFunction(image, self) if isinstance(image, Function) else image,
            transform=None if whole is None else TimedFunction(whole, self),
            tokenizer=None if tokenizer is None else TimedTokenizer(tokenizer, self),
        )
        return TimedMaker, changed

    def watch(self, maker: Maker) -> None:
        """Let a maker measure how long decoding takes."""
        assert isinstance(maker, TimedMaker)
        maker.meter = self

    def payloads(self, table: RowTable, ranges: Ranges) -> Payloads:
        """Payloads that measure how long reading and checking take."""
        return TimedPayloads(table, ranges, self)

    def indexed(self, plans: Iterator[Plan]) -> Iterator[Plan]:
        """The plans, with the time it took to open the indexes of their rows measured."""
        while True:
            with self.stage("index"):
                plan = next(plans, None)
            if plan is None:
                return
            yield plan


class Wait:
    """The training waits for a batch."""

    __slots__ = ("begun", "first", "stages")

    def __init__(self, meter: Meter, stages: dict[str, Any], *, first: bool) -> None:
        del meter
        self.stages = stages
        self.first = first
        self.begun = time.perf_counter()


class Stage:
    """One stage while a thread is in it; also a range ``wdstools.NAME`` of torch's profiler if that runs."""

    __slots__ = ("_meter", "_name", "_range")

    def __init__(self, meter: Meter, name: str) -> None:
        self._meter = meter
        self._name = name
        self._range: Any = None

    def __enter__(self) -> Self:
        torch: Any = sys.modules.get("torch")
        if torch is not None and getattr(torch.autograd.profiler, "_is_profiler_enabled", True):
            self._range = torch.profiler.record_function(f"wdstools.{self._name}")
            self._range.__enter__()
        self._meter.stack().append([time.perf_counter(), 0.0])
        return self

    def __exit__(self, *error: object) -> None:
        stack = self._meter.stack()
        begun, inside = stack.pop()
        took = time.perf_counter() - begun
        if stack:
            stack[-1][1] += took
        self._meter.add(self._name, took - inside)
        if self._range is not None:
            self._range.__exit__(*error)


class TimedFunction(Function):
    """A user's function that measures how long it takes."""

    def __init__(self, function: Function, meter: Meter) -> None:
        self._timed = function
        self._meter = meter

    def __call__(self, value: Any, generator: np.random.Generator) -> Any:
        """Call the function on a value."""
        with self._meter.stage("transform"):
            return self._timed(value, generator)


class TimedTokenizer:
    """A tokenizer that measures how long it takes."""

    def __init__(self, tokenizer: Callable[[list[str]], Any], meter: Meter) -> None:
        self._timed = tokenizer
        self._meter = meter

    def __call__(self, captions: list[str]) -> Any:
        """Call the tokenizer on captions."""
        with self._meter.stage("tokenize"):
            return self._timed(captions)


class TimedMaker(Maker):
    """A maker that measures how long decoding takes."""

    meter: Meter

    def _decode(self, data: memoryview, position: int, place: NDArray[Any] | None, draws: Draws) -> Any:
        with self.meter.stage("decode"):
            return super()._decode(data, position, place, draws)


class TimedPayloads(Payloads):
    """Payloads that measure how long reading and checking take."""

    def __init__(self, table: RowTable, ranges: Ranges, meter: Meter) -> None:
        super().__init__(table, ranges)
        self.reading: Ranges = TimedRanges(ranges, meter)
        self._meter = meter

    def row(self, extents: Extents, row: int) -> memoryview:
        """See Payloads."""
        with self._meter.stage("check"):
            return super().row(extents, row)

    def whole(self, extents: Extents, first: int, stop: int, *, together: bool) -> Sequence[bytes | memoryview] | None:
        """See Payloads."""
        with self._meter.stage("check"):
            return super().whole(extents, first, stop, together=together)


class TimedRanges:
    """Ranges that measure how long reading takes."""

    def __init__(self, ranges: Ranges, meter: Meter) -> None:
        self._ranges = ranges
        self._meter = meter
        self.block_bytes = ranges.block_bytes
        self.at_once = ranges.at_once

    def read(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """See Ranges."""
        with self._meter.stage("read"):
            return self._ranges.read(shard, start, length)

    def read_each(
        self, shards: Sequence[int], starts: Sequence[int], lengths: Sequence[int]
    ) -> list[bytes | memoryview]:
        """See Ranges."""
        with self._meter.stage("read"):
            return self._ranges.read_each(shards, starts, lengths)

    def read_block(self, shard: int, start: int, length: int) -> bytes | memoryview:
        """See Ranges."""
        with self._meter.stage("read"):
            return self._ranges.read_block(shard, start, length)

    def close(self) -> None:
        """See Ranges."""
        self._ranges.close()
