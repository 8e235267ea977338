"""The tar layer of a shard: ustar headers that carry the checksums of their own member.

Laws (each is a property test):

- ``parse_header(render_header(name, size, xxh3))`` returns exactly those three.
- A shard with these headers has the same bytes that Python's ``tarfile`` writes in ``USTAR_FORMAT`` for the same fields,
  including the padding at the end.

Layout: POSIX.1-1988 ustar, 512-byte blocks; see FORMAT.md, "Shard".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from zlib import adler32

from wdstools.errors import FormatError
from wdstools.formats.digest import xxh3_64_intdigest

BLOCK = 512
#: A shard's size is a multiple of this: tar's default blocking of 20 blocks.
RECORD = 10_240
#: The longest member name in bytes: the ustar name field, with no prefix and no extension record.
NAME_BYTES = 100
#: The largest size that eleven octal digits can hold.
MAX_MEMBER_BYTES = 8**11 - 1

SIZE_AT = 124
CHKSUM_AT = 148
TYPE_AT = 156
MAGIC_AT = 257
UNAME_AT = 265
GNAME_AT = 297
GNAME_END = 329
PAYLOAD_MARK = b"xxh3:"
HEADER_MARK = b"wds1:"

_OCTAL_RE = re.compile(rb"\0?[ ]*([0-7]*)(?:[\0 ]|\Z)")
_ZEROS = [bytes(n) for n in range(NAME_BYTES + 1)]
_MODE_IDS = b"0000444\0" + b"0000000\0" * 2
_MTIME_CHKSUM_TYPE_LINK_MAGIC = b"\0" + b"00000000000\0" + b" " * 8 + b"0" + bytes(100) + b"ustar\x0000"
_UNAME_PAD_GNAME_REST = bytes(11) + b" " * 32 + bytes(BLOCK - GNAME_END)
_GNAME_PAD_REST = bytes(11) + bytes(BLOCK - GNAME_END)
#: What the 32 spaces in the draft's ``gname`` add to its byte sum.
_BLANK_GNAME_SUM = 32 * 0x20


@dataclass(frozen=True, slots=True)
class Header:
    """One parsed header.

    ``payload_xxh3`` is the XXH3-64 that the header gives for the payload, or None if wdstools did not write the tar.
    ``sealed`` says whether the header's own digest is right; None if it has none.
    """

    name: bytes
    size: int
    typeflag: bytes
    payload_xxh3: int | None
    sealed: bool | None


def render_header(name: bytes, size: int, payload_xxh3: int) -> bytes:
    """The 512 header bytes of a member; ``payload_xxh3`` is the XXH3-64 of its payload.

    ``uname`` holds the payload's digest, ``gname`` the digest of this header with ``chksum`` and ``gname`` as
    spaces. So name and size are protected too, which the ustar sum, blind to order, does not do.
    """
    size_field = b"%011o" % size
    uname = b"xxh3:%016x" % payload_xxh3
    draft = b"".join(
        (
            name,
            _ZEROS[NAME_BYTES - len(name)],
            _MODE_IDS,
            size_field,
            _MTIME_CHKSUM_TYPE_LINK_MAGIC,
            uname,
            _UNAME_PAD_GNAME_REST,
        )
    )
    gname = b"wds1:%016x" % xxh3_64_intdigest(draft)
    # The low half of Adler-32 from 0 is the byte sum modulo 65,521: exact here, since these ASCII headers sum to
    # less than 30,000, and twenty times faster than sum().
    chksum = b"%06o\0 " % ((adler32(draft, 0) & 0xFFFF) - _BLANK_GNAME_SUM + (adler32(gname, 0) & 0xFFFF))
    return b"".join((draft[:CHKSUM_AT], chksum, draft[TYPE_AT:GNAME_AT], gname, _GNAME_PAD_REST))


def parse_header(block: bytes) -> Header:
    """Read one 512-byte header of any ustar-like tar.

    Raises FormatError (``tar-header``) if the magic, the sum or the size field is not that of a tar header.
    """
    canonical = _parse_canonical(block)
    if canonical is not None:
        return canonical
    if len(block) != BLOCK:
        raise FormatError("a tar header is 512 bytes", code="tar-header", got=f"{len(block)} bytes")
    if block[MAGIC_AT : MAGIC_AT + 5] != b"ustar":
        raise FormatError("no ustar magic", code="tar-header", expected="ustar", got=repr(block[MAGIC_AT:UNAME_AT]))
    stored, computed = header_sums(block)
    if stored != computed and stored != computed - _sign_surplus(block):
        raise FormatError("wrong header sum", code="tar-header", expected=f"{computed:06o}", got=f"{stored:06o}")
    uname, gname = _text(block[UNAME_AT:GNAME_AT]), _text(block[GNAME_AT:GNAME_END])
    payload = _mark(uname, PAYLOAD_MARK)
    seal = _mark(gname, HEADER_MARK)
    sealed = None
    if seal is not None:
        blanked = b"".join((block[:CHKSUM_AT], b" " * 8, block[TYPE_AT:GNAME_AT], b" " * 32, block[GNAME_END:]))
        # the fields that the seal does not cover must be exactly as ``render_header`` writes them
        fields = (b"%06o\0 " % computed, gname.ljust(GNAME_END - GNAME_AT, b"\0"))
        written = block[CHKSUM_AT:TYPE_AT], block[GNAME_AT:GNAME_END]
        sealed = xxh3_64_intdigest(blanked) == seal and written == fields
    name = _text(block[:NAME_BYTES])
    prefix = _text(block[345:500])
    if prefix and block[MAGIC_AT : MAGIC_AT + 8] == b"ustar\x0000":
        name = prefix + b"/" + name
    return Header(name, _size(block), block[TYPE_AT : TYPE_AT + 1], payload, sealed)


def header_sums(block: bytes) -> tuple[int, int]:
    """The sum in a header's ``chksum`` field, and the sum of its bytes; raises FormatError if the field is not octal."""
    return _octal(block[CHKSUM_AT:TYPE_AT]), sum(block) - sum(block[CHKSUM_AT:TYPE_AT]) + 8 * 0x20


