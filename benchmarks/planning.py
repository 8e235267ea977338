"""A plan of very many samples: the memory, time and disk that one process needs for a made-up listing.

``python -m benchmarks.planning 10_000_000``: short names in folders of 10,000, a hundred classes, splits by ratio. The names go into
a listing, the listing is planned by ranges, and each shard's rows are read back, as a pack does it; nothing is packed. A hundred
million need about 1,000 core-seconds and 23 GB in TMPDIR.
"""

from __future__ import annotations

import argparse
import json
import os
import stat
import threading
import time

from wdstools.executors.local import Serial
from wdstools.planning.options import make_options
from wdstools.planning.plan import Slices, make_plan
from wdstools.progress import Silent
from wdstools.sources.base import Listing, SamplesBuilder

_FOLDER = 10_000
_EVERY_SECONDS = 0.05


class Peaks:
    """The largest memory of this process's own, and the most that its files without a name took, looked at by a thread (Linux)."""

    def __init__(self) -> None:
        self.memory = self.disk = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.wait(_EVERY_SECONDS):
            with open("/proc/self/status", encoding="ascii") as status:
                own = [int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon")]
            self.memory = max(self.memory, *own)
            self.disk = max(self.disk, _nameless_bytes())

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()


def _nameless_bytes() -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            told = os.fstat(int(name))
        except OSError:  # the one by which the folder was listed
            continue
        if stat.S_ISREG(told.st_mode) and not told.st_nlink:
            found += told.st_blocks * 512
    return found


def listing_of(samples: int) -> Listing:
    """A listing of so many made-up samples."""
    builder = SamplesBuilder()
    for folder in range(samples // _FOLDER):
        names = [f"{folder:06d}-{number:06d}" for number in range(_FOLDER)]
        place = f"{folder:06d}"
        shared = {"label": f"{folder % 100:02d}", "image_dir": place, "caption_dir": "c", "caption_suffix": ".txt"}
        builder.add(shared, {"stem": names, "image_suffix": [".jpg"] * len(names)})
    return Listing(None, builder.table(), (), "required", label_in_key=True, recipe="", template={}, split_in_key=False)  # type: ignore[arg-type]  # nothing is read


def measure(samples: int) -> dict[str, float]:
    """Plan, and read every shard's rows back."""
    peaks, began = Peaks(), time.monotonic()
    options = make_options(splits="train=80,val=5,test=15")
    plan, _ = make_plan(listing_of(samples), options, Serial(), Silent())
    shards = 0
    for _ in Slices(plan):
        shards += 1
    if plan.count != samples or shards != len(plan.bounds):
        raise SystemExit(f"planned {plan.count} samples in {shards} shards, of {samples} in {len(plan.bounds)}")
    peaks.close()
    used = os.times()
    return {
        "samples": samples,
        "shards": shards,
        "memory_mb": peaks.memory >> 20,
        "disk_mb": peaks.disk >> 20,
        "core_seconds": round(used.user + used.system, 1),
        "seconds": round(time.monotonic() - began, 1),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("samples", type=int, help="how many, a multiple of 10,000")
    print(json.dumps(measure(parser.parse_args().samples)))
