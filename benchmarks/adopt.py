"""Adopting webdataset's shards against reading them with ``cat`` and energon's ``prepare``; headers a second, pax included."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from benchmarks.inputs import read_files
from benchmarks.measure import Row, clocked, clocked_command, race
from wdstools.executors.open import open_executor
from wdstools.foreign.shard import read_foreign
from wdstools.ops.adopt import adopt
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.inputs import Setup
    from wdstools.options.move import Digests
    from wdstools.stores.base import Store


_NONE, _XXH3, _ALL = (f"adopt --digests {level}, 2 processes" for level in ("none", "xxh3", "all"))
_CAT, _ENERGON = "cat > /dev/null", "energon prepare, 2 processes"
_CONSUMERS = os.environ.get("WDSTOOLS_CONSUMERS", ".venv-consumers")
_LEAST_HEADERS = 200_000


def measure(setup: Setup) -> list[Row]:
    """In one race: three levels of digests, cat, and energon where tests/install-consumers.sh has put it."""
    paths = _written_by_webdataset(setup)
    url = os.path.dirname(paths[0])

    def ours(level: Digests) -> float:
        place = f"{setup.scratch}/adopted"
        shutil.rmtree(place, ignore_errors=True)
        executor = open_executor("processes", 2, ("wdstools.foreign.shard",))
        seconds = clocked(lambda: adopt(url, place, digests=level, executor=executor))
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
        contenders[_ENERGON] = lambda: _energon(setup, paths, energon)
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    size = ("adopt", sum(map(os.path.getsize, paths)) / 1e9, "GB/s")
    samples = ("adopt", setup.dataset.manifest.totals["samples"], "samples/s")
    rows = [result.row((_XXH3, _CAT), of=size, at_least=0.25), result.row((_ALL, _CAT), of=size)]
    if _ENERGON in contenders:
        rows += [result.row((name, _ENERGON), of=samples, at_least=20) for name in (_XXH3, _NONE)]
    return rows + _headers(url, paths, setup)


def _energon(setup: Setup, paths: Sequence[str], command: str) -> float:
    """Prepare a folder of links to the shards: everything that it makes, with its start, as a user runs it."""
    place = f"{setup.scratch}/energon"
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    for path in paths:
        os.link(path, f"{place}/{os.path.basename(path)}")
    options = [
        "--non-interactive",
        "--skip-dataset-yaml",
        "--num-workers",
        "2",
        "--no-progress",
        "--split-parts=train:.*",
    ]
    return clocked_command([os.path.abspath(command), "prepare", place, *options])


def _headers(theirs: str, paths: Sequence[str], setup: Setup) -> list[Row]:
    """Headers a second of one process, sums checked and samples made: with pax records, and without."""
    ours = [(setup.dataset.shards, entry.path) for _, entry in setup.dataset.manifest.shards]
    store = LocalStore(theirs)
    with_pax = [(store, os.path.basename(path)) for path in paths]
    return [_header_rate("headers, ustar", ours, setup), _header_rate("headers, pax", with_pax, setup)]


def _written_by_webdataset(setup: Setup) -> list[str]:
    """The same samples in shards as webdataset's writer makes them, with a pax record before every member."""
    from webdataset import TarWriter

    folder = f"{setup.scratch}/webdataset"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    paths = []
    for number, shard in enumerate(setup.pairs):
        paths.append(f"{folder}/train-{number:06d}.tar")
        with open(paths[-1], "wb") as file, TarWriter(file) as sink:
            for image, caption in shard:
                data, text = read_files([f"{setup.source}/{path}" for path in (image, caption)])
                key = image.removeprefix("img/").removesuffix(".jpg").replace("/", "_")
                sink.write({"__key__": key, "jpg": data, "txt": text})
    return paths


def _header_rate(name: str, tars: Sequence[tuple[Store, str]], setup: Setup) -> Row:
    counts: list[int] = []

    def headers() -> None:
        counts.append(sum(read_foreign(store, key, "train", "tar", "none")[1].headers for store, key in tars))

    found = race({name: lambda: clocked(headers)}, setup.rounds, hasty=setup.tiny)
    value = counts[-1] / found.median(name)
    met = value >= _LEAST_HEADERS
    target = f">= {_LEAST_HEADERS:,}"
    return Row("adopt", f"{name}, 1 process", value, "headers/s", target=target, met=met, others=found.others)
