"""How fast duplicates are found: hashing beside imagehash, exact search beside faiss, whole datasets beside a line.

    python -m benchmarks.uniqueness_speed [--photos FOLDER] [--codes 1000000] [--dataset DATASET]

Each figure is a ratio of one run. Hashing is measured in CPU time of one core on up to 2,000 images of FOLDER; the
codes are random ones, with 2 % of them equal or within 3 bits of one another where it says so. faiss is asked for a sample of the queries, if it is
installed, and its time multiplied. With ``--dataset`` the whole command's work is timed, hashes made anew.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import shutil
import tempfile
import time
from typing import TYPE_CHECKING

import imagehash
import numpy as np
from PIL import Image

from benchmarks.machine import facts
from benchmarks.make_photos import find_photos
from wdstools import find_duplicates, open_dataset
from wdstools.dedup.hamming import link
from wdstools.executors.base import open_executor
from wdstools.reader.hashes import hash_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_QUERIES = 500


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def hashing(folder: str) -> None:
    """Both hashes, mirror and luma, beside imagehash's one."""
    images = []
    for path in find_photos(folder)[:2000]:
        with open(path, "rb") as file:
            images.append(file.read())
    hash_images(images[:2], 2, lambda _: None)
    half = len(images) // 2
    ours = theirs = 0.0
    for part in (images[:half], images[half:]):
        ours += cpu(lambda part=part: hash_images(part, len(part), lambda _: None))  # type: ignore[misc]
        theirs += cpu(lambda part=part: [imagehash.phash(Image.open(io.BytesIO(data))) for data in part])  # type: ignore[misc]
    found = hash_images(images, len(images), lambda _: None)
    equal = sum(
        found.phash[row].tobytes().hex() == str(imagehash.phash(Image.open(io.BytesIO(data))))
        and found.phash16[row].tobytes().hex() == str(imagehash.phash(Image.open(io.BytesIO(data)), hash_size=16))
        for row, data in enumerate(images)
    )
    print(f"hashing {len(images):,} images: {1e6 * ours / len(images):.0f} us each for phash 8 and 16, mirror and luma")
    print(f"  imagehash.phash alone: {1e6 * theirs / len(images):.0f} us, {theirs / ours:.2f} times as long")
    print(f"  equal bits in both hashes: {equal:,} of {len(images):,}")


def codes_of(count: int, kind: str) -> NDArray[np.uint64]:
    """Random codes as phash makes them (an even number of set bits); 2 % alike where ``kind`` says so."""
    draw = np.random.default_rng(1)
    codes = draw.integers(0, 2**64, (count, 5), np.uint64)
    alike = draw.choice(count, count // 50, replace=False)
    if kind != "random":
        codes[alike] = codes[0]
    if kind == "cluster":
        for _ in range(3):
            codes[alike, 0] ^= np.uint64(1) << draw.integers(0, 64, len(alike)).astype(np.uint64)
    return codes


def search(count: int) -> None:
    """Exact search, one thread; limits of the whole 256 bits leave the second check out."""
    link(codes_of(1000, "random"), (4, 256))
    seconds = {}
    for kind in ("random", "equal", "cluster"):
        codes = codes_of(count, kind)
        for limit in (4, 8, 10):
            seconds[kind, limit] = cpu(lambda codes=codes, limit=limit: link(codes, (limit, 256)))  # type: ignore[misc]
    for limit in (4, 8, 10):
        base = seconds["random", limit]
        print(
            f"search {count:,} codes, up to {limit} bits: {base:.2f} s; 2 % equal {seconds['equal', limit] / base:.2f}"
            f" times, 2 % in a cluster {seconds['cluster', limit] / base:.2f} times"
        )
    if importlib.util.find_spec("faiss") is None:
        print("  faiss is not installed")
        return
    import faiss

    faiss.omp_set_num_threads(1)
    bytes_of = np.ascontiguousarray(codes_of(count, "random")[:, 0]).view(np.uint8).reshape(-1, 8)
    index = faiss.IndexBinaryFlat(64)
    index.add(bytes_of)
    whole = cpu(lambda: index.range_search(bytes_of[:_QUERIES], 9)) * count / _QUERIES
    print(
        f"  faiss flat, up to 8 bits, {_QUERIES} queries times {count // _QUERIES:,}: {whole:.0f} s, {whole / seconds['random', 8]:.0f} times as long"
    )


def whole(path: str) -> None:
    """The work of the command, hashes in a folder of their own."""
    dataset = open_dataset(path)
    cache = tempfile.mkdtemp()
    executor = open_executor("processes", 2, ("wdstools.reader.hashes", "simplejpeg"))
    try:
        began = time.perf_counter()
        found = find_duplicates(dataset, level="edited", cache=cache, executor=executor)
        first = time.perf_counter() - began
        again = time.perf_counter()
        find_duplicates(dataset, level="edited", cache=cache, executor=executor)
        again = time.perf_counter() - again
    finally:
        executor.close()
        shutil.rmtree(cache)
    print(f"whole, level edited, 2 processes, {found.samples:,} images: {first:.1f} s, {again:.1f} s with hashes kept")
    print(f"  on a straight line, 1,000,000 images: {first / found.samples * 1e6 / 60:.1f} min")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uniqueness_speed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--photos")
    parser.add_argument("--codes", type=int, default=1_000_000)
    parser.add_argument("--dataset")
    arguments = parser.parse_args()
    print("; ".join(f"{name} {value}" for name, value in facts(".").items()))
    if arguments.photos:
        hashing(arguments.photos)
    if arguments.codes:
        search(arguments.codes)
    if arguments.dataset:
        whole(arguments.dataset)


if __name__ == "__main__":
    main()
