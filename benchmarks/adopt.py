"""Adopting tars against reading them with ``cat`` and against energon's ``prepare``; headers a second, pax included."""

from __future__ import annotations

import os
import shutil
import tarfile
from io import BytesIO
from typing import TYPE_CHECKING

from benchmarks.measure import Row, clocked, clocked_command, race
from wdstools.executors.base import open_executor
from wdstools.foreign.window import RangeWindow
from wdstools.formats.tarhop import HopNotes, hop
from wdstools.ops.adopt import AdoptOptions, run_adopt
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.inputs import Setup
    from wdstools.stores.base import Store

_NONE, _XXH3, _ALL = (f"adopt --digests {level}, 2 processes" for level in ("none", "xxh3", "all"))
_CAT, _ENERGON = "cat > /dev/null", "energon prepare, 2 processes"
_CONSUMERS = os.environ.get("WDSTOOLS_CONSUMERS", ".venv-consumers")
_PAX_MEMBERS = 40_000
_LEAST_HEADERS = 200_000


def measure(setup: Setup) -> list[Row]:
    """In one race: three levels of digests, cat, and energon where tests/install-consumers.sh has put it."""
    url, paths = setup.dataset.shards.url, setup.shard_paths()

    def ours(level: str) -> float:
        place = f"{setup.scratch}/adopted"
        shutil.rmtree(place, ignore_errors=True)
        executor = open_executor("processes", 2, ("wdstools.foreign.shard",))
        seconds = clocked(lambda: run_adopt(url, place, AdoptOptions(digests=level), executor=executor))
        executor.close()
        return seconds

    contenders = {
        _NONE: lambda: ours("none"),
        _XXH3: lambda: ours("xxh3"),
        _ALL: lambda: ours("all"),
        _CAT: lambda: clocked_command(["sh", "-c", 'cat "$@" > /dev/null', "sh", *paths]),
    }
    energon = f"{_CONSUMERS}/energon/bin/energon"
    if os.path.exists(energon):
        contenders[_ENERGON] = lambda: _energon(setup, energon)
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    size = ("adopt", sum(entry.bytes for _, entry in setup.dataset.manifest.shards) / 1e9, "GB/s")
    samples = ("adopt", setup.dataset.manifest.totals["samples"], "samples/s")
    rows = [result.row((_XXH3, _CAT), of=size, at_least=0.25), result.row((_ALL, _CAT), of=size)]
    if _ENERGON in contenders:
        rows += [result.row((name, _ENERGON), of=samples, at_least=20) for name in (_XXH3, _NONE)]
    return rows + _headers(setup)


def _energon(setup: Setup, command: str) -> float:
    """Prepare a folder of links to the shards: everything that it makes, with its start, as a user runs it."""
    place = f"{setup.scratch}/energon"
    shutil.rmtree(place, ignore_errors=True)
    for _, entry in setup.dataset.manifest.shards:
        os.makedirs(os.path.dirname(f"{place}/{entry.path}"), exist_ok=True)
        os.link(f"{setup.dataset.shards.url}/{entry.path}", f"{place}/{entry.path}")
    parts = [f"--split-parts={split}:{split}/.*" for split in setup.dataset.splits]
    options = ["--non-interactive", "--skip-dataset-yaml", "--num-workers", "2", "--no-progress"]
    return clocked_command([os.path.abspath(command), "prepare", place, *options, *parts])


def _headers(setup: Setup) -> list[Row]:
    """Headers a second of one process, sums checked: of our shards, and of members with pax records."""
    place = f"{setup.scratch}/pax"
    os.makedirs(place, exist_ok=True)
    with tarfile.open(f"{place}/x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(200 if setup.tiny else _PAX_MEMBERS):
            info = tarfile.TarInfo(f"sample/{number:08d}.jpg")
            info.size, info.mtime = 18_000, number + 0.5  # webdataset's writer gives times of fractions of seconds
            tar.addfile(info, BytesIO(bytes(info.size)))
    shards = setup.dataset.shards
    ours = [(shards, entry.path) for _, entry in setup.dataset.manifest.shards]
    return [_hop("header hop, ustar", ours, setup), _hop("header hop, pax", [(LocalStore(place), "x.tar")], setup)]


def _hop(name: str, tars: Sequence[tuple[Store, str]], setup: Setup) -> Row:
    counts: list[int] = []

    def headers() -> None:
        notes = HopNotes()
        for store, key in tars:
            window = RangeWindow(store, key)
            for _ in hop(window.read, notes, window.bytes):
                pass
        counts.append(notes.headers)

    found = race({name: lambda: clocked(headers)}, setup.rounds, hasty=setup.tiny)
    value = counts[-1] / found.median(name)
    met = value >= _LEAST_HEADERS
    target = f">= {_LEAST_HEADERS:,}"
    return Row("adopt", f"{name}, 1 process", value, "headers/s", target=target, met=met, others=found.others)
