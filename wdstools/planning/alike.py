"""Images of a source that are the same at a level: hashed before the pack, so that splits can take them into account.

Kernels are imported where they are used: they take half a second, which a pack that compares nothing should not pay.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from wdstools.dedup.levels import levels_up_to
from wdstools.executors.base import run_all
from wdstools.formats.arrow import from_ipc, taken, to_ipc, to_list, valid
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.images.check import DamagedImageError
from wdstools.images.rules import ImageMaker, ImageRules
from wdstools.progress import under_way
from wdstools.sources.base import MAX_FILE_BYTES, DamagedEntryError, NeedSpaceError, image_paths, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dedup.groups import Fingerprints, Grouping
    from wdstools.executors.base import Executor, Tick, Value, Work
    from wdstools.formats.hashes import ImageHashes
    from wdstools.progress import Progress
    from wdstools.sources.base import SourceOpener

_ROWS_A_TASK = 2_000
_FIRST_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class Pictures:
    """How to read images as they will be packed; ``as_they_lie`` takes the bytes of any file, damaged or not."""

    opener: SourceOpener
    rules: ImageRules = field(default_factory=ImageRules)
    as_they_lie: bool = False


@dataclass(frozen=True, slots=True)
class AlikeTask:
    """Some images to fingerprint; ``samples`` are rows as Arrow IPC bytes."""

    pictures: Pictures
    samples: bytes


def fingerprint(task: AlikeTask, tick: Tick) -> tuple[bytes, ImageHashes, NDArray[np.float32]]:
    """XXH3-64 and size of each image (zeros if it cannot be packed), its hashes, and the deviation of its luma.

    The small pictures are left out, because those of most images are never needed.
    """
    from wdstools.dedup.phash import deviation
    from wdstools.reader.hashes import hash_images

    digests: list[bytes] = []

    def images() -> Iterator[bytes]:
        for data in images_as_packed(task):
            digests.append(struct.pack("<QQ", xxh3_64_intdigest(data), len(data)) if data else bytes(16))
            yield data

    samples = from_ipc(task.samples)
    hashes = hash_images(images(), samples.num_rows, tick)
    readable = np.array([reason is None for reason in hashes.unreadable], bool)
    spread = np.where(readable, deviation(hashes.luma), np.float32(np.nan))
    nothing = np.zeros(0, np.uint8)
    return b"".join(digests), replace(hashes, luma=nothing, colour=nothing), spread


def looks(task: AlikeTask, tick: Tick) -> NDArray[np.uint8]:
    """The small pictures of images that ``fingerprint`` was able to read."""
    from wdstools.dedup.compare import LOOK_BYTES
    from wdstools.images.luma import look_at

    made = []
    for data in images_as_packed(task):
        look = look_at(data, (32,), task.pictures.rules.max_pixels)
        made.append(np.concatenate((look.lumas[0].reshape(-1), look.colour.reshape(-1))))
    tick(len(made))
    return np.array(made, np.uint8).reshape(-1, LOOK_BYTES)


def images_as_packed(task: AlikeTask) -> Iterator[bytes]:
    """The bytes of each image as they would be packed; empty if it would be skipped."""
    pictures = task.pictures
    maker = None if pictures.as_they_lie else ImageMaker(replace(pictures.rules, check="header"))
    for data in images_as_they_lie(task):
        yield b"" if data is None else _as_packed(bytes(data), maker)


def images_as_they_lie(task: AlikeTask) -> Iterator[memoryview | None]:
    """The bytes of each image file, valid until the next is requested; None if it is too long, or its archive cannot yield it."""
    samples = from_ipc(task.samples)
    reader = task.pictures.opener.open()
    buffer = bytearray(_FIRST_BUFFER)
    try:
        for path, entry in zip(image_paths(samples), text_columns(samples, ("image_entry",))[0], strict=True):
            size: int | None = None
            while size is None:
                try:
                    size, _ = reader.read_into(path, entry, memoryview(buffer))
                except NeedSpaceError as need:
                    if need.size > MAX_FILE_BYTES:
                        break
                    buffer = bytearray(need.size)
                except DamagedEntryError:
                    break
            yield None if size is None else memoryview(buffer)[:size]
    finally:
        reader.close()


def _as_packed(data: bytes, maker: ImageMaker | None) -> bytes:
    """What a shard would hold or, without a maker, the unchanged bytes."""
    try:
        return maker.make(data) if maker is not None else data
    except DamagedImageError:
        return b""


def group_alike(
    samples: pa.Table, order: NDArray[np.int64], pictures: Pictures, level: str, executor: Executor, progress: Progress
) -> Grouping:
    """Which samples have the same image at a level; the first of a group in ``order`` leads it.

    The arrays of the result, and the rows in them, refer to rows of ``samples``. An image that cannot be packed is
    unlike any other.
    """
    from wdstools.dedup.groups import group
    from wdstools.planning.compiling import compile_search
    from wdstools.planning.searching import OnWorkers

    prints = fingerprints_of(samples, order, pictures, executor, progress)
    levels = levels_up_to(level)
    if levels:
        compile_search(progress, len(order), widest=levels[-1])
    return _rows_of(group(prints, levels, workers=OnWorkers(executor, progress))[-1], order)


def fingerprints_of(
    samples: pa.Table, order: NDArray[np.int64], pictures: Pictures, executor: Executor, progress: Progress
) -> Fingerprints:
    """The fingerprints of samples in the given order. An image that cannot be packed is unlike any other."""
    return told_fingerprints(samples, order, pictures, executor, progress)[0]


def told_fingerprints(
    samples: pa.Table, order: NDArray[np.int64], pictures: Pictures, executor: Executor, progress: Progress
) -> tuple[Fingerprints, list[str | None]]:
    """The fingerprints, and for each image the reason why it cannot be decoded; None if it can."""
    from wdstools.dedup.compare import LOOK_BYTES
    from wdstools.dedup.groups import Fingerprints
    from wdstools.planning.compiling import compile_hashing
    from wdstools.reader.hashes import join_turned, turned_of

    compile_hashing(progress, len(order))

    def tasks(rows: pa.Table) -> Iterator[AlikeTask]:
        for start in range(0, rows.num_rows, _ROWS_A_TASK):
            yield AlikeTask(pictures, to_ipc(rows.slice(start, _ROWS_A_TASK)))

    ordered = taken(samples, order)
    parts = _run(fingerprint, tasks(ordered), executor, progress, ordered.num_rows)
    exact = np.frombuffer(b"".join(digests for digests, _, _ in parts), np.uint64).reshape(-1, 2).copy()
    unknown = np.flatnonzero(~exact.any(axis=1))
    exact[unknown, 1] = unknown + 1

    def looks_of(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        found = _run(looks, tasks(taken(ordered, rows)), executor, progress, len(rows))
        return np.concatenate([np.zeros((0, LOOK_BYTES), np.uint8), *found])

    words, mirrored = (
        np.concatenate([np.concatenate((getattr(h, a), getattr(h, b)), axis=1) for _, h, _ in parts]).view(np.uint64)
        for a, b in (("phash", "phash16"), ("mirrored", "mirrored16"))
    )
    spreads = np.concatenate([spread for _, _, spread in parts])
    turned = join_turned(
        [turned_of(h.turn, h.upright) for _, h, _ in parts], [len(h.turn) for _, h, _ in parts], np.arange(len(spreads))
    )
    reasons = [reason for _, hashes, _ in parts for reason in hashes.unreadable]
    return Fingerprints(exact, words, mirrored, spreads, looks_of, turned), reasons


def _rows_of(found: Grouping, order: NDArray[np.int64]) -> Grouping:
    back = np.argsort(order)
    return replace(
        found,
        leader=order[found.leader][back],
        component=order[found.component][back],
        near=found.near[back],
        flipped=found.flipped[back],
    )


def _run(
    work: Work[AlikeTask, Value], tasks: Iterator[AlikeTask], executor: Executor, progress: Progress, total: int
) -> list[Value]:
    with under_way(progress, "compare images", total, "images") as tick:
        return run_all(executor, work, tasks, tick)


def by_preference(samples: pa.Table) -> NDArray[np.int64]:
    """Rows in order of preference for the one to keep of a group: test, then val, others, train; with a caption; by key."""
    ranks = [_PREFERENCE.get(split or "", 2) for split in to_list(samples.column("split"))]
    bare = np.ones(samples.num_rows, bool)
    for part in _CAPTIONS:
        if part in samples.column_names:
            bare &= ~valid(samples.column(part))
    order = list(zip(ranks, bare.tolist(), to_list(samples.column("key")), strict=True))
    return np.array(sorted(range(len(order)), key=order.__getitem__), np.int64)


#: Columns in which a sample with a caption has a value.
_CAPTIONS = ("caption", "caption_suffix", "caption_entry")
_PREFERENCE = {"test": 0, "val": 1, "valid": 1, "validation": 1, "dev": 1, "train": 3}
