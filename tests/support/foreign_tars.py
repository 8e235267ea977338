"""Small tars of the kinds that other programs write, with the same names and payloads in each."""

from __future__ import annotations

import gzip
import io
import tarfile
from typing import TYPE_CHECKING

import zstandard

from tests.support.city_pairs import tiny_jpeg

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Members = list[tuple[str, bytes]]


def pairs(first: int, count: int) -> Members:
    """Samples of an image and a caption."""
    return [
        member
        for number in range(first, first + count)
        for member in ((f"{number:06d}.jpg", tiny_jpeg(number)), (f"{number:06d}.txt", b"caption %d" % number))
    ]


def tar_bytes(members: Iterable[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT, **fields: float) -> bytes:
    """A tar as Python's ``tarfile`` writes it; a fractional ``mtime`` makes pax records."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for name, payload in members:
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(payload))
    return sink.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def compressed(data: bytes, encoding: str) -> bytes:
    """A tar as ``.tar.gz`` or ``.tar.zst``."""
    return gzip.compress(data, mtime=0) if encoding == "tar.gz" else zstandard.compress(data)
