"""Fingerprints of a set of images from any place: a dataset, a folder or archive, or a file of hashes."""

from __future__ import annotations

import io
import itertools
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wdstools.dataset import open_dataset
from wdstools.dedup.compare import LOOK_BYTES
from wdstools.dedup.groups import Fingerprints
from wdstools.dedup.levels import LUMA_SIDE
from wdstools.dedup.phash import deviation
from wdstools.errors import UsageError
from wdstools.executors.base import run_all
from wdstools.formats.arrow import one_chunk, to_array, to_ipc, to_list, to_numpy
from wdstools.formats.hashes import column_of, columns_of, is_handed_out, present, read_handed_out, write_handed_out
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.landing.answer import write_answer, write_answer_of
from wdstools.landing.inside import require_inside
from wdstools.memory import many_rows
from wdstools.planning.alike import AlikeTask, Pictures, images_as_packed, told_fingerprints
from wdstools.planning.compiling import compile_hashing
from wdstools.planning.samples import with_keys
from wdstools.progress import under_way
from wdstools.reader.hashes import (
    HashPlace,
    LookTask,
    PrintTask,
    join_turned,
    library_versions,
    look_at_rows,
    print_shard,
    stored_hashes,
    turned_of,
)
from wdstools.results import Proved, weakest
from wdstools.sources.base import image_paths, text_columns
from wdstools.sources.every_image import listed, lost_images, more_images
from wdstools.stores.local import LocalStore, translated

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor
    from wdstools.formats.manifest import ShardEntry
    from wdstools.progress import Progress
    from wdstools.sources.base import SourceOpener


_LUMA_BYTES = LUMA_SIDE * LUMA_SIDE
#: How many images are written together: their small pictures take 8 MB.
_HANDED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class PrintedSet:
    """The images of one set, sorted by key. For a dataset, ``dataset`` and ``places`` (shard, row) are set."""

    name: str
    keys: Sequence[str]
    prints: Fingerprints
    splits: Sequence[str]
    unreadable: tuple[tuple[str, str], ...] = ()
    dataset: Dataset | None = None
    #: What is proved about the images: a folder or a file of hashes has no digests.
    proved: Proved = Proved.NOTHING
    places: NDArray[np.int64] | None = None
    #: Kept as long as the set: the unpacked copy of a compressed archive is removed with its source.
    source: object = None


def print_set(
    path: str | Dataset, cache: str | None, executor: Executor, progress: Progress, *, pixels: bool = True
) -> PrintedSet:
    """The fingerprints of what is at a path; without ``pixels``, a dataset is compared by its indexes alone.

    Raises UsageError, NotFoundError, FormatError, IntegrityError, StoreError.
    """
    if not isinstance(path, str):
        return _of_dataset(path, cache, executor, progress, pixels=pixels)
    if os.path.isfile(path) and path.endswith(".parquet") and is_handed_out(path):
        return _of_file(path)
    dataset = opened(path)
    if dataset is not None:
        return _of_dataset(dataset, cache, executor, progress, pixels=pixels)
    return _of_source(path, executor, progress)


def opened(path: str) -> Dataset | None:
    """The dataset at a path; None if there are images or hashes."""
    there = "://" in path or os.path.exists(os.path.join(path, MANIFEST_PATH))
    return open_dataset(path) if there else None


def _of_dataset(
    dataset: Dataset, cache: str | None, executor: Executor, progress: Progress, *, pixels: bool
) -> PrintedSet:
    place = hash_place(dataset, cache) if pixels else None
    versions = library_versions() if pixels else {}
    shards = dataset.manifest.shards
    counts = [entry.samples for _, entry in shards]
    tasks = (PrintTask(dataset, entry, place, versions) for _, entry in shards)
    if pixels:
        compile_hashing(progress, sum(counts), sum(entry.bytes for _, entry in shards))
    with under_way(progress, "hash images" if pixels else "read indexes", sum(counts), "images") as tick:
        parts = run_all(executor, print_shard, tasks, tick)
    keys = wide_text([part.keys for part in parts])
    order = to_numpy(pc.sort_indices(keys)).astype(np.int64)
    shard = np.repeat(np.arange(len(counts)), counts)[order]
    row = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])[order]

    def looks(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert place is not None
        kept = [(entry, part.kept) for (_, entry), part in zip(shards, parts, strict=True)]
        return look_up(place, kept, (shard[rows], row[rows]), versions, executor)

    def joined(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])[order if pixels or name == "exact" else []]

    turned = join_turned([part.turned for part in parts], counts, np.argsort(order))
    names = [shards[number][0] for number in shard.tolist()]
    return PrintedSet(
        name=dataset.name,
        keys=to_list(one_chunk(keys.take(to_array(order, pa.int64())))),
        prints=Fingerprints(
            joined("exact"), joined("words"), joined("mirrored"), joined("deviation"), looks, turned
        ),
        splits=names,
        unreadable=tuple(sorted(entry for part in parts for entry in part.unreadable)),
        dataset=dataset,
        proved=proved_of(dataset, pixels=pixels),
        places=np.stack((shard, row), axis=1),
    )  # fmt: skip


