"""What ``bench`` measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Limit:
    """How fast one part of the machine is on its own, in samples of this dataset and in bytes of its shards."""

    name: str
    samples_per_s: float
    bytes_per_s: float
    how: str


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast samples arrived with one way of reading.

    ``limit`` names the limit that applies to it, and ``share`` says how much of that was reached, as the median of ratios
    measured side by side. ``cpu_cores`` is processor time per wall time; None if other processes did the work.
    """

    name: str
    samples_per_s: float
    bytes_per_s: float
    cpu_cores: float | None = None
    limit: str | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What ``bench`` measured: speeds, the limits that apply to them, the time of every batch, and advice.

    ``speeds`` go from raw bytes to batches; ``scaling`` is the rate of batches by number of threads; ``peers`` are other
    loaders' batches from the same shards. ``first_batch_ms`` counts from opening the dataset. ``batch_ms`` are the times
    between batches, in order. ``peak_memory_bytes`` is this process's own memory while batches were read, without mapped
    files. ``mixing`` is 1 for a true permutation and 0 for the order on disk.
    """

    dataset: str
    root: str
    at: str
    split: str
    samples: int
    bytes: int
    shards: int
    shuffle: str
    batch_size: int
    threads: int
    cores: int
    machine: Mapping[str, str]
    limits: tuple[Limit, ...]
    speeds: tuple[Speed, ...]
    scaling: Mapping[int, float]
    first_batch_ms: float
    p50_ms: float
    p99_ms: float
    batch_ms: tuple[float, ...]
    peak_memory_bytes: int
    mixing: float
    bottleneck: str
    advice: tuple[str, ...]
    peers: tuple[Speed, ...] = ()

    @property
    def batches(self) -> Speed:
        """The speed that training sees."""
        return self.speeds[-1]
