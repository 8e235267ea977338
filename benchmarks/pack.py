"""Packing a folder as it is, and checking images while packing: whole commands, warm cache, output on the same disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.machine import tar_version
from benchmarks.measure import WDSTOOLS, Row, clocked_command, race, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.inputs import Setup

PEERS = (sys.executable, "-m", "benchmarks.peers.commands")
_OURS = "wdstools pack --check header -j2"
_DECODE = "wdstools pack --check decode -j2"
_SUMS = "GNU tar, then sha256sum of what it wrote"
_TAR, _TARS, _SHARD_WRITER = "GNU tar", "GNU tar, two at once", "webdataset ShardWriter"
_LIMIT = "two loops that read, and hash twice"
_TIGHT, _LEAST = "two tight simplejpeg loops", "two loops that read images, hash and decode"


def measure(setup: Setup) -> list[Row]:
    """Against GNU tar, webdataset's writer and the limit with ``--check header``; against the bare decoder with ``decode``."""
    out = f"{setup.scratch}/packed"
    contenders = {_OURS: _fresh(out, lambda: clocked_command(pack_command(setup, out, "header"), codes=(0, 3)))}
    if tar_version().startswith("tar (GNU tar)"):
        lists = _write_lists(setup)
        for peer, at_once, then in ((_SUMS, 1, _SUM_ALL), (_TAR, 1, ""), (_TARS, 2, "")):
            command = _tar_command(lists, out, at_once, then)
            contenders[peer] = _fresh(out, partial(clocked_command, command, cwd=setup.source))
    writer = (*PEERS, "shard-writer", setup.source, out, str(setup.shard_samples))
    contenders[_SHARD_WRITER] = _fresh(out, lambda: clocked_command(writer))
    samples = f"{setup.scratch}/samples.list"
    with open(samples, "w", encoding="utf-8") as file:
        file.writelines(
            "\t".join(f"{setup.source}/{path}" for path in pair) + "\n" for shard in setup.pairs for pair in shard
        )
    contenders[_LIMIT] = lambda: _two_loops("read-hash", samples)
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    work = ("pack", setup.samples, "samples/s")
    targets = {_SUMS: 1.5, _TAR: None, _TARS: None, _SHARD_WRITER: 4.0, _LIMIT: None}
    rows = [result.row((_OURS, peer), of=work, at_least=targets[peer]) for peer in contenders if peer != _OURS]
    if _SUMS in contenders:
        of = ("pack", setup.samples, "samples a second of processor time")
        rows += [result.by_processor.row((_OURS, peer), of=of) for peer in (_SUMS, _LIMIT)]
    return [*rows, *_measure_decode(setup, out)]


def _measure_decode(setup: Setup, out: str) -> list[Row]:
    listed = f"{setup.scratch}/images.list"
    images = [f"{setup.source}/{image}\n" for shard in setup.pairs for image, _ in shard]
    with open(listed, "w", encoding="utf-8") as file:
        file.writelines(images)
    contenders = {
        _DECODE: _fresh(out, lambda: clocked_command(pack_command(setup, out, "decode"), codes=(0, 3))),
        _TIGHT: lambda: _two_loops("decode", listed),
        _LEAST: lambda: _two_loops("read-hash-decode", listed),
    }
    result = race(contenders, setup.rounds, hasty=setup.tiny)
    targets = {_TIGHT: None, _LEAST: 0.75}
    work = ("pack", setup.samples, "samples/s")
    return [result.row((_DECODE, peer), of=work, at_least=target) for peer, target in targets.items()]


def pack_command(setup: Setup, out: str, check: str) -> list[str]:
    """The command that is measured; without labels, so that both write the same members: image and caption."""
    layout = ["--image", "img/{id}.jpg", "--caption", "captions/{id}.txt"]
    options = [*layout, "--check", check, "-j2", "--shard-samples", str(setup.shard_samples), "-q", "--no-progress"]
    return [*WDSTOOLS, "pack", setup.source, f"{out}/dataset", *options]


def _fresh(out: str, work: Callable[[], float]) -> Callable[[], float]:
    """With an empty output folder: the old one is removed outside the time, and the disk left to come to rest."""

    def run() -> float:
        shutil.rmtree(out, ignore_errors=True)
        os.makedirs(out)
        settle()
        return work()

    return run


def _write_lists(setup: Setup) -> list[str]:
    """One list of members a shard, in the shard's order: image and caption of each sample, no file twice."""
    folder = f"{setup.scratch}/lists"
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for number, shard in enumerate(setup.pairs):
        with open(f"{folder}/{number:06d}", "w", encoding="utf-8") as file:
            file.writelines(f"{image}\n{caption}\n" for image, caption in shard)
    return [f"{folder}/{name}" for name in sorted(os.listdir(folder))]


#: What follows where a list of checksums is wanted too.
_SUM_ALL = '; sha256sum "$out"/*.tar > "$out/SHA256SUMS"'


def _tar_command(lists: Sequence[str], out: str, at_once: int, then: str = "") -> list[str]:
    one = 'tar --format=ustar -cf "$0/${1##*/}.tar" -T "$1"'
    if at_once == 1:
        each = f'out="$1"; shift; for list; do sh -ec \'{one}\' "$out" "$list"; done{then}'
        return ["sh", "-ec", each, "sh", out, *lists]
    feed = " ".join(f"'{path}'" for path in lists)
    return ["sh", "-ec", f"echo \"{feed}\" | xargs -n1 -P{at_once} sh -ec '{one}' '{out}'"]


def _two_loops(work: str, listed: str) -> float:
    """Seconds that two processes need for all files, once both are ready."""
    command = [*PEERS, work, listed]
    loops = [
        subprocess.Popen([*command, part], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for part in ("0", "1")
    ]
    for loop in loops:
        assert loop.stdout is not None
        assert loop.stdout.readline() == "ready\n"
    start = time.perf_counter()
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.flush()
    codes = [loop.wait() for loop in loops]
    seconds = time.perf_counter() - start
    for loop in loops:
        loop.communicate()
    assert codes == [0, 0]
    return seconds
