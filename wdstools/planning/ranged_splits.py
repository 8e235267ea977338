"""Splits by ratio for very many samples: exact counts and groups of identical images, with one range in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.planning.identical import image_digests
from wdstools.planning.spill import Spill, ranges, shelve, spread, tables_of
from wdstools.planning.splits import Room, odd_sum
from wdstools.planning.table import Samples
from wdstools.progress import under_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from fractions import Fraction

    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.planning.alike import Pictures
    from wdstools.progress import Progress


@dataclass(slots=True)
class RatioSplits:
    """Divides samples by ratio. Without ``pictures`` there is nothing to compare: no two samples are identical."""

    pictures: Pictures | None
    executor: Executor
    progress: Progress
    scratch: str | None
    notes: list[str] = field(default_factory=list)

    def divide(self, parts: Iterable[tuple[int, Samples]], ratios: Mapping[str, Fraction]) -> Spill[tuple[str, int]]:
        """The samples of all ranges, which have a ``split_hash``, by split and range, one per key.

        The counts of each label are exact; groups of identical images are placed first, then single images.
        """
        counts = Counter[str]()
        held: Spill[int] = Spill(self.scratch)
        for number, samples in parts:
            counts.update(_labels(samples))
            held.add(number, samples.table)
        room = Room.of({label: counts[label] for label in sorted(counts)}, ratios)
        fixed = self._place_groups(held, room, sum(counts.values()))
        cuts = _cuts(held, fixed, room, self.scratch)
        self.notes += [*odd_sum(ratios), *room.notes()]
        placed: Spill[tuple[str, int]] = Spill(self.scratch)
        splits = list(ratios)
        for number in ranges():
            table = held.take(number)
            if table is not None:
                names = [splits[at] for at in _chosen(Samples(table), fixed.get(number, {}), cuts).tolist()]
                shelve(placed, number, Samples(table.drop_columns(["split_hash"])).with_splits(names))
        held.close()
        return placed

    def _place_groups(self, held: Spill[int], room: Room, total: int) -> dict[int, dict[bytes, int]]:
        """The splits of images that occur in several samples, by range and key."""
        if self.pictures is None:
            return {}
        digests: Spill[int] = Spill(self.scratch)
        with under_way(self.progress, "compare images", total, "images") as tick:
            for number in ranges():
                table = held.take(number)
                if table is not None:
                    found = image_digests(table, self.pictures, self.executor, tick).tobytes()
                    _add_digests(digests, number, Samples(table), np.frombuffer(found, np.uint64).reshape(-1, 2))
        rows = [row for table in tables_of(digests) for row in _repeated(table)]
        digests.close()
        groups: dict[bytes, list[tuple[Any, ...]]] = {}
        for row in sorted(rows, key=lambda row: row[:2]):
            groups.setdefault(row[-1], []).append(row)
        fixed: dict[int, dict[bytes, int]] = {}
        for group in groups.values():
            chosen = room.place([label for _, _, label, _, _, _ in group], group[0][0])
            for _, _, _, number, key, _ in group:
                fixed.setdefault(number, {})[key] = chosen
        return fixed


def _labels(samples: Samples) -> list[str]:
    return [label or "" for label in samples.texts("label")]


def _add_digests(spill: Spill[int], number: int, samples: Samples, digests: NDArray[np.uint64]) -> None:
    """Add what places groups of identical images, by the digest's first word, so that a group is in one range."""
    columns = {name: samples.table.column(name) for name in ("split_hash", "order_hash", "label", "key")}
    made = Samples(pa.table({**columns, "first": digests[:, 0], "second": digests[:, 1]}))
    spread(spill, made.with_column("range", [np.full(len(samples), number, np.int32)], pa.int32()), "first")


def _repeated(table: pa.Table) -> list[tuple[Any, ...]]:
    """Split hash, order hash, label, range, key and digest of the rows whose digest is not unique."""
    samples = Samples(table)
    digests = np.stack((samples.numbers("first"), samples.numbers("second")), axis=1)
    _, number, times = np.unique(digests, axis=0, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(times[number.reshape(-1)] > 1)
    some = samples.take(rows)
    hashes = (some.numbers("split_hash").tolist(), some.numbers("order_hash").tolist())
    words = (digest.tobytes() for digest in digests[rows])
    return list(
        zip(*hashes, _labels(some), some.numbers("range").tolist(), some.texts("key"), words, strict=True)
    )  # fmt: skip


_Cut = tuple[int, int] | None


def _cuts(
    held: Spill[int], fixed: Mapping[int, Mapping[bytes, int]], room: Room, scratch: str | None
) -> dict[str, list[_Cut]]:
    """For each label, split and order hash of the first single sample of each split but the first; None without."""
    singles: Spill[int] = Spill(scratch)
    for number in ranges():
        table = held.take(number)
        if table is not None:
            samples = Samples(table)
            if number in fixed:
                samples = samples.keep([key not in fixed[number] for key in samples.texts("key")])
            spread(singles, Samples(samples.table.select(["split_hash", "order_hash", "label"])), "split_hash")
    seen: Counter[str] = Counter()
    cuts: dict[str, list[_Cut]] = {}
    for table in tables_of(singles):
        samples = Samples(table)
        hashes, others = samples.numbers("split_hash"), samples.numbers("order_hash")
        order = np.lexsort((others, hashes))
        codes, names = samples.named("label")
        for code, label in [(-1, ""), *enumerate(names)]:
            rows = order[codes[order] == code]
            ends = room.ends(label).tolist()
            known = cuts.setdefault(label, [None] * len(ends))
            for at, end in enumerate(ends):
                if seen[label] <= end < seen[label] + len(rows):
                    row = rows[end - seen[label]]
                    known[at] = (int(hashes[row]), int(others[row]))
            seen[label] += len(rows)
    singles.close()
    for label, count in seen.items():
        room.take(label, count)
    return cuts


def _chosen(samples: Samples, fixed: Mapping[bytes, int], cuts: Mapping[str, list[_Cut]]) -> NDArray[np.int64]:
    """The number of the split of each sample."""
    hashes, others = samples.numbers("split_hash"), samples.numbers("order_hash")
    codes, names = samples.named("label")
    chosen = np.zeros(len(samples), np.int64)
    for code, label in [(-1, ""), *enumerate(names)]:
        rows = codes == code
        for cut in cuts.get(label, ()):
            if cut is not None:
                one, other = (np.uint64(value) for value in cut)
                chosen[rows] += ((hashes > one) | ((hashes == one) & (others >= other)))[rows]
    if fixed:
        keys = samples.texts("key")
        for row in [row for row, key in enumerate(keys) if key in fixed]:
            chosen[row] = fixed[keys[row]]
    return chosen
