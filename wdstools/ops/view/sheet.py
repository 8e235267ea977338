"""Some samples of a selection for a page without a server: spread evenly over it, each with a thumbnail."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError, WdsError, option
from wdstools.executors.open import executor_or_here
from wdstools.images.check import DamagedImageError
from wdstools.images.small import small_jpeg
from wdstools.ops.ls import SampleInfo, chosen_rows, samples_of
from wdstools.ops.stats import count_samples
from wdstools.ops.view.catalogue import Catalogue
from wdstools.ops.view.samples import Samples
from wdstools.progress import Progress, Silent, under_way
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.ops.stats import StatsResult
    from wdstools.reader.select import Selection

#: About 15 KB each: a page with this many is 30 MB, and still opens.
MOST_SAMPLES = 2_000
_SIDE, _QUALITY = 320, 80
_NEAR, _FAR = 2, 8


@dataclass(frozen=True, slots=True)
class Card:
    """A sample with its picture as a data URI; ``missing`` is why its picture cannot be shown."""

    sample: SampleInfo
    picture: str
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Some of a selection's samples, and the statistics of all of them."""

    stats: StatsResult
    cards: tuple[Card, ...]

    @property
    def without_picture(self) -> int:
        """The number of samples whose picture cannot be shown."""
        return sum(bool(card.missing) for card in self.cards)


def make_sheet(
    dataset: Dataset,
    selection: Selection,
    samples: int,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Sheet:
    """``samples`` samples spread evenly over the selection, or all if it has fewer.

    Raises UsageError, and what reading the indexes raises. A picture that cannot be read or decoded is left out, with the
    reason.
    """
    if not 0 <= samples <= MOST_SAMPLES:
        raise UsageError("out of range", where=option("samples"), expected=f"0 to {MOST_SAMPLES:,}", got=str(samples))
    progress = progress or Silent()
    stats = count_samples(dataset, selection, executor_or_here(executor), progress)
    chosen = list(_chosen(dataset, selection, spread(stats.samples, samples)))
    reader = Samples(Catalogue(dataset))
    at_once = _NEAR if isinstance(dataset.shards, LocalStore) else _FAR
    with under_way(progress, "read pictures", len(chosen), "pictures") as tick, ThreadPoolExecutor(at_once) as pool:
        cards = []
        for card in pool.map(lambda one: _card(reader, *one), chosen):
            cards.append(card)
            tick(1)
    return Sheet(stats, tuple(cards))


def spread(total: int, wanted: int) -> NDArray[np.int64]:
    """``wanted`` of ``total`` places, evenly spread, including the first and the last; all if there are fewer."""
    if wanted >= total:
        return np.arange(total, dtype=np.int64)
    return np.linspace(0, total - 1, wanted).round().astype(np.int64)


def _chosen(dataset: Dataset, selection: Selection, places: NDArray[np.int64]) -> Iterator[tuple[int, SampleInfo]]:
    """The samples at these places of the selection, with their numbers in the dataset."""
    firsts: dict[str, int] = {}
    first = seen = 0
    for _, entry in dataset.manifest.shards:
        firsts[entry.path] = first
        first += entry.samples
    for found in chosen_rows(dataset, None, selection):
        mine = places[(places >= seen) & (places < seen + len(found.rows))] - seen
        seen += len(found.rows)
        for place in mine.tolist():
            for sample in samples_of(found, slice(place, place + 1)):
                yield firsts[found.entry.path] + sample.row, sample


def _card(reader: Samples, number: int, sample: SampleInfo) -> Card:
    if Samples.picture_extension(sample.members) is None:
        return Card(sample, "")
    try:
        small = small_jpeg(reader.picture(number), _SIDE, _QUALITY)
    except WdsError as error:
        return Card(sample, "", f"{error.code}: {error.message}")
    except DamagedImageError as error:
        return Card(sample, "", f"{error.code}: {error.detail}")
    return Card(sample, "data:image/jpeg;base64," + base64.b64encode(small).decode())
