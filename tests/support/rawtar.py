"""Tar headers written field by field, so that every field can be wrong and the header sum still right."""

from __future__ import annotations

import struct

BLOCK = 512
END = bytes(2 * BLOCK)


def octal(value: int, width: int = 12) -> bytes:
    """A numeric field."""
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int = 12) -> bytes:
    """GNU's binary form of a numeric field, negative numbers too."""
    raw = value.to_bytes(width, "big", signed=True)
    return bytes((raw[0] | 0x80,)) + raw[1:]


def header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    link: bytes = b"",
    *,
    mode: int = 0o644,
    prefix: bytes = b"",
    uname: bytes = b"",
    gname: bytes = b"",
) -> bytes:
    """One header whose sum is right whatever the fields say."""
    field = octal(size) if isinstance(size, int) else size
    block = struct.pack(
        "100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12s",
        name, octal(mode, 8), octal(0, 8), octal(0, 8), field, octal(0), b" " * 8, kind, link, b"ustar\x0000",
        uname, gname, octal(0, 8), octal(0, 8), prefix, b"",
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(name: bytes, payload: bytes, kind: bytes = b"0", size: int | bytes | None = None) -> bytes:
    """A header, its payload and padding."""
    return header(name, len(payload) if size is None else size, kind) + payload + bytes(-len(payload) % BLOCK)


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    """A pax extension record for the next member."""
    body = b""
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest)
        while length != len(str(length)) + len(rest):
            length = len(str(length)) + len(rest)
        body += str(length).encode() + rest
    return member(b"pax", body, kind)


def long_name(name: bytes) -> bytes:
    """A GNU long-name record for the next member."""
    return member(b"././@LongLink", name + b"\0", b"L")
