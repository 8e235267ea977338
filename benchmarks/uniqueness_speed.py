"""How fast duplicates are found: hashing beside imagehash, exact search beside others, whole datasets on a straight line.

    python -m benchmarks.uniqueness_speed [--photos FOLDER] [--codes N ...] [--against N M] [--dataset DATASET [--cleanvision PYTHON]]

Each figure is a ratio of one run. Hashing is measured in CPU time of one core on every image of FOLDER, in turns of a
hundred images, and every hash is compared with imagehash's: exit code 1 if one differs. The codes are random ones, with 2 % of them equal or
within 3 bits of one another where it says so. faiss, usearch and imagededup are asked, where they are installed, for
a sample of the queries, and their time is multiplied. With ``--dataset`` the whole command's work is timed, hashes
made anew; with ``--cleanvision``, the Python of an environment that has it, so is cleanvision, on FOLDER, which must
hold the images of DATASET.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import resource
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING

import imagehash
import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.machine import facts
from benchmarks.make_photos import find_photos
from tests.support.lookalikes import fingerprints, scene
from wdstools import find_duplicates, open_dataset
from wdstools.dedup.across import match
from wdstools.dedup.compare import LOOK_BYTES
from wdstools.dedup.groups import Fingerprints, group
from wdstools.dedup.hamming import link
from wdstools.dedup.levels import LEVELS, levels_up_to
from wdstools.executors.open import open_executor
from wdstools.images.luma import check_pillow
from wdstools.ops.duplicates.find import WORKER_MODULES
from wdstools.reader.hashes import hash_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_TURN, _QUERIES, _FEW = 100, 500, 20_000
#: Of more codes only the smallest limit is measured.
_MANY = 2_000_000
_CLEANVISION = """
from cleanvision import Imagelab
import sys
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=2, verbose=False)
"""


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this thread."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def hashing(folder: str) -> bool:
    """Both hashes, mirror and luma, beside imagehash's one, and beside the decoder alone; whether all bits are equal."""
    paths = find_photos(folder)
    seconds = dict.fromkeys(("ours", "decoder", "imagehash"), 0.0)
    equal = 0
    hash_images([_bytes(paths[0])], 1, lambda _: None)
    for some in _turns(paths):
        images = [_bytes(path) for path in some]
        began = time.thread_time()
        found = hash_images(images, len(images), lambda _: None)
        seconds["ours"] += time.thread_time() - began
        seconds["decoder"] += cpu(lambda images=images: _decode(images))  # type: ignore[misc]
        began = time.thread_time()
        small = [str(imagehash.phash(Image.open(io.BytesIO(data)))) for data in images]
        seconds["imagehash"] += time.thread_time() - began
        equal += sum(
            found.phash[row].tobytes().hex() == small[row]
            and found.phash16[row].tobytes().hex() == str(imagehash.phash(Image.open(io.BytesIO(data)), hash_size=16))
            for row, data in enumerate(images)
        )
    each = {name: 1e6 * value / len(paths) for name, value in seconds.items()}
    print(f"hashing {len(paths):,} images: {each['ours']:.0f} us each for phash 8 and 16, mirror and luma")
    print(f"  imagehash.phash alone: {each['imagehash']:.0f} us, {each['imagehash'] / each['ours']:.2f} times as long")
    print(f"  of ours the JPEG decoder: {each['decoder']:.0f} us, {100 * each['decoder'] / each['ours']:.0f} %")
    print(f"  equal bits in both hashes: {equal:,} of {len(paths):,}")
    return equal == len(paths)


