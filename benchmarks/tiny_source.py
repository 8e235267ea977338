"""A zip of very many very small samples, for measuring what grows with their number alone.

Written by hand, as two million files in a folder take minutes to make and ``zipfile`` holds a gigabyte for them.
Layout: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (its end).
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Iterator

_LABELS = ("london", "newyork", "sydney", "losangeles", "chicago", "melbourne", "miami", "toronto")
_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_END = struct.Struct("<4s4H2LH")
_JPEG_COMMENT = b"\xff\xfe\0\x06"


def tiny_files(samples: int) -> Iterator[tuple[str, bytes]]:
    """Paths in InstaCities1M's layout and bytes: JPEGs of 8x8 pixels that differ in a comment, and captions."""
    sink = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 120, 40)).save(sink, "JPEG", quality=75, optimize=True)
    start, rest = sink.getvalue()[:2], sink.getvalue()[2:]
    for number in range(samples):
        slot = number * 37 % 100
        split = "train" if slot < 80 else "val" if slot < 85 else "test"
        name = f"{split}/{_LABELS[number % len(_LABELS)]}/{1_480_000_000_000_000_000 + number * 7_654_321}"
        yield f"img/{name}.jpg", start + _JPEG_COMMENT + number.to_bytes(4, "big") + rest
        yield f"captions/{name}.txt", b"sunset over the river, day %d" % number


def write_zip(path: str, samples: int) -> None:
    """Write the zip, uncompressed, with a 64-bit directory (a plain one ends at 65,535 files)."""
    directory, at, count = bytearray(), 0, 0
    with open(path, "wb", buffering=1 << 20) as file:
        for name, data in tiny_files(samples):
            raw, crc = name.encode(), zlib.crc32(data)
            file.write(_LOCAL.pack(b"PK\3\4", 20, 0, 0, 0, 0x21, crc, len(data), len(data), len(raw), 0) + raw + data)
            sizes = (crc, len(data), len(data))
            directory += _CENTRAL.pack(b"PK\1\2", 20, 20, 0, 0, 0, 0x21, *sizes, len(raw), 0, 0, 0, 0, 0, at) + raw
            at += _LOCAL.size + len(raw) + len(data)
            count += 1
        file.write(directory)
        end = at + len(directory)
        file.write(_END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), at))
        file.write(_LOCATOR64.pack(b"PK\6\7", 0, end, 1))
        file.write(_END.pack(b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))
    assert at < 1 << 32, "offsets beyond 4 GB are not written here"
