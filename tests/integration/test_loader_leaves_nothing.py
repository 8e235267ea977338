"""A loader takes what it needs while it runs, and leaves nothing behind: threads, files, memory, processes."""

from __future__ import annotations

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import wdstools as wt
from tests.support.command import HANG_SECONDS, environment
from tests.support.streams import decoding_threads, open_files, packed
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"))


def test_leaving_early_leaves_no_thread_and_no_file(dataset: Dataset) -> None:
    gc.collect()
    files = open_files()
    loader = wt.loader(dataset, batch_size=4)
    for _ in loader:
        break
    gc.collect()
    assert not decoding_threads()
    assert open_files() <= files
    running = iter(loader)
    next(running)
    assert decoding_threads()
    loader.close()
    assert not decoding_threads()


def test_memory_is_used_again_when_nobody_looks(dataset: Dataset) -> None:
    places = set()
    for batch in wt.loader(dataset, batch_size=2):
        places.add(np.asarray(batch.images).ctypes.data)
    assert len(places) <= 8


def test_a_forked_child_cannot_go_on_but_begin_anew(dataset: Dataset) -> None:
    loader = wt.loader(dataset, batch_size=8)
    batches = iter(loader)
    keys = next(batches).keys
    child = os.fork()
    if not child:
        code = 1
        try:
            next(batches)
        except UsageError:
            loader.set_epoch(0)
            code = 0 if next(iter(loader)).keys == keys else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_pickled_loader_reads_the_same(dataset: Dataset) -> None:
    loader = wt.loader(dataset, batch_size=8)
    copy = pickle.loads(pickle.dumps(loader))  # noqa: S301
    assert [batch.keys for batch in copy] == [batch.keys for batch in loader]


_INTERRUPTED = """
import os, signal, sys, threading
import wdstools as wt
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
loader = wt.loader(sys.argv[1], batch_size=4, threads=3, shuffle="full")
stream = wt.stream(sys.argv[1])
files = len(os.listdir("/proc/self/fd"))
print("ready", flush=True)
got = 0
try:
    while True:
        for batch, sample in zip(loader, stream):
            got += 1
            if got == 3:
                print("running", flush=True)
except KeyboardInterrupt:
    pass
batch = sample = None
running = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
maps = [line for line in open("/proc/self/maps") if ".tar" in line]
print(running, maps, len(os.listdir("/proc/self/fd")) - files, flush=True)
print(sum(int(batch.mask.sum()) for batch in loader))
"""


def test_an_interrupt_leaves_no_thread_no_file_and_a_loader_that_goes_on(dataset: Dataset) -> None:
    command = [sys.executable, "-c", _INTERRUPTED, dataset.shards.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        assert [process.stdout.readline(), process.stdout.readline()] == ["ready\n", "running\n"]
        process.send_signal(signal.SIGINT)
        left, count = process.communicate(timeout=HANG_SECONDS)[0].splitlines()
    assert process.returncode == 0
    assert left == "[] [] 0"
    assert count == "60"


_EPOCHS = """
import gc, json, os, re, sys, threading
import wdstools as wt
dataset = wt.open_dataset(sys.argv[1])
loader = wt.loader(dataset, batch_size=32, threads=4)
stream = wt.stream(dataset, shuffle="block")
def look():
    gc.collect()
    status = open("/proc/self/status").read()
    return {
        "memory": int(re.search(r"VmRSS:\\s+(\\d+)", status)[1]) << 10,
        "peak": int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) << 10,
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
        "maps": sum(".tar" in line for line in open("/proc/self/maps")),
    }
for epoch in range(int(sys.argv[2])):
    for batch in loader:
        pass
    for sample in stream:
        len(sample["jpg"])
    del batch, sample
    print(json.dumps(look()), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_twenty_epochs_leak_no_memory_no_file_and_no_thread(tmp_path: Path) -> None:
    dataset = packed(tmp_path, train=3000, shard_samples=100, side=128)
    command = [sys.executable, "-c", _EPOCHS, dataset.shards.url, "21"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    first, *rest = map(json.loads, done.stdout.splitlines())
    assert len(rest) == 20
    for name in ("threads", "files", "maps"):
        assert {epoch[name] for epoch in rest} == {first[name]}
    assert first["threads"] == 1
    assert first["maps"] == 0
    # what an allocator keeps by chance, and not what an epoch of 3,000 samples would leave: 400 bytes a sample are 24 MB
    assert max(epoch["memory"] for epoch in rest[10:]) < max(epoch["memory"] for epoch in rest[:10]) + (8 << 20)
    assert rest[-1]["peak"] < 260_000_000
