"""Splits from lists, for very many samples: lines are spread by order hash like samples, with one range in memory."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.formats.sample import order_hash
from wdstools.planning.spill import Spill, spread
from wdstools.planning.split_lines import listed
from wdstools.planning.splits import divide_listed, note_listed, nothing_listed, without_samples
from wdstools.planning.table import Samples
from wdstools.results import Skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_LINES = 1 << 16


class ListedSplits:
    """Divides samples according to lists; ``skips`` are lines without a sample, and samples that no line names."""

    def __init__(self, lists: Mapping[str, Sequence[str]], seed: int, scratch: str | None) -> None:
        self.skips: list[Skip] = []
        self._names = list(lists)
        self._first = b""
        self._lines = 0
        self._spill: Spill[int] = Spill(scratch)
        lines = listed(lists)
        while some := list(islice(lines, _LINES)):
            self._spread(some, seed)
        self._refuse_two_splits()

    def _spread(self, lines: Sequence[tuple[str, str, bytes | None]], seed: int) -> None:
        self.skips += [Skip("list-invalid", entry, split) for split, entry, key in lines if key is None]
        good = [(split, key) for split, _, key in lines if key is not None]
        if good:
            keys = [key for _, key in good]
            self._first = self._first or keys[0]
            numbers = {name: number for number, name in enumerate(self._names)}
            table = {
                "key": pa.array(keys, pa.large_binary()),
                "list": np.array([numbers[split] for split, _ in good], np.int32),
                "line": np.arange(self._lines, self._lines + len(good)),
                "order_hash": np.fromiter((order_hash(key, seed) for key in keys), np.uint64, len(keys)),
            }
            spread(self._spill, Samples(pa.table(table)))
            self._lines += len(good)

    def _refuse_two_splits(self) -> None:
        """Raise UsageError (``split-lists``) for the first line whose key is also in another list."""
        found: list[tuple[int, bytes, int, int]] = []
        for number in self._spill.held():
            known: dict[bytes, int] = {}
            lines = Samples(self._spill.whole(number))
            columns = (lines.texts("key"), lines.numbers("list").tolist(), lines.numbers("line").tolist())
            twice = (
                (line, key, known[key], at)
                for key, at, line in zip(*columns, strict=True)
                if known.setdefault(key, at) != at
            )
            found += islice(twice, 1)
        if found:
            _, key, first, second = min(found)
            note_listed({key: self._names[first]}, key, self._names[second])

    def divide(self, parts: Iterable[tuple[int, Samples]]) -> Iterator[tuple[int, Samples]]:
        """The samples of each range that are on a list, with their splits. Raises UsageError (``split-lists``)."""
        left = set(self._spill.held())
        found, key = 0, b""
        for number, samples in parts:
            left.discard(number)
            kept, skips = divide_listed(samples, self._wanted(number))
            self.skips += skips
            found += len(kept)
            key = key or samples.take([0]).texts("key")[0]
            if len(kept):
                yield number, kept
        if not found:
            raise nothing_listed(key, self._first)
        for number in sorted(left):
            self.skips += without_samples(self._wanted(number))
        self._spill.close()

    def _wanted(self, number: int) -> dict[bytes, str]:
        """The splits of the listed keys of a range."""
        wanted: dict[bytes, str] = {}
        table = self._spill.take(number)
        if table is not None:
            lines = Samples(table)
            for key, at in zip(lines.texts("key"), lines.numbers("list").tolist(), strict=True):
                note_listed(wanted, key, self._names[at])
        return wanted
