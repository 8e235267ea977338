"""Check a lone tar, from any stream: by its own checksums if wdstools wrote it, otherwise only that it is complete.

Other tars carry no checksums, so nobody can tell whether their payloads have changed. Damage is only reported where it
shows: no header where one should be, or an end inside a member. How many zeros end such a tar is up to its writer.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from wdstools.checks.stream import StreamResult, check_stream, may_be_mended
from wdstools.foreign.rows import key_end
from wdstools.foreign.window import StreamWindow
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.formats.tar import BLOCK
from wdstools.formats.tarextension import SPARSE
from wdstools.formats.tarhop import HopNotes, hop, is_file, is_header
from wdstools.results import Finding
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: How many names are shown.
_NAMED = 5


def check_lone(blocks: Iterable[bytes | memoryview], name: str) -> tuple[StreamResult, tuple[str, ...]]:
    """What a stream holds, the damage in it, and in words what cannot be proved."""
    stream = iter(blocks)
    head = b""
    while len(head) < SNIFF_BYTES and (block := next(stream, None)) is not None:
        head += bytes(block)
    first = head[:BLOCK]
    whole = chain((head,), stream)
    if is_header(first) and not may_be_mended(first):
        return _check_foreign(whole, name)
    sniffed = what_is(head[:SNIFF_BYTES])
    if sniffed is not None and sniffed.code != "tar" and not is_header(first):
        hint = f": {sniffed.hint}" if sniffed.hint else ""
        finding = Finding(
            "unreadable", name, f"this is {sniffed}, not a tar{hint}", cause="not-a-tar", got=sniffed.code
        )
        return StreamResult([finding], bytes=len(head) + sum(map(len, stream))), ()
    result = check_stream(whole, name)
    if not result.members and result.bytes >= BLOCK and all(f.cause == "archive-end-missing" for f in result.findings):
        return StreamResult(bytes=result.bytes), (f"{name}: an empty tar, which does not show what was in it",)
    loose = result.members - result.sealed
    told = loose and not result.findings
    return result, (f"{name}: {loose} of {result.members} members have no checksum",) if told else ()


def _check_foreign(blocks: Iterable[bytes | memoryview], name: str) -> tuple[StreamResult, tuple[str, ...]]:
    """Check a tar that wdstools did not write."""
    window, notes, result = StreamWindow(_Reading(blocks)), HopNotes(), StreamResult()
    last: bytes | None = None
    sparse: list[str] = []
    for entry in hop(window.read_on, notes):
        _, kind, start, offset, size, _ = entry
        if size != sum(map(len, window.pieces(offset, size))):
            notes.end, notes.end_at = "cut", start
            break
        result.members += 1
        name_of = entry[0]
        if is_file(entry) and (end := key_end(name_of)) >= 0:
            result.samples += name_of[:end] != last
            last = name_of[:end]
        if kind == SPARSE:
            sparse.append(name_of.decode("utf-8", "replace"))
    result.bytes = window.finish()
    result.findings += _damage(notes, name, result.bytes)
    unproved = [f"{name}: {result.members} of {result.members} members have no checksum"]
    if sparse:
        unproved.append(
            f"{name}: sparse members, which readers misread: {', '.join(sparse[:_NAMED])}"
            + (f" and {len(sparse) - _NAMED:,} more" if len(sparse) > _NAMED else "")
        )
    if notes.end == "missing":
        unproved.append(f"{name}: it has no end-of-archive blocks, so missing members would not show")
    if notes.resumed:
        unproved.append(
            f"{name}: members follow the end of an archive (byte {notes.resumed_at}): most readers stop there"
        )
    if notes.trailing:
        unproved.append(f"{name}: {counted(notes.trailing, 'byte')} after the end of the archive that are not a tar")
    return result, tuple(unproved)


def _damage(notes: HopNotes, name: str, size: int) -> Iterator[Finding]:
    if notes.end == "damaged":
        message = f"no header where one should be ({notes.why})"
        yield Finding("header", name, message, start=notes.end_at, cause="header-missing")
    elif notes.end == "cut":
        message = "the file ends inside a member"
        yield Finding("truncated", name, message, start=notes.end_at, length=size - notes.end_at, cause="payload-cut")


class _Reading:
    """Blocks of any size as a function that fills a buffer."""

    def __init__(self, blocks: Iterable[bytes | memoryview]) -> None:
        self._blocks = iter(blocks)
        self._left = memoryview(b"")

    def __call__(self, view: memoryview) -> int:
        """Fill a buffer from its start; returns 0 at the end."""
        while not self._left:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._left = memoryview(block)
        count = min(len(self._left), len(view))
        view[:count], self._left = self._left[:count], self._left[count:]
        return count
