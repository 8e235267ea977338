"""Checking any files against a checksum list, as ``sha256sum -c`` does, in parallel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xxhash

from wdstools.errors import NotFoundError, StoreError
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
    """Hash one file and compare."""
    line = task.line
    make = _HASHES.get(line.algorithm)
    digest = make() if make else hashlib.new(line.algorithm, usedforsecurity=False)
    size = 0
    try:
        for block in read_blocks(task.store, line.path):
            digest.update(block)
            size += len(block)
            tick(len(block))
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
    computed = digest.hexdigest()
    if computed == line.digest:
        return SumCheck(size)
    return SumCheck(
        size,
        Finding(
            "file",
            line.path,
            "a file is not what the list says",
            expected=f"{line.algorithm}:{line.digest}",
            got=f"{line.algorithm}:{computed}",
            cause="bytes-differ",
        ),
    )
