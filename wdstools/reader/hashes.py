"""Fingerprints of a dataset's images: read if they are stored, computed if not. Runs in workers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from wdstools.dedup.groups import UNDECIDED, Turned, turn
from wdstools.dedup.levels import COLOUR_SIDE
from wdstools.dedup.phash import SIDES, deviation, is_undecided, phash
from wdstools.errors import FormatError, NotFoundError, StoreError, UsageError, option
from wdstools.formats.arrow import flat, one_chunk, to_list, to_numpy
from wdstools.formats.captions import Caption
from wdstools.formats.digest import sha256_hex
from wdstools.formats.hashes import ImageHashes, column_of, present, read_hashes, write_hashes
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.formats.manifest import HASHES_FOLDER, like_index
from wdstools.images.check import DamagedImageError
from wdstools.images.luma import check_pillow, expect, look_at
from wdstools.joined.opening import joined_of
from wdstools.reader.shard import ShardReader
from wdstools.stores.confirmed import note, noted
from wdstools.stores.local import LocalStore
from wdstools.stores.open import open_store
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store

_BATCH = 256
_WORDS = ["phash", "phash16", "mirrored", "mirrored16"]
_MAX_FILE_BYTES = 1 << 32
#: Goes up when the stored columns change: 2 has colours and rotations.
_FORMAT = "2"
_NOTES, _PROVED = "hashes", "made here of samples that were proved"


def library_versions() -> dict[str, str]:
    """The versions of everything that decides a hash's bits."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in ("imagehash", "numpy", "pillow", "scipy", "simplejpeg")}
    return {**libraries, "hashes": _FORMAT}


@dataclass(frozen=True, slots=True)
class HashPlace:
    """Where hashes are stored: next to the manifest, or in a cache (a folder or bucket), named by the shard's digest."""

    store: Store
    cached: bool = False

    @classmethod
    def of(cls, dataset: Dataset, cache: str | None) -> HashPlace:
        """The place for a dataset; raises UsageError if nothing can be written there and no cache was given."""
        if cache is not None:
            return cls(open_store(cache), cached=True)
        if not isinstance(dataset.metadata, LocalStore):
            raise UsageError(
                "hashes cannot be stored next to this dataset",
                code="hashes-not-kept",
                where=dataset.metadata.url,
                hint=f"add {option('cache', 'DIR')}: a folder or bucket of your own to store them in",
            )
        return cls(dataset.metadata)

    def key(self, entry: ShardEntry) -> str:
        """The file of a shard's hashes."""
        if self.cached:
            return f"{entry.sha256}.parquet"
        return like_index(entry.path, HASHES_FOLDER)

    def read(
        self, entry: ShardEntry, columns: list[str], versions: Mapping[str, str], believe: Callable[[str], bool]
    ) -> tuple[pa.Table, str] | None:
        """Some columns of a shard's hashes, and the SHA-256 of their file; None if there are none that can be used.

        ``believe`` says whether a file with this SHA-256 was computed from the shard.
        """
        try:
            data = get_whole(self.store, self.key(entry), _MAX_FILE_BYTES)
        except NotFoundError:
            return None
        digest = sha256_hex(data)
        table = read_hashes(data, entry.sha256, versions, entry.samples, columns) if believe(digest) else None
        return None if table is None else (table, digest)

    def believes(self, dataset: Dataset, digest: str) -> bool:
        """Whether a file of hashes can be trusted: it was computed here, or is in the user's own cache.

        If each sample is proved against forgers, it must have been computed from samples proved in this way.
        """
        said = noted(_NOTES, digest)
        return said == _PROVED if dataset.strict else self.cached or said is not None

    def write(self, entry: ShardEntry, data: bytes, *, proved: bool) -> None:
        """Store a shard's hashes; ``proved``: its samples were proved by SHA-256. Raises StoreError with a hint."""
        try:
            self.store.put(self.key(entry), data)
            note(_NOTES, sha256_hex(data), _PROVED if proved else "made here")
        except StoreError as error:
            if error.code in ("read-only", "denied") and not self.cached:
                error.hint = "add --cache DIR: a folder or bucket of your own to store the hashes in"
            raise


@dataclass(frozen=True, slots=True)
class PrintTask:
    """One shard whose fingerprints are needed; ``place`` is where hashes of the pixels are stored; None if they are not needed.

    Without ``captions`` those of the texts are zeros. ``kept`` is the SHA-256 of the file of hashes that was read or written before.
    """

    dataset: Dataset
    entry: ShardEntry
    place: HashPlace | None
    versions: Mapping[str, str]
    captions: bool = True
    kept: str = ""


