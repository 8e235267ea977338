"""A small valid file of each kind that a parser reads, from which mutation starts."""

from __future__ import annotations

import functools
import io
import tarfile
import zipfile
from typing import Any

import xxhash

from tests.support.city_pairs import tiny_jpeg
from wdstools.formats.index import build_index, write_index
from wdstools.formats.manifest import Manifest, ShardEntry, dumps, shard_path
from wdstools.formats.tar import render_header, trailer_bytes


def a_shard() -> bytes:
    """A canonical shard of two samples, all checksums right."""
    parts = b""
    for name, payload in (
        (b"a.jpg", tiny_jpeg(1)),
        (b"a.txt", b"x"),
        (b"a.cls", b"3"),
        (b"b.jpg", tiny_jpeg(2)),
        (b"b.txt", b""),
    ):
        parts += render_header(name, len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
        parts += bytes(-len(payload) % 512)
    return parts + bytes(trailer_bytes(len(parts)))


def a_pax_tar() -> bytes:
    """A tar with pax records."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("é" * 80 + ".jpg", "x.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return sink.getvalue()


def a_gnu_tar() -> bytes:
    """A tar with a GNU long name."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("n" * 300)
        archive.addfile(info)
    return sink.getvalue()


def a_zip(*, zip64: bool = False) -> bytes:
    """A zip of two deflated members."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/1.jpg", "é.txt"):
            with archive.open(name, "w", force_zip64=zip64) as member:
                member.write(b"hello" * 9)
        archive.comment = b"a comment"
    return sink.getvalue()


def a_manifest() -> bytes:
    """A manifest of one shard, with unknown fields."""
    entry = ShardEntry(shard_path("train", 0), 10_240, 3, "a" * 64, "b" * 32, "c" * 8, "d" * 16, "e" * 64)
    return dumps(
        Manifest("näme", 1, ("x", "y"), ("jpg", "txt"), 0, {"train": (entry,)}, extra={"more": [1, {"a": None}]})
    )


@functools.cache
def an_index() -> bytes:
    """An index of two rows."""
    columns: dict[str, Any] = {
        "split": ["train"] * 2, "key": ["a", "b"], "label": [None] * 2, "cls": [None] * 2, "offset": [0, 1024], "length": [1024] * 2,
        "xxh3_128": [b"x" * 16] * 2, "width": [3] * 2, "height": [4] * 2, "format": ["jpg"] * 2, "caption": ["c", ""],
        "source": [None] * 2, "sha256": [None] * 2,
    }  # fmt: skip
    members: dict[str, Any] = {
        "ext": ["jpg"] * 2,
        "offset": [512, 1536],
        "size": [9] * 2,
        "xxh3_64": [1, 2],
        "count": [1, 1],
    }
    return write_index(build_index(columns, members))
