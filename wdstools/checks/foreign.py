"""Check a shard of a foreign dataset: by its digest and, if that fails, by its index, member by member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xxhash

from wdstools.checks.rebuild import first_difference
from wdstools.errors import FormatError
from wdstools.foreign.shard import index_table
from wdstools.foreign.window import StreamWindow, decompressed, raw_bytes
from wdstools.formats.digest import xxh3_128_digest
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.images.check import DEFAULT_MAX_PIXELS, DamagedImageError
from wdstools.images.whole import ImageChecker
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store


def localise_foreign(store: Store, entry: ShardEntry, table: pa.Table) -> Iterator[Finding]:
    """The members of a changed shard that have changed or, if none has, its groups. Reads the tar once for members."""
    found = False
    groups = []
    try:
        with raw_bytes(store, entry.path) as readinto:
            plain = readinto if entry.encoding == "tar" else decompressed(readinto, entry.path)
            window = StreamWindow(plain)
            for row, member in _in_order(table):
                payload, size = _digest_of(window, member["offset"], member["size"])
                if size == member["size"] and payload == member["xxh3_64"]:
                    continue
                found = True
                yield _finding(entry.path, row["key"], member, payload, size)
                if size < member["size"]:
                    return
    except FormatError as error:
        yield Finding("unreadable", entry.path, error.message, got=error.code, cause=error.code)
        return
    if not found and entry.encoding == "tar":
        for row in table.select(["key", "offset", "length", "xxh3_128"]).to_pylist():
            data = store.get(entry.path, row["offset"], row["length"]) if row["offset"] is not None else None
            if data is not None and xxh3_128_digest(data) != row["xxh3_128"]:
                message = "headers or padding of a sample have changed; its payloads are intact"
                span = (row["offset"], row["length"])
                groups.append(Finding("header", entry.path, message, row["key"], None, *span, cause="group-differs"))
    yield from groups
    if not found and not groups:
        message = "bytes outside all samples have changed; the samples are intact"
        yield Finding("trailer", entry.path, message, cause="outside-differs")


def _in_order(table: pa.Table) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Every member with its row, sorted by offset."""
    rows = table.select(["key", "members"]).to_pylist()
    return sorted(((row, member) for row in rows for member in row["members"]), key=lambda pair: pair[1]["offset"])


def _digest_of(window: StreamWindow, offset: int, size: int) -> tuple[int, int]:
    digest, left = xxhash.xxh3_64(), size
    for piece in window.pieces(offset, size):
        digest.update(piece)
        left -= len(piece)
    return digest.intdigest(), size - left


def _finding(path: str, key: str, member: dict[str, Any], payload: int, size: int) -> Finding:
    cut = size < member["size"]
    return Finding(
        "truncated" if cut else "payload",
        path,
        "the file ends inside a payload" if cut else "a payload differs from what was adopted",
        key,
        member["ext"],
        member["offset"] + (size if cut else 0),
        member["size"] - (size if cut else 0),
        f"xxh3:{member['xxh3_64']:016x}",
        None if cut else f"xxh3:{payload:016x}",
        cause="payload-cut" if cut else "payload-differs",
    )


def check_foreign_rows(store: Store, entry: ShardEntry, split: str, stored: pa.Table) -> list[Finding]:
    """Rebuild the index of a shard, and compare."""
    try:
        rebuilt, _ = index_table(store, entry, split)
    except FormatError as error:
        return [Finding("unreadable", entry.path, error.message, got=error.code, cause=error.code)]
    difference = first_difference(rebuilt, stored)
    if difference is None:
        return []
    column, key = difference
    message = f"column {column} does not match the shard"
    return [Finding("index", entry.index_path, message, key, cause="column-differs", field=column)]


def decode_foreign(store: Store, entry: ShardEntry, table: pa.Table) -> Iterator[Finding]:
    """Decode every image of a shard strictly. This also finds damage from before it was adopted."""
    checker = ImageChecker("decode", DEFAULT_MAX_PIXELS)
    with raw_bytes(store, entry.path) as readinto:
        window = StreamWindow(readinto if entry.encoding == "tar" else decompressed(readinto, entry.path))
        for row, member in _in_order(table):
            kind = TYPE_OF_EXTENSION.get(member["ext"].rpartition(".")[2].lower())
            if kind is None:
                continue
            window.keep_from = member["offset"]
            payload = bytes(window.view(member["offset"], member["size"]))
            try:
                checker.check(payload, 0, len(payload), kind)
            except DamagedImageError as error:
                detail = f"{error.code}: {error.detail}"
                span = (member["offset"], member["size"])
                yield Finding("image", entry.path, detail, row["key"], member["ext"], *span, cause=error.code)