@dataclass(frozen=True, slots=True)
class ShardPrints:
    """What is known about a shard's samples, one row each, in shard order.

    ``keys`` and ``labels`` are Arrow text; ``exact`` [N, 2] uint64 holds XXH3-64 and size of the image's bytes,
    ``shape`` [N, 2] int32 its width and height, ``captions`` [N, 2] uint64 the digests of its
    normalised text and of its set of hashtags (0: none), ``over_long`` whether the text is longer than any real one.
    ``words``, ``mirrored`` [N, 5] uint64, ``deviation`` and ``turned`` are as in ``Fingerprints``; empty without pixels.
    ``kept`` is the SHA-256 of the file that holds the hashes.
    """

    keys: pa.Array
    labels: pa.Array
    exact: NDArray[np.uint64]
    shape: NDArray[np.int32]
    captions: NDArray[np.uint64]
    over_long: NDArray[np.bool_]
    words: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    deviation: NDArray[np.float32]
    unreadable: tuple[tuple[str, str], ...]
    turned: Turned = field(default_factory=Turned.none)
    computed: int = 0
    kept: str = ""


def print_shard(task: PrintTask, tick: Tick) -> ShardPrints:
    """Fingerprints of one shard; hashes are computed only if none are stored, and then stored."""
    extension = image_extension(task.dataset)
    table, digest, size = _known(task.dataset, task.entry, extension)
    if len(digest) != table.num_rows:
        raise FormatError(
            "not every sample has one image of the dataset's type",
            code="image-missing",
            where=task.entry.path,
            expected=f"{table.num_rows:,} .{extension}",
            got=f"{len(digest):,}",
            hint="pack the dataset again: wdstools pack DATASET NEW",
        )
    sides = [to_numpy(table.column(name), null=0) for name in ("width", "height")]
    texts = to_list(table.column("caption")) if task.captions else [""] * table.num_rows
    captions = [Caption.of(text) for text in texts]
    empty = np.zeros((0, 5), np.uint64)
    made = ShardPrints(
        keys=one_chunk(table.column("key")),
        labels=one_chunk(table.column("label")),
        exact=np.stack((digest.astype(np.uint64), size.astype(np.uint64)), axis=1),
        shape=np.stack(sides, axis=1).astype(np.int32),
        captions=np.array([(text.digest, text.hashtags) for text in captions], np.uint64).reshape(-1, 2),
        over_long=np.array([text.over_long for text in captions], bool),
        words=empty, mirrored=empty, deviation=np.zeros(0, np.float32), unreadable=(),
    )  # fmt: skip
    if task.place is None:
        tick(task.entry.samples)
        return made
    hashes, computed, kept = _hashes_of(task, task.place, tick)
    luma = column_of(hashes, "luma")
    reasons = to_list(hashes.column("unreadable"))
    keys = to_list(table.column("key"))
    return replace(
        made,
        words=_words(hashes, "phash", "phash16"),
        mirrored=_words(hashes, "mirrored", "mirrored16"),
        deviation=np.where(present(hashes), deviation(luma), np.float32(np.nan)),
        turned=turned_of(column_of(hashes, "turn"), column_of(hashes, "upright")),
        unreadable=tuple((key, reason) for key, reason in zip(keys, reasons, strict=True) if reason is not None),
        computed=computed,
        kept=kept,
    )


def _known(
    dataset: Dataset, entry: ShardEntry, extension: str
) -> tuple[pa.Table, NDArray[np.uint64], NDArray[np.int64]]:
    """What is known about a shard's rows without reading it, and XXH3-64 and size of each image."""
    joined = joined_of(dataset)
    if joined.is_kept:
        shard = joined.number_of(entry)
        rows = joined.rows_of(shard)
        table = joined.table(shard, ("key", "label", "width", "height", "caption"))
        found = joined.members(np.arange(rows.start, rows.stop), extension)
        return table, found.xxh3_64[found.size >= 0], found.size[found.size >= 0]
    table = dataset.index(entry)
    values = flat(one_chunk(table.column("members")))
    first = np.flatnonzero([name == extension for name in to_list(values.field("ext"))])
    return table, to_numpy(values.field("xxh3_64"))[first], to_numpy(values.field("size"))[first]


def image_extension(dataset: Dataset) -> str:
    """The member that is the image: the first one in a canonical dataset, at any place in foreign tars.

    Raises UsageError (``no-images``) if there is none.
    """
    members = dataset.manifest.members
    found = next((name for name in members if name.lower() in TYPE_OF_EXTENSION), dataset.manifest.image_extension)
    if not found:
        raise UsageError(
            "this dataset has no images",
            code="no-images",
            where=dataset.metadata.url,
            got=f"members {', '.join(members)}",
        )
    return found


def _hashes_of(task: PrintTask, place: HashPlace, tick: Tick) -> tuple[pa.Table, int, str]:
    columns = [*_WORDS, "luma", "turn", "upright", "unreadable"]
    if task.kept:
        tick(task.entry.samples)
        return _kept(place, task.entry, columns, (task.versions, task.kept)), 0, task.kept
    kept = place.read(task.entry, columns, task.versions, partial(place.believes, task.dataset))
    if kept is not None:
        tick(task.entry.samples)
        return kept[0], 0, kept[1]
    reader = ShardReader(task.dataset, task.entry)
    extension = image_extension(task.dataset)
    images = (reader.sample(row).view(extension) for row in range(len(reader)))
    data = write_hashes(hash_images(images, len(reader), tick), task.entry.sha256, task.versions)
    place.write(task.entry, data, proved=task.dataset.strict)
    made = read_hashes(data, task.entry.sha256, task.versions, task.entry.samples, columns)
    assert made is not None
    return made, task.entry.samples, sha256_hex(data)


