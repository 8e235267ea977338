"""Runs one peer for some time: ``python runner.py PEER.py TASK``; needs only the peer's own packages.

TASK is a JSON object: ``work`` (raw, batches, or prepare: make the peer's own copy at ``prepared``), ``seconds``, ``shards`` (paths), ``batch_size``, ``threads``,
``shuffle`` (true or false), ``variant``, and anything else a peer needs. The answer is one JSON line: ``count`` samples
in ``seconds``, for which this process used ``cpu_seconds`` of CPU time, ``first_ms`` from before the peer was imported to its first step, and its ``version``.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import warnings
from importlib.metadata import version
from itertools import islice
from typing import Any

#: How many steps pass before the clock starts, as for our own loader: batches made ahead do not count as speed.
_AHEAD = 8


def measure(path: str, task: dict[str, Any]) -> dict[str, Any]:
    """Count the peer's samples until the time is up."""
    begin = time.perf_counter()
    peer = _load(path)
    if task["work"] == "prepare":
        peer.prepare(task)
        return {"seconds": time.perf_counter() - begin, "version": version(peer.PACKAGE)}
    steps = getattr(peer, task["work"])(task)
    next(steps)
    first = time.perf_counter() - begin
    for _ in islice(steps, _AHEAD - 1):
        pass
    count = 0
    cpu = time.process_time()
    start = time.perf_counter()
    for done in steps:
        count += done
        seconds = time.perf_counter() - start
        if seconds >= task["seconds"]:
            break
    used = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}
    return {"count": count, **used, "first_ms": first * 1000, "version": version(peer.PACKAGE)}


def _load(path: str) -> Any:
    """The peer's module, under the name by which worker processes import it again."""
    sys.path.insert(0, os.path.dirname(path))
    return importlib.import_module(os.path.basename(path).removesuffix(".py"))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # warnings of the peer itself
    sys.stdout.write(json.dumps(measure(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
    sys.stdout.flush()
