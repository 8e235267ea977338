"""Byte-identical images: one hashing pass over a source, so that copies of an image are never in two splits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.executors.base import run_all
from wdstools.formats.arrow import each_once, to_ipc
from wdstools.formats.digest import xxh3_128_digest
from wdstools.images.whole import CUT
from wdstools.planning.alike import AlikeTask, images_as_packed, images_as_they_lie
from wdstools.progress import under_way

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.executors.base import Executor, Tick
    from wdstools.planning.alike import Pictures
    from wdstools.progress import Progress

_ROWS_A_TASK = 5_000


def hash_images(task: AlikeTask, tick: Tick) -> bytes:
    """XXH3-128 of each image, 16 bytes each, concatenated; zeros for an image that its archive cannot yield."""
    if task.pictures.rules.trailing == CUT:  # bytes to be cut off must not make a difference
        digests = [xxh3_128_digest(data) if data else bytes(16) for data in images_as_packed(task)]
    else:
        digests = [bytes(16) if data is None else xxh3_128_digest(data) for data in images_as_they_lie(task)]
    tick(len(digests))
    return b"".join(digests)


def group_identical(samples: pa.Table, pictures: Pictures, executor: Executor, progress: Progress) -> NDArray[np.int64]:
    """Number the samples so that byte-identical images have the same number."""
    with under_way(progress, "compare images", samples.num_rows, "images") as tick:
        digests = image_digests(samples, pictures, executor, tick)
    _, numbers = np.unique(digests, return_inverse=True)
    return numbers.astype(np.int64)


def image_digests(samples: pa.Table, pictures: Pictures, executor: Executor, tick: Tick) -> NDArray[Any]:
    """16 bytes for each image, equal for byte-identical images."""

    def tasks() -> Iterator[AlikeTask]:
        for start in range(0, samples.num_rows, _ROWS_A_TASK):
            yield AlikeTask(pictures, to_ipc(samples.slice(start, _ROWS_A_TASK)))

    return np.frombuffer(b"".join(run_all(executor, hash_images, tasks(), tick)), np.dtype("V16"))


def count_identical(digests: dict[str, list[Any]]) -> tuple[dict[str, int], int]:
    """The leak matrix (how many images are in both of each pair of splits) and the number of surplus copies.

    ``digests`` holds arrays of 64-bit image digests for each split.
    """
    unique = {split: each_once(np.concatenate(arrays)) for split, arrays in digests.items()}
    names = sorted(unique)
    leaks = {
        f"{a}/{b}": len(np.intersect1d(unique[a], unique[b], assume_unique=True))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
    everything = np.concatenate([array for arrays in digests.values() for array in arrays])
    return leaks, len(everything) - len(each_once(everything))