def hash_images(images: Iterable[bytes | memoryview], count: int, tick: Tick) -> ImageHashes:
    """Hashes of ``count`` images; an image that cannot be decoded is reported in the result, not raised."""
    check_pillow()
    expect(count)
    found = {
        size: (np.zeros((count, size**2 // 8), np.uint8), np.zeros((count, size**2 // 8), np.uint8)) for size in SIDES
    }
    lumas = np.zeros((count, SIDES[8], SIDES[8]), np.uint8)
    colours = np.zeros((count, COLOUR_SIDE, COLOUR_SIDE, 4), np.uint8)
    turns = np.ones((count, 1), np.uint8)
    upright = np.zeros((count, 80), np.uint8)
    large = np.zeros((_BATCH, SIDES[16], SIDES[16]), np.uint8)
    unreadable: list[str | None] = [None] * count
    start = 0
    for row, data in enumerate(images):
        try:
            (lumas[row], large[row - start]), colours[row], turns[row] = look_at(data, tuple(SIDES.values()))
            if turns[row] > 1:
                upright[row] = _upright_hashes(lumas[row], large[row - start], int(turns[row, 0]))
                turns[row] |= UNDECIDED if is_undecided(lumas[row]) else 0
        except DamagedImageError as error:
            unreadable[row] = f"{error.code}: {error.detail}"
        if row + 1 - start == _BATCH or row + 1 == count:
            for size, batch in ((8, lumas[start : row + 1]), (16, large[: row + 1 - start])):
                straight, mirrored = phash(batch, size)
                found[size][0][start : row + 1], found[size][1][start : row + 1] = straight, mirrored
            tick(row + 1 - start)
            start = row + 1
    hashes = (found[8][0], found[16][0], found[8][1], found[16][1])
    return ImageHashes(*hashes, lumas, colours, turns, upright, tuple(unreadable))


def _upright_hashes(small: NDArray[np.uint8], large: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The four hashes of an image rotated as EXIF says, computed from its small gray pictures rotated likewise."""
    pairs = [
        phash(np.ascontiguousarray(turn(luma, orientation))[None], size) for luma, size in ((small, 8), (large, 16))
    ]
    return np.concatenate([pairs[0][0][0], pairs[1][0][0], pairs[0][1][0], pairs[1][1][0]])


def turned_of(turns: NDArray[np.uint8], upright: NDArray[np.uint8]) -> Turned:
    """Which images have an EXIF rotation, from the columns ``turn`` and ``upright``."""
    turns = turns.reshape(-1)
    rows = np.flatnonzero(turns > 1)
    words = np.ascontiguousarray(upright[rows]).view(np.uint64)
    return Turned(rows, turns[rows], words[:, :5], words[:, 5:])


def join_turned(parts: Iterable[Turned], counts: Iterable[int], place: NDArray[np.int64]) -> Turned:
    """The rotated images of all parts, which have ``counts`` rows each; ``place`` is where each of all the rows has gone."""
    parts = list(parts)
    starts = np.concatenate(([0], np.cumsum(list(counts))))
    rows = place[np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=False)])]
    order = np.argsort(rows, kind="stable")
    columns = (np.concatenate(some)[order] for some in zip(*(part[1:] for part in parts), strict=True))
    return Turned(rows[order], *columns)


def _words(hashes: pa.Table, small: str, large: str) -> NDArray[np.uint64]:
    joined = np.concatenate((column_of(hashes, small), column_of(hashes, large)), axis=1)
    return np.ascontiguousarray(joined).view(np.uint64)


def stored_hashes(place: HashPlace, entry: ShardEntry, versions: Mapping[str, str], digest: str) -> pa.Table:
    """All columns of a shard's hashes, from the file with this SHA-256; raises StoreError if it is missing."""
    return _kept(place, entry, [*_WORDS, "luma", "colour", "turn", "upright", "unreadable"], (versions, digest))


@dataclass(frozen=True, slots=True)
class LookTask:
    """Some rows of a shard whose hashes are stored in a file with this SHA-256."""

    place: HashPlace
    entry: ShardEntry
    rows: NDArray[np.int64]
    versions: Mapping[str, str]
    kept: str


def look_at_rows(task: LookTask, tick: Tick) -> NDArray[np.uint8]:
    """The small pictures of the rows, [n, LOOK_BYTES]."""
    table = _kept(task.place, task.entry, ["luma", "colour"], (task.versions, task.kept))
    tick(len(task.rows))
    return np.concatenate([column_of(table, name)[task.rows] for name in ("luma", "colour")], axis=1)


def _kept(place: HashPlace, entry: ShardEntry, columns: list[str], made: tuple[Mapping[str, str], str]) -> pa.Table:
    versions, digest = made
    found = place.read(entry, columns, versions, digest.__eq__)
    if found is None:
        raise StoreError(
            "hashes that were stored a moment ago are missing",
            code="hashes-lost",
            where=f"{place.store.url}/{place.key(entry)}",
            hint="stop any other process that writes there, then run this again",
        )
    return found[0]