def _sign_surplus(block: bytes) -> int:
    """By how much the sum of unsigned bytes exceeds that of signed ones, which old Sun tars have."""
    return 256 * sum(byte > 127 for at, byte in enumerate(block) if not CHKSUM_AT <= at < TYPE_AT)


def _parse_canonical(block: bytes) -> Header | None:
    """The header if these are exactly the bytes that ``render_header`` writes: the common case, five times faster."""
    digits, payload_digits = block[SIZE_AT : SIZE_AT + 11], block[UNAME_AT + 5 : UNAME_AT + 21]
    if not digits.isdigit() or not payload_digits.isalnum():  # int() would take signs and underscores
        return None
    try:
        name, size, payload = block[:NAME_BYTES].rstrip(b"\0"), int(digits, 8), int(payload_digits, 16)
    except ValueError:
        return None
    if b"\0" in name or render_header(name, size, payload) != block:
        return None
    return Header(name, size, b"0", payload, sealed=True)


def padding(size: int) -> int:
    """How many zero bytes follow a payload of ``size`` bytes."""
    return -size % BLOCK


def span(size: int) -> int:
    """The bytes that a member of ``size`` payload bytes takes in the tar: header, payload, padding."""
    return BLOCK + size + padding(size)


def trailer_bytes(position: int) -> int:
    """The number of zero bytes after members that end at ``position``: two blocks, then up to a multiple of RECORD."""
    return 2 * BLOCK + -(position + 2 * BLOCK) % RECORD


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _mark(field: bytes, mark: bytes) -> int | None:
    digits = field[len(mark) :]
    if not field.startswith(mark) or len(digits) != 16 or digits.strip(b"0123456789abcdef"):
        return None
    return int(digits, 16)


def _octal(field: bytes) -> int:
    """A number as GNU tar reads it: perhaps a NUL, then spaces, then digits up to a NUL, a space or the end."""
    match = _OCTAL_RE.match(field)
    if match is None:
        raise FormatError("a numeric header field is not octal", code="tar-header", got=repr(field))
    return int(match[1] or b"0", 8)


def _size(block: bytes) -> int:
    field = block[SIZE_AT : SIZE_AT + 12]
    if field[0] == 0x80:  # GNU base-256, for sizes of 8 GiB and more
        return int.from_bytes(field[1:], "big")
    if field[0] == 0xFF:
        raise FormatError("a member has a negative size", code="tar-header", got=repr(field))
    return _octal(field)
