"""Checks without a manifest: a single tar by the checksums in its own headers, or the files of a checksum list."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, BinaryIO

from wdstools.checks.lone_tar import check_lone
from wdstools.checks.sums import SumCheckTask, check_sum, is_there
from wdstools.checks.unread import set_apart
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.sniff import what_is
from wdstools.formats.sum_lists import CRC_DIGITS, read_list
from wdstools.formats.tar_names import encoding_of
from wdstools.results import Finding, Proved, Report
from wdstools.stores.compressed import plain_blocks
from wdstools.stores.local import LocalStore, buffered_plain, open_plain, storage_error
from wdstools.stores.open import open_store
from wdstools.stores.reading import get_whole
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.executors.base import Executor
    from wdstools.formats.sums import SumLine
    from wdstools.progress import Progress
    from wdstools.stores.base import Store


#: At most this many of a list's unusable lines are named.
_NAMED = 20


def refuse_pipe(path: str) -> None:
    """Refuse a path that is not a file or folder, such as a pipe, which may never end; raises StoreError (``not-a-file``)."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise StoreError(
            "this is neither a plain file nor a folder",
            code="not-a-file",
            where=path,
            hint=f"wdstools verify - < {quote(path)}    checks one shard from a pipe",
        )


def kind_of_file(path: str) -> str:
    """What a file is: ``manifest``, ``tar`` or ``sums``."""
    try:
        with open_plain(path) as file:
            head = file.read(512)
    except OSError as error:
        raise storage_error(error, path) from None
    if head[:1] == b"{":
        return "manifest"
    sniffed = what_is(head)
    packed = sniffed is not None and sniffed.code in ("tar", "gzip", "zstd", "bzip2", "xz")
    return "tar" if packed or encoding_of(path) is not None else "sums"


def verify_sums(path: str, *, at: str | None = None, executor: Executor, progress: Progress) -> Report:
    """Check the files of a checksum list, relative to the list's folder or ``at``. Raises FormatError if it is not a list."""
    folder, name = os.path.split(path)
    beside = LocalStore(folder or ".")
    data = get_whole(beside, name)
    listed = read_list(data, where=path)
    store = open_store(at) if at else beside
    if not listed.lines:
        raise FormatError(
            "nothing to check: not a manifest, a tar or a checksum list", code="not-understood", where=path
        )
    there = {number for number, line in listed.guesses if is_there(store, line)}
    lines = [*listed.lines, *(line for number, line in listed.guesses if number in there)]
    report = check_lines(store, lines, executor, progress)
    lost = [(number, line) for number, line in listed.guesses if number not in there]
    odd = [(line.number, line.why) for line in listed.odd]
    odd += [(number, f"no file is called {line.path!r}") for number, line in lost if len(line.digest) > CRC_DIGITS]
    others = listed.passed + sum(len(line.digest) <= CRC_DIGITS for _, line in lost)
    unproved = [f"{path}, line {number}: {why}" for number, why in sorted(odd)[:_NAMED]]
    if len(odd) > _NAMED:
        unproved.append(f"{path}: {len(odd) - _NAMED:,} more such lines")
    checked = {**report.checked, **({"other_lines": others} if others else {})}
    proved = Proved.NOTHING if unproved else report.proved
    return replace(report, checked=checked, unproved=(*report.unproved, *unproved), proved=proved)


def check_lines(store: Store, lines: list[SumLine], executor: Executor, progress: Progress) -> Report:
    """Check the files on some lines of a list."""
    tasks = (SumCheckTask(store, line) for line in lines)
    findings: dict[int, Finding] = {}
    size = 0
    progress.start("verify", _total_bytes(store, lines), "bytes")
    try:
        for outcome in executor.map(check_sum, tasks, progress.advance):
            check = outcome.result()
            size += check.bytes
            if check.finding:
                findings[outcome.index] = check.finding
    finally:
        progress.finish()
    found, unread = set_apart(findings[index] for index in sorted(findings))
    proved = Proved.NOTHING if found or unread else Proved.ACCIDENT
    return Report("digest", {"files": len(lines), "bytes": size}, found, unread, proved=proved)


def _total_bytes(store: Store, lines: list[SumLine]) -> int:
    total = 0
    for line in lines:
        with contextlib.suppress(StoreError):
            total += store.head(line.path).bytes
    return total


def verify_shard_file(path: str) -> Report:
    """Check one tar by the checksums in its own headers."""
    try:
        with buffered_plain(path) as file:
            return verify_stream(file, path)
    except NotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, path) from None


def verify_stream(file: BinaryIO, name: str) -> Report:
    """Check one tar from a stream, plain or compressed, by the checksums in its own headers.

    Members without checksums are in ``unproved``: there is no telling whether they are what was packed.
    """
    behind: list[int] = []
    result, unproved = check_lone(plain_blocks(file, name, behind.append), name)
    unproved += tuple(f"{name}: {counted(count, 'byte')} ignored after the compressed data" for count in behind)
    checked = {"shards": 1, "samples": result.samples, "bytes": result.bytes}
    proved = Proved.NOTHING if result.findings or unproved else Proved.ACCIDENT
    return Report("digest", checked, tuple(result.findings), unproved, proved=proved)
