"""What is fuzzed: parsers of bytes that strangers make, what must hold of their answers, and where mutation starts."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.city_pairs import tiny_jpeg
from tests.support.pictures import encoded
from tests.support.valid_files import a_gnu_tar, a_manifest, a_pax_tar, a_shard, an_index
from wdstools.checks.rebuild import rebuild_index
from wdstools.checks.stream import check_stream
from wdstools.errors import WdsError
from wdstools.formats.index import check_bounds, read_index, rows_digest
from wdstools.formats.manifest import dumps, loads
from wdstools.formats.sums import parse_sums, render_sums
from wdstools.images.check import DamagedImageError
from wdstools.images.whole import ImageChecker
from wdstools.sources.tarscan import scan_tar

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK = 512


@dataclass(frozen=True)
class Target:
    """``check`` raises on a bug and only then; ``repair`` gives mutated bytes back the sums that let them pass further."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    repair: Callable[[bytes], bytes] | None = None


def check_tar(data: bytes) -> None:
    """A shard from a stream: it is counted to its last byte, findings lie in it, cut or not in pieces."""
    result = check_stream([data], "x.tar")
    assert result.bytes == len(data)
    assert all(f.start is None or 0 <= f.start <= len(data) for f in result.findings)
    in_pieces = check_stream([data[at : at + 700] for at in range(0, len(data), 700)], "x.tar")
    assert in_pieces == result
    with contextlib.suppress(WdsError):
        rebuild_index([data], path="x.tar", split="train", labels=("a", "b"), authenticated=False)


@functools.cache
def _place() -> str:
    return os.path.join(
        tempfile.mkdtemp(prefix="wdstools-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None), "x"
    )


def check_foreign_tar(data: bytes) -> None:
    """Any tar as a source: members lie in the file."""
    with open(_place(), "wb") as file:
        file.write(data)
    with contextlib.suppress(WdsError):
        for member in scan_tar(_place()):
            assert 0 <= member.offset <= member.offset + member.size <= len(data)


def check_index(data: bytes) -> None:
    """An index: a table, or refused; what passes the bounds lies in the shard."""
    with contextlib.suppress(WdsError):
        table = read_index(data)
        rows_digest(table)
        check_bounds(table, 2, 10_240, where="x")
        for group in table.select(["offset", "length"]).to_pylist():
            assert 0 <= group["offset"] < group["offset"] + group["length"] <= 10_240


def check_manifest(data: bytes) -> None:
    """A manifest: exactly its canonical bytes, or refused."""
    with contextlib.suppress(WdsError):
        assert dumps(loads(data)) == data


def check_image(data: bytes) -> None:
    """An image: whole, or named as damaged; what is checked whole is no larger than allowed."""
    for level in ("header", "decode"):
        with contextlib.suppress(DamagedImageError):
            info = ImageChecker(level, max_pixels=1 << 18).check(data, 0, len(data), "jpg")
            assert 0 < info.width * info.height <= 1 << 18


def check_sums(data: bytes) -> None:
    """A checksum list: lines with a name and digits, or refused."""
    with contextlib.suppress(WdsError):
        assert all(line.path and line.digest for line in parse_sums(data))


def summed(data: bytes) -> bytes:
    """Blocks that say ``ustar`` get the header sum of their bytes, so that mutated headers are read at all."""
    out = bytearray(data)
    for at in range(0, len(out) - BLOCK + 1, BLOCK):
        if out[at + 257 : at + 262] == b"ustar":
            out[at + 148 : at + 156] = b" " * 8
            out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + BLOCK])
    return bytes(out)


def _jpegs() -> list[bytes]:
    small = (16, 16)
    kinds = [encoded("JPEG", size=small, progressive=True), encoded("JPEG", size=small, restart_marker_blocks=1)]
    return [tiny_jpeg(1), encoded("JPEG", "CMYK", small), encoded("JPEG", "L", small), *kinds]


TARGETS = {
    "tar": Target(check_tar, lambda: [a_shard(), a_pax_tar()], summed),
    "foreign-tar": Target(check_foreign_tar, lambda: [a_shard(), a_pax_tar(), a_gnu_tar()], summed),
    "index": Target(check_index, lambda: [an_index()]),
    "manifest": Target(check_manifest, lambda: [a_manifest()]),
    "jpeg": Target(check_image, _jpegs),
    "sums": Target(check_sums, lambda: [render_sums({"a/b": "0" * 64, "c": "f" * 64}), b"SHA256 (a) = " + b"0" * 64]),
}
