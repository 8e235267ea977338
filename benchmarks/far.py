"""Reading from afar: what part of a link streaming reaches: ``python -m benchmarks.far DATASET [--latency 50] [--bandwidth 100]``.

A web server (nginx) and a real S3 store (Swift), each behind a proxy that shapes a link, all processes of their own on
one machine. Seconds are from ``open_dataset`` to the last sample, every one checked; the limit is the bytes of the
shards by the bandwidth. Plain ranges, 8 at a time and thrown away, tell what proxy and server can carry.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wdstools as wt
from benchmarks.machine import facts, shown
from benchmarks.measure import WDSTOOLS, Row, clocked, race
from benchmarks.run import RESULTS, save, table
from tests.servers.nginx import nginx_server
from tests.servers.proxy import Link, link_process
from tests.servers.swift import swift_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from wdstools.dataset import Dataset

_LIMIT, _PLAIN = "the link", "plain ranges, 8 at once, unchecked"
_RANGE = 4 << 20
_SPLIT = "train"


def _through(url: str, open_reader: Callable[..., Iterable[object]], **options: Any) -> float:
    def read() -> None:
        for _ in open_reader(wt.open_dataset(url), _SPLIT, **options):
            pass

    return clocked(read)


def _plain(url: str, jobs: list[tuple[str, int, int]]) -> None:
    store = wt.open_dataset(url).shards
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda job: len(store.get(*job)), jobs):
            pass


@contextlib.contextmanager
def _web(dataset: Dataset, link: Link) -> Iterator[str]:
    """The dataset on a web server behind the link."""
    with tempfile.TemporaryDirectory() as scratch, nginx_server(Path(scratch)) as server:
        (server.root / "data").symlink_to(os.path.abspath(dataset.metadata.url))
        with _environment({"NO_PROXY": "127.0.0.1"}), link_process(server.endpoint, link) as endpoint:
            yield f"{endpoint}/data"


@contextlib.contextmanager
def _bucket(dataset: Dataset, link: Link) -> Iterator[str]:
    """The dataset in a bucket behind the link."""
    near = os.path.dirname(os.path.abspath(dataset.metadata.url))
    with tempfile.TemporaryDirectory(dir=near) as scratch:
        (folder := Path(scratch, "swift")).mkdir()
        with swift_server(folder) as server, link_process(server.endpoint, link) as endpoint:
            url = f"s3://{server.new_bucket()}/data"
            command = [*WDSTOOLS, "mirror", dataset.metadata.url, url, "-y", "-q"]
            subprocess.run(command, check=True, env={**os.environ, **server.env}, stdout=subprocess.DEVNULL)
            with _environment(server.at(endpoint).env):
                yield url


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


_SERVERS = {"nginx": _web, "Swift": _bucket}


def measure(
    dataset: Dataset, link: Link, rounds: int, servers: Sequence[str] = tuple(_SERVERS), *, hasty: bool = False
) -> list[Row]:
    """Rows for each server: streams and batches of bytes against the link."""
    entries = dataset.manifest.splits[_SPLIT]
    size = sum(entry.bytes for entry in entries)
    jobs = [(entry.path, at, _RANGE) for entry in entries for at in range(0, entry.bytes, _RANGE)]
    rows = []
    for server in servers:
        with _SERVERS[server](dataset, link) as url:
            contenders: dict[str, Callable[[], float]] = {
                f"stream, in order ({server})": lambda url=url: _through(url, wt.stream),  # type: ignore[misc]
                f"stream, blocks shuffled ({server})": lambda url=url: _through(url, wt.stream, shuffle="block"),  # type: ignore[misc]
                f"batches of bytes, blocks shuffled ({server})": lambda url=url: _through(  # type: ignore[misc]
                    url, wt.loader, batch_size=64, decode="bytes", shuffle="block"
                ),
                _PLAIN: lambda url=url: clocked(lambda: _plain(url, jobs)),  # type: ignore[misc]
                _LIMIT: lambda: size / link.bandwidth,
            }
            wt.open_dataset(url)  # imports are no part of a link
            found = race(contenders, rounds, hasty=hasty)
            named = f"{_LIMIT}, {link.latency * 1000:g} ms, {link.bandwidth / 1e6:g} MB/s"
            for name in contenders:
                if name != _LIMIT:
                    row = found.row(
                        (name, _LIMIT), of=("far", size / 1e6, "MB/s"), at_least=None if name == _PLAIN else 0.9
                    )
                    rows.append(
                        Row(**{**asdict(row), "peer": named, "what": name if name != _PLAIN else f"{name} ({server})"})
                    )
    return rows


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.far", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset")
    parser.add_argument("--latency", type=float, default=50, help="milliseconds before each answer (%(default)g)")
    parser.add_argument("--bandwidth", type=float, default=100, help="MB/s over all connections (%(default)g)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hasty", action="store_true", help="one round, and none to warm up")
    parser.add_argument("--servers", nargs="+", choices=list(_SERVERS), default=list(_SERVERS))
    arguments = parser.parse_args()
    dataset = wt.open_dataset(arguments.dataset)
    rows = measure(
        dataset,
        Link(arguments.latency / 1000, arguments.bandwidth * 1e6),
        arguments.rounds,
        arguments.servers,
        hasty=arguments.hasty,
    )
    machine, totals = facts(arguments.dataset), dataset.manifest.totals
    print(shown(machine))
    print(f"input:       split {_SPLIT} of {totals['shards']} shards, {totals['bytes'] / 1e6:.0f} MB\n")
    print(table(rows))
    save(os.path.join(RESULTS, "far.json"), rows, machine=machine, input=totals)


if __name__ == "__main__":
    main()