def wide_text(parts: Sequence[pa.Array]) -> pa.ChunkedArray:
    """Texts of many shards, which may exceed 2 GiB together, the limit of 32-bit offsets."""
    return pa.chunked_array(parts, pa.string()).cast(pa.large_string())


def hash_place(dataset: Dataset, cache: str | None) -> HashPlace:
    """Where the hashes of a dataset are kept. Raises UsageError, and StoreError if a link leads outside that place."""
    place = HashPlace.of(dataset, cache)
    if not place.cached and isinstance(place.store, LocalStore):
        require_inside(place.store.path, [place.key(entry) for _, entry in dataset.manifest.shards])
    return place


def proved_of(dataset: Dataset, *, pixels: bool) -> Proved:
    """What is proved about a dataset's images, and about their labels and captions if they are compared."""
    proved = dataset.proved_by_samples if pixels else Proved.FORGER
    return proved if dataset.anchored and dataset.manifest.has_values else weakest(proved, Proved.ACCIDENT)


def look_up(
    place: HashPlace,
    kept: Sequence[tuple[ShardEntry, str]],
    at: tuple[NDArray[np.int64], NDArray[np.int64]],
    versions: Mapping[str, str],
    executor: Executor,
) -> NDArray[np.uint8]:
    """The small pictures of images, given by shard number and row; each shard is read once, by a worker.

    ``kept`` are the shards, each with the SHA-256 of the file that holds its hashes.
    """
    shard, row = at
    with translated(tempfile.gettempdir()):
        made = many_rows(len(shard), LOOK_BYTES)
    order = np.argsort(shard, kind="stable")
    numbers, starts = np.unique(shard[order], return_index=True)
    spans = [order[start:stop] for start, stop in itertools.pairwise([*starts.tolist(), len(order)])]
    tasks = (
        LookTask(place, kept[number][0], row[mine], versions, kept[number][1])
        for number, mine in zip(numbers.tolist(), spans, strict=True)
    )
    for outcome in executor.map(look_at_rows, tasks):
        made[spans[outcome.index]] = outcome.result()
    return made


class _Files(NamedTuple):
    """The image files of a source, sorted by the keys that they would have or by path; and those not readable."""

    table: pa.Table
    opener: SourceOpener
    lost: Sequence[tuple[str, str]]
    source: object


def _files_of(path: str) -> _Files:
    source, listing = listed(path)
    if listing is not None and not listing.image_types:
        raise UsageError("there are no images here", code="no-images", where=path)
    samples = None if listing is None else with_keys(listing, 0).samples
    known = frozenset() if samples is None else frozenset(image_paths(samples.table))
    more = more_images(source, listing, known)
    tables = [] if samples is None else [_pictures_of(samples.table)]
    lost: Sequence[tuple[str, str]] = ()
    if more is not None:
        tables.append(_pictures_of(more.table()))
        lost = more.lost
    elif listing is not None:
        lost = lost_images(listing.skips)
    table = pa.concat_tables(tables) if tables else None
    if table is None or not table.num_rows:
        raise UsageError("there are no images here", code="source-empty", where=path)
    opener = more.opener if more is not None else listing.opener  # type: ignore[union-attr]
    return _Files(table.sort_by("key"), opener, lost, source)


