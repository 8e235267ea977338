"""Check a lone shard by its own headers, from any byte stream: no manifest, no index, no seeking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import xxhash

from wdstools.errors import FormatError
from wdstools.formats.sample import split_member_name
from wdstools.formats.tar import BLOCK, RECORD, Header, header_sums, padding, parse_header, render_header, trailer_bytes
from wdstools.results import Finding

_PIECE = 1 << 20
_ZERO_BLOCK = bytes(BLOCK)
_CHKSUM = range(148, 156)
#: After this many headers that could not be mended, mending is given up for the rest of a shard: each costs
#: milliseconds.
_MAX_LOST_HEADERS = 1_000
#: Bytes that are the same in every header by wdstools.
_CONSTANT = {
    start + i: byte
    for start, text in ((257, b"ustar"), (265, b"xxh3:"), (297, b"wds1:"))
    for i, byte in enumerate(text)
}


@dataclass(slots=True)
class StreamResult:
    """What a stream contained. ``sealed`` counts members whose header and payload have their own checksums."""

    findings: list[Finding] = field(default_factory=list)
    samples: int = 0
    members: int = 0
    sealed: int = 0
    bytes: int = 0


class _Bytes:
    """Reads exact amounts from an iterable of blocks."""

    def __init__(self, blocks: Iterable[bytes | memoryview]) -> None:
        self._blocks = iter(blocks)
        self._block = b""
        self._at = 0
        self.position = 0

    def take(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer at the end."""
        parts, missing = [], size
        while missing:
            if self._at == len(self._block):
                self._block, self._at = bytes(next(self._blocks, b"")), 0
                if not self._block:
                    break
            parts.append(self._block[self._at : self._at + missing])
            self._at += len(parts[-1])
            missing -= len(parts[-1])
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.position += len(data)
        return data

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes in pieces of bounded length."""
        while size:
            piece = self.take(min(size, _PIECE))
            if not piece:
                return
            size -= len(piece)
            yield piece


#: Called with (key, extension, payload offset, payload) of each member.
MemberSink = Callable[[str, str, int, bytes], None]


def check_stream(blocks: Iterable[bytes | memoryview], path: str, on_member: MemberSink | None = None) -> StreamResult:
    """Check every header, payload, padding and the trailer of a shard; ``path`` names it in findings.

    After a header that cannot be mended, the check continues at the next intact one.
    """
    check = _StreamCheck(_Bytes(blocks), path, on_member)
    check.run()
    check.result.bytes = check.source.position
    return check.result


class _StreamCheck:
    def __init__(self, source: _Bytes, path: str, on_member: MemberSink | None) -> None:
        self.source = source
        self.path = path
        self.result = StreamResult()
        self._on_member = on_member
        self._key: str | None = None
        self._lost_from: int | None = None
        self._lost_headers = 0

    def run(self) -> None:
        while True:
            at = self.source.position
            block = self.source.take(BLOCK)
            if len(block) < BLOCK:
                self._end_early(at + len(block))
                return
            if block == _ZERO_BLOCK:
                following = self.source.take(BLOCK)
                if following == _ZERO_BLOCK or len(following) < BLOCK:
                    if self._trailer(at, len(following)):
                        return
                    continue
                self._lose(at)  # zeros in place of a header; anything may follow
                at, block = at + BLOCK, following
            header = self._header(block, at)
            if header is not None and not self._member(header, at):
                return

    def _header(self, block: bytes, at: int) -> Header | None:
        try:
            header = parse_header(block)
        except FormatError:
            header = None
        if header is not None and header.sealed is not False and (header.sealed or self._lost_from is None):
            self._found()
            if header.sealed:
                self._check_form(header, block, at)
            return header
        mended = self._mend(block)
        if mended is None:
            if header is not None and header.sealed is None and self.result.sealed == 0 and self.result.members:
                self._found()
                return header  # a tar without checksums of its own
            self._lose(at)
            return None
        self._found()
        fixed, offset = mended
        name = fixed.name.decode("utf-8", "replace")
        key, extension = split_member_name(name) or (name, None)
        self._find("header", "header-bit", "one bit of a header is wrong", (key, extension), (at + offset, 1))
        return fixed

    def _mend(self, block: bytes) -> tuple[Header, int] | None:
        if self._lost_headers == _MAX_LOST_HEADERS or not may_be_mended(block):
            return None
        mended = mend_header(block)
        self._lost_headers += mended is None
        return mended

    def _check_form(self, header: Header, block: bytes, at: int) -> None:
        """Check a header whose own digest is right: the bytes that it does not cover must be right too."""
        expected = render_header(header.name, header.size, header.payload_xxh3 or 0)
        if block != expected:
            offset = next(i for i, (a, b) in enumerate(zip(block, expected, strict=True)) if a != b)
            name = header.name.decode("utf-8", "replace")
            self._find(
                "header",
                "header-form",
                "a header is not in canonical form",
                split_member_name(name) or (name, None),
                (at + offset, 1),
            )

    def _lose(self, at: int) -> None:
        if self._lost_from is None:
            self._lost_from = at

    def _found(self) -> None:
        """There is an intact header again: report the gap before it."""
        if self._lost_from is not None:
            start, self._lost_from = self._lost_from, None
            after = f" (after sample {self._key})" if self._key else ""
            self._find(
                "header",
                "header-missing",
                f"no header where one should be{after}",
                (None, None),
                (start, self.source.position - BLOCK - start),
            )

    def _member(self, header: Header, at: int) -> bool:
        """Check one member's payload and padding; False at the end of the stream."""
        name = header.name.decode("utf-8", "replace")
        key, extension = split_member_name(name) or (name, None)
        self.result.members += 1
        self.result.sealed += header.payload_xxh3 is not None and header.sealed is True
        if key != self._key:
            self._key = key
            self.result.samples += 1
        sink = None if extension is None else self._on_member
        digest, size, kept = xxhash.xxh3_64(), 0, []
        for piece in self.source.pieces(header.size):
            digest.update(piece)
            size += len(piece)
            if sink is not None:
                kept.append(piece)
        start = at + BLOCK
        if size < header.size:
            self._find(
                "truncated",
                "payload-cut",
                "the file ends inside a payload",
                (key, extension),
                (start + size, header.size - size),
            )
            return False
        if header.payload_xxh3 is not None and digest.intdigest() != header.payload_xxh3:
            self._find(
                "payload",
                "payload-differs",
                "a payload differs from what was packed",
                (key, extension),
                (start, size),
                (f"xxh3:{header.payload_xxh3:016x}", f"xxh3:{digest.hexdigest()}"),
            )
        pad = self.source.take(padding(size))
        if len(pad) < padding(size):
            self._find(
                "truncated",
                "payload-cut",
                "the file ends inside padding",
                (key, extension),
                (start + size + len(pad), padding(size) - len(pad)),
            )
            return False
        if pad.strip(b"\0"):
            first, length = span_of_nonzero(pad)
            self._find(
                "padding", "padding-not-zero", "padding is not zero", (key, extension), (start + size + first, length)
            )
        if sink is not None:
            sink(key, extension or "", start, b"".join(kept))
        return True

    def _trailer(self, at: int, second: int) -> bool:
        """Check the end of the archive; False if more members follow."""
        expected = trailer_bytes(at)
        size = BLOCK + second
        while size < expected:
            block = self.source.take(BLOCK)
            if not block:
                break
            if block != _ZERO_BLOCK[: len(block)]:
                if self._header_again(block, at, size):
                    return False
                first, length = span_of_nonzero(block)
                self._find(
                    "trailer",
                    "archive-end-damaged",
                    "the end-of-archive blocks are not zero",
                    (None, None),
                    (at + size + first, length),
                )
            size += len(block)
        extra = sum(len(piece) for piece in self.source.pieces(1 << 62))
        self._found_end(at)
        if size < expected:
            self._find(
                "truncated",
                "archive-end-missing",
                "the end-of-archive blocks are incomplete",
                (None, None),
                (at + size, expected - size),
            )
        elif extra:
            self._find(
                "trailer", "bytes-follow", "bytes follow the end of the archive", (None, None), (at + size, extra)
            )
        return True

    def _header_again(self, block: bytes, at: int, size: int) -> bool:
        """Zeros in the middle: whether the archive continues with an intact header, whose member is then checked."""
        try:
            header = parse_header(block) if len(block) == BLOCK else None
        except FormatError:
            return False
        if header is None or not header.sealed:
            return False
        self._lose(at)
        self._found()
        self._member(header, at + size)
        return True

    def _found_end(self, at: int) -> None:
        if self._lost_from is not None:
            start, self._lost_from = self._lost_from, None
            after = f" (after sample {self._key})" if self._key else ""
            self._find(
                "header", "header-missing", f"no header where one should be{after}", (None, None), (start, at - start)
            )

    def _end_early(self, end: int) -> None:
        self._found_end(end)
        what = "the file is empty" if end == 0 else "the file ends without end-of-archive blocks"
        self._find(
            "truncated",
            "archive-end-missing",
            what,
            (None, None),
            (end, None),
            (f"a multiple of {RECORD} bytes", f"{end} bytes"),
        )

    def _find(
        self,
        kind: str,
        cause: str,
        message: str,
        sample: tuple[str | None, str | None],
        span: tuple[int, int | None],
        digests: tuple[str, str] | None = None,
    ) -> None:
        """Note a finding: ``sample`` is key and member, ``span`` start and length, ``digests`` expected and got."""
        expected, got = digests or (None, None)
        self.result.findings.append(Finding(kind, self.path, message, *sample, *span, expected, got, cause=cause))


