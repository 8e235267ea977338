"""The search for duplicates among very many images: memory and time of one process, with made-up codes.

``python -m benchmarks.uniqueness_scale 20_000_000 [--level exact] [--jobs 2]``: each image is 8 bytes of a digest, at level re-encode
8 of a hash too, random ones, with 2 % copies: half of them equal bytes, half another encoding, a hash of 2 bits elsewhere. What
``duplicates`` holds of all images is made and searched as it does it; shards are not read, and candidates not looked at again. Exit
code 1 unless all planted ones are found, and nothing else at level exact (of random hashes a few are near one another).
"""

from __future__ import annotations

import argparse
import os
import threading
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.machine import facts
from wdstools.dedup.candidates import Outlines, candidates
from wdstools.dedup.levels import levels_up_to
from wdstools.executors.open import open_executor
from wdstools.memory import many_rows
from wdstools.planning.compiling import compile_search
from wdstools.planning.searching import OnWorkers
from wdstools.progress import Silent

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE, _EVERY_SECONDS, _COPIES = 1 << 20, 0.05, 50


class Watch(threading.Thread):
    """The largest memory of this process's own, and that of the files that it maps, whenever it looked (Linux)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.mapped = 0
        self._done = threading.Event()

    def run(self) -> None:
        """Look again and again."""
        while not self._done.wait(_EVERY_SECONDS):
            with open("/proc/self/status", encoding="ascii") as status:
                said = {
                    name: int(rest.split()[0]) << 10
                    for name, _, rest in (line.partition(":") for line in status)
                    if name.startswith("Rss")
                }
            self.own, self.mapped = max(self.own, said["RssAnon"]), max(self.mapped, said["RssFile"] + said["RssShmem"])

    def stop(self) -> None:
        """Look no more."""
        self._done.set()
        self.join()


def made(count: int, seed: int) -> NDArray[np.uint64]:
    """So many random words, where ``duplicates`` would have them."""
    words = many_rows(count, 8).reshape(-1).view(np.uint64)
    draw = np.random.default_rng(seed)
    for start in range(0, count, _AT_ONCE):
        words[start : start + _AT_ONCE] = draw.integers(0, 1 << 64, min(_AT_ONCE, count - start), np.uint64)
    return words


def outlines_of(count: int, level: str) -> tuple[Outlines, NDArray[np.int64]]:
    """Made-up outlines, and the rows that are the same as another: the first ones, and those at the end that copy them."""
    exact = made(count, 1)
    pixels = level != "exact"
    first = made(count if pixels else 0, 2)
    copies = count // _COPIES
    half = copies // 2
    exact[count - half :] = exact[:half]
    planted = [np.arange(half), np.arange(count - half, count)]
    if pixels:
        first[count - half :] = first[:half]
        first[count - copies : count - half] = first[half:copies] ^ np.uint64(0x8000_0000_0001_0000)
        planted += [np.arange(half, copies), np.arange(count - copies, count - half)]
    hashed = np.ones(len(first), np.bool_)
    return Outlines((exact,), first, hashed), np.unique(np.concatenate(planted))


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=int)
    parser.add_argument("--level", choices=("exact", "re-encode"), default="re-encode")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    compile_search(Silent(), 1 << 20)
    levels = levels_up_to(given.level)
    few, _ = outlines_of(100_000, given.level)
    workers = OnWorkers(open_executor("threads", given.jobs), Silent())
    candidates(few, levels[-1] if levels else None, workers)  # everything is compiled now
    outlines, planted = outlines_of(given.images, given.level)
    watch, began = Watch(), os.times()
    watch.start()
    rows = candidates(outlines, levels[-1] if levels else None, workers)
    spent = os.times()
    watch.stop()
    seconds = spent.user + spent.system - began.user - began.system
    print(
        f"{given.images:,} images, level {given.level}, {given.jobs} jobs: {seconds:.1f} core-seconds,"
        f" {spent.elapsed - began.elapsed:.1f} s; {watch.own / 1e9:.2f} GB of its own"
        f" ({watch.own / given.images:.0f} bytes an image), {watch.mapped / 1e9:.2f} GB of mapped files;"
        f" {len(rows):,} candidates, {len(planted):,} planted"
    )
    print(
        ", ".join(
            f"{name} {value}" for name, value in facts(os.getcwd()).items() if name in ("processor", "cores", "memory")
        )
    )
    if not np.isin(planted, rows, assume_unique=True).all() or (not levels and len(rows) != len(planted)):
        raise SystemExit("what was planted is not what was found")


if __name__ == "__main__":
    main()
