"""The chunks of a PNG: finds its end, and removes metadata that a decoder refuses because of its size."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

END = b"\0\0\0\0IEND\xaeB`\x82"
_SIGNATURE_BYTES = 8
#: Chunks that do not affect the stored pixels, and whose size decoders limit.
_METADATA = frozenset((b"iCCP", b"tEXt", b"zTXt", b"iTXt"))
#: Pillow's ``MAX_TEXT_CHUNK``, and less than its ``MAX_TEXT_MEMORY``.
_PILLOW_TAKES, _PILLOW_TAKES_IN_ALL = 1 << 20, 1 << 25
#: The largest profiles in use have a few megabytes; a larger one is ignored.
_MOST_PROFILE = 1 << 24


def end_of_png(data: bytes) -> int:
    """The end of the image, after its IEND chunk; 0 if it has none."""
    if data.endswith(END) and data.find(END) == len(data) - len(END):
        return len(data)
    return next((stop for kind, _, stop in _chunks(data) if kind == b"IEND"), 0)


def without_large_metadata(data: bytes) -> tuple[bytes, bytes | None]:
    """The PNG without the metadata chunks that Pillow refuses, and the profile from one of them, if any.

    The bytes are unchanged if there is no such chunk, or if one is damaged: the decoder will report that.
    """
    cuts, profile, total = [], None, 0
    for kind, start, stop in _chunks(data):
        if kind not in _METADATA:
            continue
        unpacked = _unpacked(kind, data[start + 8 : stop - 4])
        total += len(unpacked)
        if len(unpacked) <= _PILLOW_TAKES and total <= _PILLOW_TAKES_IN_ALL:
            continue
        if zlib.crc32(data[start + 4 : stop - 4]) != int.from_bytes(data[stop - 4 : stop], "big"):
            return data, None
        cuts.append((start, stop))
        total -= len(unpacked)
        if kind == b"iCCP" and len(unpacked) <= _MOST_PROFILE:
            profile = unpacked
    if not cuts:
        return data, None
    edges = [0, *(edge for cut in cuts for edge in cut), len(data)]
    return b"".join(data[edges[at] : edges[at + 1]] for at in range(0, len(edges), 2)), profile


def _unpacked(kind: bytes, body: bytes) -> bytes:
    """The content of a metadata chunk, decompressed as far as useful; empty if it cannot be decompressed."""
    if kind == b"tEXt":
        return body
    name, _, rest = body.partition(b"\0")
    if kind == b"iTXt":
        if rest[:1] != b"\1":
            return body
        rest = rest.partition(b"\0")[
            2
        ]  # the method, which is NUL; then language and translated keyword, each ended by one
        rest = b"\0" + rest.partition(b"\0")[2].partition(b"\0")[2]
    if not name or rest[:1] != b"\0":
        return b""
    try:
        return zlib.decompressobj().decompress(rest[1:], _MOST_PROFILE + 1)
    except zlib.error:
        return b""


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The kind, start and end of each complete chunk, up to the end chunk."""
    at = _SIGNATURE_BYTES
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        stop = at + 12 + length
        if stop > len(data):
            return
        yield kind, at, stop
        if kind == b"IEND":
            return
        at = stop