def span_of_nonzero(data: bytes) -> tuple[int, int]:
    """Start and length of the part of ``data`` that is not zero."""
    start = len(data) - len(data.lstrip(b"\0"))
    return start, len(data.rstrip(b"\0")) - start


def may_be_mended(block: bytes) -> bool:
    """Whether a block can be a header by wdstools with one wrong bit; most blocks of a payload cannot."""
    return len(_wrong_constants(block)) <= 1


def _wrong_constants(block: bytes) -> list[int]:
    return [at for at, byte in _CONSTANT.items() if block[at] != byte]


def mend_header(block: bytes) -> tuple[Header, int] | None:
    """Undo one flipped bit of a canonical header; returns the header and the byte at fault.

    The header's own digest decides: of all single flips, only the right one makes it agree (except for a chance of
    4096 in 2**64).
    """
    work = bytearray(block)
    for at, bit in _suspects(block):
        work[at] ^= 1 << bit
        try:
            header = parse_header(bytes(work))
        except FormatError:
            header = None
        if header is not None and header.sealed and _is_canonical(header, work):
            return header, at
        work[at] ^= 1 << bit
    return None


def _suspects(block: bytes) -> Iterator[tuple[int, int]]:
    """The bits that may be the wrong one: those of the header sum, and those whose flip makes the sum right."""
    wrong = _wrong_constants(block)
    yield from ((at, bit) for at in _CHKSUM for bit in range(8) if not wrong)
    try:
        stored, computed = header_sums(block)
    except FormatError:
        return
    missing = stored - computed
    if abs(missing) in (1, 2, 4, 8, 16, 32, 64, 128):
        bit = abs(missing).bit_length() - 1
        for at in wrong or range(BLOCK):
            if at not in _CHKSUM and (block[at] >> bit & 1) == (missing < 0):
                yield at, bit


def _is_canonical(header: Header, block: bytearray) -> bool:
    return render_header(header.name, header.size, header.payload_xxh3 or 0) == block
