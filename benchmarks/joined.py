"""What a rank needs of a very large dataset: its private memory, its first batch, and going on in the middle of an epoch.

    python -m benchmarks.joined --rows 100000000 --scratch DIR

The joined index is made up: rows by the hundred million, in shards of 10,000 that are all links to one small tar. It is written
by the code that writes real ones. Everything behind it is real: the loader opens, shuffles, reads, checks and hands out. Each rank
is a process; figures are taken from its own ``/proc/self/smaps_rollup`` (Linux), where a page of the mapped file counts as its share.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import numpy as np

import wdstools as wt
from benchmarks.machine import facts
from wdstools.dataset import Dataset
from wdstools.formats.digest import ShardDigester, xxh3_64_intdigest, xxh3_128_digest
from wdstools.formats.manifest import MANIFEST_PATH, Manifest, ShardEntry, dumps, shard_path
from wdstools.joined import kept
from wdstools.joined.index_columns import Texts
from wdstools.joined.layout import LOOSE_MEMBER, Layout
from wdstools.stores.local import LocalStore

SHARD_ROWS = 10_000
_BATCH = 256
_GROUP = 1024
_RANK = """
import json, sys, time
begin = time.perf_counter()
import wdstools as wt
def memory():
    found = {}
    for line in open("/proc/self/smaps_rollup").read().splitlines()[1:]:
        name, value = line.split(":")
        found[name] = int(value.split()[0]) * 1024
    return {"private": found["Pss_Anon"] + found["Pss_Shmem"], "pss": found["Pss"]}
path, rank, world, batches = sys.argv[1], *map(int, sys.argv[2:5])
imported = time.perf_counter()
loader = wt.loader(path, batch_size=256, decode="bytes", rank=rank, world_size=world, seed=1, threads=2)
times, peak = [], memory()
start = imported
for number, batch in enumerate(loader):
    now = time.perf_counter()
    times.append(now - start)
    if number % 20 == 0:
        peak = {name: max(value, peak[name]) for name, value in memory().items()}
    start = time.perf_counter()
    if number + 1 == batches:
        break
state = loader.state_dict()
state["position"] = loader.state_dict()["position"] // 2 + (len(loader) // 2) * 256 * world
loader.close()
start = time.perf_counter()
again = wt.loader(path, batch_size=256, decode="bytes", rank=rank, world_size=world, seed=1, threads=2)
again.load_state_dict(state)
next(iter(again))
resumed = time.perf_counter() - start
print(json.dumps({"import": imported - begin, "first": times[0], "resume": resumed, "rate": 256 * (len(times) - 1) / sum(times[1:]), **peak}))
"""


def make(scratch: str, rows: int) -> str:
    """The dataset, and its joined index in the cache; what is there already is used."""
    folder = os.path.join(scratch, f"rows-{rows}")
    shards = rows // SHARD_ROWS
    group = os.urandom(_GROUP)
    os.makedirs(f"{folder}/train", exist_ok=True)
    tar = f"{folder}/train/one"
    if not os.path.exists(tar):
        with open(tar, "wb") as file:
            file.write(group * SHARD_ROWS)
    with open(tar, "rb") as file:
        group = file.read(_GROUP)
    for number in range(shards):
        path = os.path.join(folder, shard_path("train", number))
        if not os.path.lexists(path):
            os.symlink("one", path)
    manifest = Manifest("synthetic", 1, (), ("jpg",), 0, {"train": tuple(_entries(shards, group))})
    data = dumps(manifest)
    LocalStore(folder).put(MANIFEST_PATH, data)
    dataset = Dataset(manifest, manifest.root, LocalStore(folder), LocalStore(folder))
    if not os.path.exists(kept.path_of(dataset.root)):
        _write(dataset, group)
    return folder


def _entries(shards: int, group: bytes) -> list[ShardEntry]:
    digester = ShardDigester()
    digester.update(group * SHARD_ROWS)
    found = digester.digests()
    rest = (found.bytes, SHARD_ROWS, found.sha256, found.xxh3_128, found.crc32c, found.crc64nvme)
    return [
        ShardEntry(shard_path("train", number), *rest, f"{number:064x}", values="0" * 64) for number in range(shards)
    ]


def _write(dataset: Dataset, group: bytes) -> None:
    layout = Layout.of(dataset)
    writing = kept.Writing(dataset, layout)
    columns = writing.mapped(dataset)
    for shard in range(layout.shards):
        rows = slice(shard * SHARD_ROWS, (shard + 1) * SHARD_ROWS)
        keys = [f"{number:09d}" for number in range(rows.start, rows.stop)]
        place = columns.places[rows]
        place["start"] = np.arange(SHARD_ROWS) * _GROUP
        place["length"], place["key_size"] = _GROUP, 9
        place["key_start"] = np.arange(SHARD_ROWS) * 9
        place["xxh3_128"] = np.frombuffer(xxh3_128_digest(group), "<u8")
        members = place["members"]
        members["offset"][:, 0], members["size"][:, 0] = place["start"] + 512, 300
        members["xxh3_64"] = xxh3_64_intdigest(group[512:812])
        for name, value in {"label": -1, "cls": 0, "width": 64, "height": 64, "format": -1, "caption_size": -1}.items():
            columns.arrays[name][rows] = value
        columns.arrays["caption_start"][rows] = 0
        columns.texts[shard] = Texts(np.zeros(0, LOOSE_MEMBER), "".join(keys).encode(), b"")
        writing.add_texts(columns, shard, rows)
        columns.texts[shard] = None
    writing.keep(columns)
    writing.close()


def measure(folder: str, ranks: int, batches: int) -> list[dict[str, Any]]:
    """What each of some ranks says that run at once."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _RANK, folder, str(rank), str(ranks), str(batches)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    return [json.loads(process.communicate()[0]) for process in started]


def main() -> None:
    """Make the input, measure one rank and two, print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=400)
    parser.add_argument("--scratch", required=True)
    chosen = parser.parse_args()
    os.environ["XDG_CACHE_HOME"] = os.path.join(chosen.scratch, "cache")
    begin = time.perf_counter()
    folder = make(chosen.scratch, chosen.rows)
    root = wt.open_dataset(folder).root
    size = os.path.getsize(kept.path_of(root))
    found = {
        "machine": facts(chosen.scratch),
        "rows": chosen.rows,
        "joined_bytes": size,
        "bytes_a_row": size / chosen.rows,
        "made_seconds": time.perf_counter() - begin,
        "cold_or_first": measure(folder, 1, chosen.batches),
        "warm": measure(folder, 1, chosen.batches),
        "two_ranks": measure(folder, 2, chosen.batches),
    }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
