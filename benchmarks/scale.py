"""What it costs to spread work: a task, a shared value, and a pack by 1, 2 and 4 workers, on each kind of executor.

``python -m benchmarks.scale [--kinds processes,ray,dask] [--tasks N] [--samples N]``. Ray and Dask are measured where they
are installed (``make engines``, then ``.venv-engines/bin/python -m benchmarks.scale``). Nothing here is a ratio to another
tool: the tables are in docs/scale.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import wdstools as wt
from benchmarks.scale_tasks import Held, look, nothing, wait
from wdstools.executors.base import run_all
from wdstools.formats.manifest import Manifest, ShardEntry, shard_path
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.executors.base import Executor

WORKERS = (1, 2, 4)


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default="threads,processes,ray,dask")
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--samples", type=int, default=4_000)
    parser.add_argument("--shards", type=int, default=10_000, help="shards of the manifest that tasks hold")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/images"
        make_source(source, given.samples, executor=wt.open_executor("processes", 2), progress=Silent())
        print(
            "| executor | empty task | task that holds a manifest | tasks of 0.1 s, efficiency | pack, 1, 2, 4 workers |"
        )
        print("|---|---:|---:|---:|---|")
        for kind in given.kinds.split(","):
            try:
                print(measure(kind, given, source, folder), flush=True)
            except (ImportError, wt.UsageError) as error:
                print(f"| {kind} | not measured: {str(error).splitlines()[0]} |", flush=True)


def measure(kind: str, given: Any, source: str, folder: str) -> str:
    """One line of the table."""
    manifest = manifest_of(given.shards)
    with workers(kind, 2) as executor:
        _seconds(executor, nothing, range(8))  # workers have started
        empty = _seconds(executor, nothing, range(given.tasks)) / given.tasks
        held = _seconds(executor, look, [Held(manifest, n) for n in range(given.tasks)]) / given.tasks
        slept = 20 * 0.1 / executor.jobs / _seconds(executor, wait, [0.1] * 20)
    packs = []
    for count in WORKERS:
        with workers(kind, count) as executor:
            start = time.perf_counter()
            wt.pack(source, f"{folder}/{kind}-{count}", executor=executor, shard_samples=given.samples // 10)
            packs.append(f"{time.perf_counter() - start:.1f} s")
    return f"| {kind} | {empty * 1e3:.2f} ms | {held * 1e3:.2f} ms | {slept:.2f} | {', '.join(packs)} |"


def manifest_of(shards: int) -> Manifest:
    """The manifest of a dataset that there is not, of so many shards."""
    entry = ShardEntry(shard_path("train", 0), 10_240, 0, "0" * 64, "0" * 32, "0" * 8, "0" * 16, "0" * 64)
    entries = tuple(replace(entry, path=shard_path("train", number)) for number in range(shards))
    return Manifest(name="x", version=1, labels=(), members=("jpg",), seed=0, splits={"train": entries})


def _seconds(executor: Executor, work: Any, items: Any) -> float:
    start = time.perf_counter()
    run_all(executor, work, items)
    return time.perf_counter() - start


@contextmanager
def workers(kind: str, count: int) -> Iterator[Executor]:
    """So many workers of a kind."""
    with ExitStack() as stack:
        if kind == "ray":
            import ray

            ray.init(num_cpus=count, log_to_driver=False, include_dashboard=False)
            stack.callback(ray.shutdown)
            made: Executor = wt.RayExecutor()
        elif kind == "dask":
            from distributed import Client, LocalCluster

            cluster = stack.enter_context(LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None))
            made = wt.FuturesExecutor(stack.enter_context(Client(cluster)).get_executor())
        elif kind == "processes":
            made = wt.open_executor("processes", count)
        elif kind == "threads":
            made = wt.open_executor("threads", count)
        else:
            raise wt.UsageError("no such kind", where="--kinds", got=kind)
        stack.callback(made.close)
        yield made


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
