"""Name the new samples whose images are also in another split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.arrow import one_chunk, to_list, to_numpy
from wdstools.formats.index import ROW_COLUMNS, read_index
from wdstools.planning.identical import count_identical
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.stores.base import Store

#: A new sample's key and split, and the key and split of a sample with the same image.
Leaked = tuple[str, str, str, str]
_MAX_INDEX_BYTES = 1 << 30


def identical_images(
    dataset: Dataset, manifest: Manifest, store: Store, written: Collection[str], added: Mapping[str, Collection[str]]
) -> tuple[dict[str, int], int, tuple[Leaked, ...]]:
    """The number of images shared by each pair of splits, the number of copies, and the new samples that leak.

    ``added`` are the keys of new samples, by shard; ``written`` are the shards that are in ``store``.
    """
    if not manifest.image_extension:
        return {}, 0, ()
    indexes = _Indexes(dataset, store, written, len(manifest.members))
    images = {entry.path: indexes.images(entry) for _, entry in manifest.shards}
    by_split = {
        split: [images[entry.path] for entry in entries] for split, entries in manifest.splits.items() if entries
    }
    leaks, copies = count_identical(by_split)
    named = _named(manifest, indexes, images, added) if any(leaks.values()) else []
    return leaks, copies, tuple(sorted(named))


def _named(
    manifest: Manifest,
    indexes: _Indexes,
    images: Mapping[str, NDArray[np.uint64]],
    added: Mapping[str, Collection[str]],
) -> Iterator[Leaked]:
    new: dict[int, list[tuple[str, str]]] = {}
    for split, entry in manifest.shards:
        mine = added.get(entry.path, ())
        for key, image in zip(indexes.keys(entry), images[entry.path].tolist(), strict=True) if mine else ():
            if key in mine:
                new.setdefault(image, []).append((key, split))
    wanted = np.fromiter(new, np.uint64, len(new))
    for split, entry in manifest.shards:
        rows = np.flatnonzero(np.isin(images[entry.path], wanted)).tolist()
        keys = indexes.keys(entry) if rows else []
        for row in rows:
            for key, own in new[int(images[entry.path][row])]:
                if own != split:
                    yield key, own, keys[row], split


class _Indexes:
    """The indexes of the new version: those of the written shards, and those of unchanged ones."""

    def __init__(self, dataset: Dataset, store: Store, written: Collection[str], members: int) -> None:
        self._dataset = dataset
        self._store = store
        self._written = written
        self._members = members

    def _table(self, entry: ShardEntry) -> pa.Table:
        if entry.path in self._written:
            return read_index(
                get_whole(self._store, entry.index_path, _MAX_INDEX_BYTES), where=entry.index_path, columns=ROW_COLUMNS
            )
        return self._dataset.index(entry, ROW_COLUMNS)

    def images(self, entry: ShardEntry) -> NDArray[np.uint64]:
        """XXH3-64 of every image."""
        members = one_chunk(self._table(entry).column("members")).flatten()
        found: NDArray[np.uint64] = to_numpy(members.field("xxh3_64"))[:: self._members]
        return found

    def keys(self, entry: ShardEntry) -> list[str]:
        """Every key."""
        keys: list[str] = to_list(self._table(entry).column("key"))
        return keys