def _turns(paths: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [paths[at : at + _TURN] for at in range(0, len(paths), _TURN)]


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _decode(images: list[bytes]) -> None:
    for data in images:
        simplejpeg.decode_jpeg(data, colorspace="RGB")


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
    limits = (8, 4, 10) if count <= _MANY else (4,)
    base, peak = {}, {}
    for limit in limits:
        codes = codes_of(count, "random")
        base[limit] = cpu(lambda codes=codes, limit=limit: link(codes, (limit, 256)))  # type: ignore[misc]
        peak[limit] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    times = {}
    for kind in ("equal", "cluster"):
        codes = codes_of(count, kind)
        for limit in limits:
            times[kind, limit] = cpu(lambda codes=codes, limit=limit: link(codes, (limit, 256))) / base[limit]  # type: ignore[misc]
    for limit in sorted(limits):
        print(
            f"search {count:,} codes, up to {limit} bits: {base[limit]:.2f} s; 2 % equal {times['equal', limit]:.2f}"
            f" times, 2 % in a cluster {times['cluster', limit]:.2f} times"
        )
    print(f"  at most {peak[limits[0]]:.0f} MB of memory, up to {limits[0]} bits, libraries and codes included")
    if count <= _MANY:
        beside_others(count, base[8])


def against(count: int, others: int) -> None:
    """The search of one set in another, hashes at hand, on both cores; of the other set 2 % are in the one, or nearly."""
    draw = np.random.default_rng(2)
    words = [codes_of(count, "random"), draw.integers(0, 2**64, (others, 5), np.uint64)]
    shared = others // 50
    words[1][:shared] = words[0][draw.choice(count, shared, replace=False)]
    words[1][: shared // 2, 0] ^= np.uint64(5)
    mine, theirs = (
        Fingerprints(
            draw.integers(1, 2**63, (len(some), 2), np.uint64), some, draw.integers(0, 2**64, some.shape, np.uint64),
            np.full(len(some), 50, np.float32), lambda rows: np.zeros((len(rows), LOOK_BYTES), np.uint8),
        )
        for some in words
    )  # fmt: skip
    for level in ("re-encode", "edited"):
        match(mine, theirs, levels_up_to(level))  # everything is compiled now
        spent, began = _processor_seconds(), time.perf_counter()
        held = int(np.count_nonzero(match(mine, theirs, levels_up_to(level))[1].other >= 0))
        seconds, spent = time.perf_counter() - began, _processor_seconds() - spent
        print(
            f"{count:,} images against {others:,}, level {level}: {seconds:.2f} s, {spent:.2f} s of processor time ({held:,} held)"
        )


def beside_others(count: int, ours: float) -> None:
    """What others take for every pair within 8 bits: some of the queries, multiplied."""
    bits = np.ascontiguousarray(codes_of(count, "random")[:, 0]).view(np.uint8).reshape(-1, 8)
    for name, package, work in (
        ("faiss flat", "faiss", _faiss),
        ("usearch, its graph", "usearch", _usearch),
        ("imagededup's BK-tree", "imagededup", _imagededup),
    ):
        if importlib.util.find_spec(package) is None:
            print(f"  {package} is not installed")
            continue
        size, seconds = work(bits)
        beside = ours
        if size != count:
            codes = codes_of(size, "random")
            beside = min(cpu(lambda codes=codes: link(codes, (8, 256))) for _ in range(3))  # type: ignore[misc]
        print(f"  {name}, {size:,} codes, up to 8 bits: {seconds:.0f} s, {seconds / beside:.0f} times as long")


def _faiss(bits: NDArray[np.uint8]) -> tuple[int, float]:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(64)
    index.add(bits)
    return len(bits), cpu(lambda: index.range_search(bits[:_QUERIES], 9)) * len(bits) / _QUERIES


def _usearch(bits: NDArray[np.uint8]) -> tuple[int, float]:
    """Its index is a graph of neighbours: approximate, and the fastest that it has."""
    from usearch.index import Index

    few = bits[:_FEW]
    index = Index(ndim=64, metric="hamming", dtype="b1")
    built = cpu(lambda: index.add(np.arange(len(few)), few, threads=1))
    asked = cpu(lambda: index.search(few[:_QUERIES], 10, threads=1))
    return len(few), built + asked * len(few) / _QUERIES


def _imagededup(bits: NDArray[np.uint8]) -> tuple[int, float]:
    """On few codes: of more, its tree takes hours."""
    from imagededup.handlers.search.bktree import BKTree

    hashes = {str(row): code.tobytes().hex() for row, code in enumerate(bits[:_FEW])}

    def distance(a: str, b: str) -> int:
        return (int(a, 16) ^ int(b, 16)).bit_count()

    began = time.thread_time()
    tree = BKTree(hashes, distance)
    built = time.thread_time() - began
    queries = list(hashes.values())[: _QUERIES // 5]
    asked = cpu(lambda: [tree.search(code, 8) for code in queries])
    return len(hashes), built + asked * len(hashes) / len(queries)


class _Stopwatch:
    """A progress that notes when how many images were hashed."""

    def __init__(self) -> None:
        self._tasks: list[list[tuple[int, float]]] = []

    @property
    def points(self) -> list[tuple[int, float]]:
        """Of the task that counted most: every image is hashed, and few are compared after that."""
        return max(self._tasks, key=lambda points: points[-1][0])

    def start(self, label: str, total: int | None, unit: str) -> None:
        del label, total, unit
        self._tasks.append([(0, time.perf_counter())])

    def advance(self, amount: int) -> None:
        self._tasks[-1].append((self._tasks[-1][-1][0] + amount, time.perf_counter()))

    def finish(self) -> None:
        """Nothing is left to do."""


def whole(path: str) -> tuple[int, float]:
    """The work of the command, hashes in a folder of their own; gives images and seconds."""
    dataset = open_dataset(path)
    _compile()
    cache, watch = tempfile.mkdtemp(), _Stopwatch()
    spent = _processor_seconds()
    executor = open_executor("processes", 2, WORKER_MODULES)
    began = time.perf_counter()
    try:
        found = find_duplicates(dataset, level="edited", cache=cache, executor=executor, progress=watch)
        first = time.perf_counter() - began
        executor.close()
        spent = _processor_seconds() - spent
        again = cpu(lambda: find_duplicates(dataset, level="edited", cache=cache))
    finally:
        executor.close()
        shutil.rmtree(cache)
    print(f"whole, level edited, 2 processes, {found.samples:,} images: {first:.1f} s; processor time {spent:.1f} s,")
    print(f"  {1000 * spent / found.samples:.3f} ms an image; with hashes kept {again:.1f} s of one thread")
    images, seconds = np.array(watch.points, np.float64).T
    seconds -= seconds[0]
    for share in range(1, 6):
        at = int(np.searchsorted(images, share * images[-1] / 5))
        print(f"  {images[at]:>12,.0f} images hashed after {seconds[at]:6.1f} s")
    slope, start = np.polyfit(images, seconds, 1)
    apart = np.abs(seconds - (start + slope * images)).max()
    print(
        f"  straight line: {start:.1f} s + {1000 * slope:.3f} ms an image, at most {apart:.1f} s from what was measured"
    )
    rest = first - seconds[-1]
    million = start + slope * 1e6 + rest / found.samples * 1e6
    print(f"  1,000,000 images on it, and {rest:.1f} s of grouping likewise: {million / 60:.1f} min;")
    print(f"  by processor time, if nothing else runs on the two cores: {spent / found.samples * 1e6 / 120:.1f} min")
    return found.samples, first


def _compile() -> None:
    """What the first run after an installation does, once for all: the loops are compiled, and kept on the disk."""
    check_pillow()
    group(fingerprints([scene(1), scene(1)]), LEVELS)


def _processor_seconds() -> float:
    """Of this process and of those it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def cleanvision(python: str, folder: str, ours: tuple[int, float]) -> None:
    """The same images, as files."""
    files = len(find_photos(folder))
    if files != ours[0]:
        raise SystemExit(f"the dataset holds {ours[0]:,} images and {folder} {files:,}: not the same work")
    began = time.perf_counter()
    subprocess.run([python, "-c", _CLEANVISION, folder], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    print(
        f"cleanvision, exact and near duplicates, 2 processes: {seconds:.1f} s, {seconds / ours[1]:.1f} times as long"
    )
    print(f"  (of {files:,} images each; cleanvision's near duplicates are those of equal phash)")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uniqueness_speed", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--photos", help="JPEGs to hash")
    parser.add_argument("--codes", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--against", type=int, nargs=2, metavar=("N", "M"), help="the search of N images in M others")
    parser.add_argument("--dataset")
    parser.add_argument("--cleanvision", metavar="PYTHON", help="beside --dataset and --photos, of the same images")
    arguments = parser.parse_args()
    if arguments.cleanvision and not (arguments.dataset and arguments.photos):
        parser.error("--cleanvision goes with --dataset and --photos, of the same images")
    print("; ".join(f"{name} {value}" for name, value in facts(".").items()))
    for count in arguments.codes:
        search(count)
    if arguments.against:
        against(*arguments.against)
    if arguments.dataset:
        ours = whole(arguments.dataset)
        if arguments.cleanvision:
            cleanvision(arguments.cleanvision, arguments.photos, ours)
    if arguments.photos and not hashing(arguments.photos):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
