"""Old local shards as seeds: samples that are here already need not be fetched, whatever version they come from."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from wdstools.errors import FormatError, StoreError
from wdstools.formats.arrow import fixed_bytes, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wdstools.dataset import Dataset
    from wdstools.stores.base import Store


#: After this many failures in a row a place is not tried any more; its samples are fetched instead.
_MOST_FAILURES = 3


class Seeds:
    """Where groups with a given digest are in old datasets, in 20 bytes of memory per sample.

    Only indexes are read here; they need not be trusted, and neither do the shards, because the caller checks the
    bytes.
    """

    travels_once: ClassVar[bool] = True

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._shards: list[tuple[Store, str]] = []
        digests, numbers, offsets = [np.zeros(0, "<u8")], [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
        for dataset in datasets:
            for _, entry in dataset.manifest.shards:
                try:
                    table = dataset.index(entry)
                except (FormatError, StoreError):
                    continue  # a seed only saves downloads: what cannot be read is fetched
                halves = np.frombuffer(fixed_bytes(table.column("xxh3_128")), "<u8")[::2]
                digests.append(halves)
                numbers.append(np.full(len(halves), len(self._shards), np.int32))
                offsets.append(to_numpy(table.column("offset"), null=-1))
                self._shards.append((dataset.shards, entry.path))
        order = np.argsort(np.concatenate(digests), kind="stable")
        self._digest = np.concatenate(digests)[order]
        self._number = np.concatenate(numbers)[order]
        self._offset = np.concatenate(offsets)[order]
        self._failures: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._digest)

    def find(self, digest: bytes, length: int) -> Iterator[bytes]:
        """Candidates for the group with this XXH3-128; there is seldom more than one."""
        wanted = np.frombuffer(digest[:8], "<u8")[0]
        first, last = (np.searchsorted(self._digest, wanted, side) for side in ("left", "right"))
        for at in range(int(first), int(last)):
            store, path = self._shards[self._number[at]]
            if self._offset[at] < 0 or self._failures[store.url] >= _MOST_FAILURES:
                continue
            try:
                data = store.get(path, int(self._offset[at]), length)
            except StoreError:
                self._failures[store.url] += 1
                continue
            self._failures[store.url] = 0
            yield data
