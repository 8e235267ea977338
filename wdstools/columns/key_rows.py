"""Finds the row of a key by a hash, in eight bytes per row, however long keys are. Rows with equal hashes are distinguished by their keys."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    Rows = NDArray[np.int64]


class KeyRows:
    """Rows by their keys, given the ``hashes`` of these.

    ``keys_at`` returns the keys of some rows, in ascending order. It is called only for rows with equal hashes: an attacker can choose
    such keys.
    """

    def __init__(self, hashes: NDArray[np.uint64], keys_at: Callable[[Rows], Iterable[str]]) -> None:
        self._order = np.argsort(hashes, kind="stable").astype(np.int64)
        self._ordered = hashes[self._order]
        #: For each row, the first row with the same key.
        self.first_of = np.arange(len(hashes), dtype=np.int64)
        starts = np.concatenate(([True], self._ordered[1:] != self._ordered[:-1])) if len(hashes) else np.zeros(0, bool)
        heads = self._order[np.flatnonzero(starts)]
        self.first_of[self._order] = heads[np.cumsum(starts) - 1]
        self._divided = np.zeros(len(hashes), bool)
        self._by_key: dict[str, int] = {}
        shares = np.zeros(len(hashes), bool)
        shares[self.first_of[self.first_of != np.arange(len(hashes))]] = True
        shared = np.flatnonzero(shares[self.first_of])
        if len(shared):
            self._divide(shared, keys_at)

    def _divide(self, shared: Rows, keys_at: Callable[[Rows], Iterable[str]]) -> None:
        """Find rows with equal hashes and different keys. Most only repeat a key, so just a digest of each key is held."""
        digests = b"".join(
            [blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest() for key in keys_at(shared)]
        )
        seen = np.frombuffer(digests, np.uint64).reshape(-1, 2)
        firsts = self.first_of[shared]
        other = (seen != seen[np.searchsorted(shared, firsts)]).any(axis=1)
        self._divided[firsts[other]] = True
        divided = shared[self._divided[firsts]]
        for row, key in zip(divided.tolist(), keys_at(divided) if len(divided) else (), strict=True):
            self.first_of[row] = self._by_key.setdefault(key, row)

    def find(self, hashes: NDArray[np.uint64], keys_at: Callable[[Rows], Iterable[str]]) -> Rows:
        """The first row of each key, by its hash; -1 if there is none. The caller must still compare the key of the row.

        ``keys_at`` returns the wanted keys at some places, if several keys have the hash.
        """
        if not len(self._ordered):
            return np.full(len(hashes), -1, np.int64)
        at = np.minimum(np.searchsorted(self._ordered, hashes), len(self._ordered) - 1)
        rows: Rows = np.where(self._ordered[at] == hashes, self._order[at], -1)
        unsure = np.flatnonzero((rows >= 0) & self._divided[rows])
        if len(unsure):
            rows[unsure] = [self._by_key.get(key, -1) for key in keys_at(unsure)]
        return rows