def _of_source(path: str, executor: Executor, progress: Progress) -> PrintedSet:
    """Fingerprints of every image file: those of samples by the key that they would have, others by their path."""
    files = _files_of(path)
    order = np.arange(files.table.num_rows)
    pictures = Pictures(files.opener, as_they_lie=True)
    prints, reasons = told_fingerprints(files.table, order, pictures, executor, progress)
    keys = to_list(files.table.column("key"))
    paths = image_paths(files.table)
    damaged = [(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason is not None]
    splits = [split or "" for split in to_list(files.table.column("split"))]
    return PrintedSet(path, keys, prints, splits, tuple(sorted((*damaged, *files.lost))), source=files.source)


def images_with_keys(path: str, keys: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Some images of a folder, an archive, or a file of hashes, which has a small gray picture of each."""
    if path.endswith(".parquet") and os.path.isfile(path) and is_handed_out(path):
        table = read_handed_out(path, library_versions()["hashes"])
        table = table.filter(pc.is_in(table.column("key"), pa.array(keys, pa.string())))
        lumas = column_of(table, "luma").reshape(-1, LUMA_SIDE, LUMA_SIDE)
        yield from zip(to_list(table.column("key")), map(_as_png, lumas), strict=True)
        return
    files = _files_of(path)
    table = files.table.filter(pc.is_in(files.table.column("key"), pa.array(keys, pa.large_string())))
    task = AlikeTask(Pictures(files.opener, as_they_lie=True), to_ipc(table))
    yield from zip(to_list(table.column("key")), images_as_packed(task), strict=True)


def _as_png(luma: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    sink = io.BytesIO()
    Image.fromarray(luma).save(sink, "PNG")
    return sink.getvalue()


def _pictures_of(samples: pa.Table) -> pa.Table:
    """The columns needed to find and name the images of a table of samples, as plain columns."""
    names = ("key", "split", "image_dir", "stem", "image_suffix", "image_entry")
    kinds = (*[pa.large_string()] * 5, pa.large_binary())
    columns = dict(zip(names, text_columns(samples, names), strict=True))
    columns["key"] = [key.decode() if isinstance(key, bytes) else key for key in columns["key"]]
    return pa.table([pa.array(columns[name], kind) for name, kind in zip(names, kinds, strict=True)], list(names))


def _of_file(path: str) -> PrintedSet:
    table = read_handed_out(path, library_versions()["hashes"])
    looks = np.concatenate([column_of(table, name) for name in ("luma", "colour")], axis=1)
    words, mirrored = (
        np.ascontiguousarray(np.concatenate([column_of(table, name) for name in pair], axis=1)).view(np.uint64)
        for pair in (("phash", "phash16"), ("mirrored", "mirrored16"))
    )
    spread = np.where(present(table), deviation(column_of(table, "luma").reshape(-1, 32, 32)), np.float32(np.nan))
    exact = np.stack([to_numpy(table.column(name)).astype(np.uint64) for name in ("xxh3_64", "bytes")], axis=1)
    turned = turned_of(column_of(table, "turn"), column_of(table, "upright"))
    prints = Fingerprints(exact, words, mirrored, spread, lambda rows: looks[rows], turned)
    return PrintedSet(path, to_list(table.column("key")), prints, to_list(table.column("split")))


def hand_out_images(
    path: str, target: str, executor: Executor, progress: Progress
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Write the hashes of a folder or archive of images to one file, which can be used without the images.

    Returns how many of them can be decoded, and which cannot.
    """
    printed = print_set(path, None, executor, progress)
    with translated(tempfile.gettempdir()):
        made = tempfile.TemporaryFile(prefix="wdstools-")  # noqa: SIM115  closed below
    with made:
        with translated(tempfile.gettempdir()):
            write_handed_out(_parts_of(printed), library_versions(), made)
        write_answer_of(target, made, "hashes")
    return int(np.count_nonzero(~np.isnan(printed.prints.deviation))), printed.unreadable


def _parts_of(printed: PrintedSet) -> Iterator[pa.Table]:
    """The tables to hand out, some images at a time."""
    prints, count = printed.prints, len(printed.keys)
    turns, upright = np.ones((count, 1), np.uint8), np.zeros((count, 10), np.uint64)
    turned = prints.turned
    turns[turned.rows, 0] = turned.turns
    upright[turned.rows] = np.concatenate((turned.words, turned.mirrored), axis=1)
    for start in range(0, count, _HANDED_AT_ONCE):
        part = np.arange(start, min(start + _HANDED_AT_ONCE, count))
        read = part[~np.isnan(prints.deviation[part])]
        looks = np.zeros((len(part), LOOK_BYTES), np.uint8)
        looks[read - start] = prints.looks(read)
        words, mirrored = (
            all_of[part].view(np.uint8).reshape(len(part), -1) for all_of in (prints.words, prints.mirrored)
        )
        gone = np.isin(part, read, invert=True)
        columns = {
            "phash": words[:, :8], "phash16": words[:, 8:], "mirrored": mirrored[:, :8], "mirrored16": mirrored[:, 8:],
            "luma": looks[:, :_LUMA_BYTES], "colour": looks[:, _LUMA_BYTES:], "turn": turns[part],
            "upright": upright[part].view(np.uint8).reshape(len(part), -1),
        }  # fmt: skip
        reasons = ["image-damaged" if row else None for row in gone.tolist()]
        exact = [pa.array(column, pa.uint64()) for column in prints.exact[part].T]
        named = {"key": printed.keys[start : start + len(part)], "split": printed.splits[start : start + len(part)]}
        yield pa.table({**named, "xxh3_64": exact[0], "bytes": exact[1], **columns_of(columns, reasons)})


def hand_out(dataset: Dataset, path: str, cache: str | None) -> int:
    """Write a dataset's stored hashes to one file, which can be used without the images; returns their number."""
    place, versions = hash_place(dataset, cache), library_versions()
    tables = []
    for split, entry in dataset.manifest.shards:
        prints = print_shard(PrintTask(dataset, entry, place, versions), lambda _: None)
        exact = [pa.array(column, pa.uint64()) for column in prints.exact.T]
        columns = {
            "key": prints.keys,
            "split": pa.repeat(split, len(prints.keys)),
            "xxh3_64": exact[0],
            "bytes": exact[1],
        }
        hashes = stored_hashes(place, entry, versions, prints.kept)
        tables.append(pa.table({**columns, **{name: hashes.column(name) for name in hashes.column_names}}))
    with io.BytesIO() as made:
        write_handed_out([pa.concat_tables(tables).sort_by("key")], versions, made)
        write_answer(path, made.getvalue(), "hashes")
    return sum(table.num_rows for table in tables)
