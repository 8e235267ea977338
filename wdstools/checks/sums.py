"""Checking any files against a checksum list, as ``sha256sum -c`` does, in parallel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xxhash

from wdstools.errors import NotFoundError, StoreError
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.results import Finding
from wdstools.stores.reading import read_blocks

if TYPE_CHECKING:
    from wdstools.executors.base import Tick
    from wdstools.formats.sums import SumLine
    from wdstools.stores.base import Store

_HASHES: dict[str, Any] = {
    "xxh32": xxhash.xxh32,
    "xxh64": xxhash.xxh64,
    "xxh3_64": xxhash.xxh3_64,
    "xxh3_128": xxhash.xxh3_128,
}
#: What stands in the place of a file, by ``what_is``.
_STANDING_IN = ("git-lfs", "git-annex", "html", "xml", "empty")


@dataclass(frozen=True, slots=True)
class SumCheckTask:
    """One line of a list; the path is below the store."""

    store: Store
    line: SumLine


@dataclass(frozen=True, slots=True)
class SumCheck:
    """What became of one line."""

    bytes: int
    finding: Finding | None = None


def check_sum(task: SumCheckTask, tick: Tick) -> SumCheck:
    """Hash one file and compare; where its line does not name the algorithm, the others of that length are tried too."""
    line = task.line
    size, got = 0, ""
    try:
        for algorithm in (line.algorithm, *line.others):
            digest, size = _digest(task, algorithm, None if got else tick)
            if digest == line.digest:
                return SumCheck(size)
            got = got or f"{algorithm}:{digest}"
        sniffed = what_is(task.store.get(line.path, 0, min(size, SNIFF_BYTES)) if size else b"", size)
    except NotFoundError:
        return SumCheck(
            size,
            Finding(
                "missing",
                line.path,
                "a listed file is missing",
                expected=f"{line.algorithm}:{line.digest}",
                cause="file-missing",
            ),
        )
    except StoreError as error:
        return SumCheck(size, Finding("unreadable", line.path, error.message, got=error.code, cause=error.code))
    message = "a file is not what the list says"
    if sniffed is not None and sniffed.code in _STANDING_IN:
        message += f": this is {sniffed}: {sniffed.hint}"
    return SumCheck(
        size,
        Finding("file", line.path, message, expected=f"{line.algorithm}:{line.digest}", got=got, cause="bytes-differ"),
    )


def _digest(task: SumCheckTask, algorithm: str, tick: Tick | None) -> tuple[str, int]:
    """The digest of a file, and its size."""
    make = _HASHES.get(algorithm)
    name, _, bits = algorithm.partition("-")
    if make is not None:
        digest = make()
    elif bits:
        digest = hashlib.blake2b(digest_size=int(bits) // 8, usedforsecurity=False)
    else:
        digest = hashlib.new(name, usedforsecurity=False)
    size = 0
    for block in read_blocks(task.store, task.line.path):
        digest.update(block)
        size += len(block)
        if tick is not None:
            tick(len(block))
    return digest.hexdigest(), size
