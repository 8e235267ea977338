"""Indexes of tars in the formats of consumers: NVIDIA DALI's ``.idx``, Megatron Energon's ``.nv-meta``, webshart's JSON."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError
from wdstools.formats.arrow import list_lengths, one_chunk, to_list, to_numpy

if TYPE_CHECKING:
    import pyarrow as pa

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import Manifest, ShardEntry

#: DALI takes the paths of its indexes as an argument, so they are where no other reader looks.
DALI_FOLDER = ".wdstools/dali"
#: So does webshart.
WEBSHART_FOLDER = ".wdstools/webshart"
ENERGON_DATABASE = ".nv-meta/index.sqlite"
_ENERGON_VERSION = "7.4.1"
_CAPTIONS = ("txt", "caption", "text")


def dali_path(entry: ShardEntry) -> str:
    """The path of DALI's index of a shard."""
    return entry.index_path.replace(".wdstools/index", DALI_FOLDER).removesuffix(".parquet") + ".idx"


def energon_path(entry: ShardEntry) -> str:
    """The path of Energon's offsets of a shard."""
    return f"{entry.path}.idx"


def webshart_path(path: str) -> str:
    """The path of webshart's index of a shard: it takes a folder of them as an argument."""
    return f"{WEBSHART_FOLDER}/{path.removesuffix('.tar')}.json"


def webshart_index(table: pa.Table, entry: ShardEntry, image: str) -> bytes:
    """JSON with the places of payloads: each sample's image with its size and caption, and its json, which webshart pairs.

    Without images every member is a separate file, as webshart sees it.
    """
    if entry.encoding != "tar":
        raise UsageError("webshart needs plain shards", code="not-contiguous", where=entry.path)
    files: dict[str, dict[str, Any]] = {}
    for row in table.select(["key", "members", "width", "height", "caption"]).to_pylist():
        places = {m["ext"]: {"offset": m["offset"], "length": m["size"]} for m in row["members"]}
        first: dict[str, Any] | None = places.get(image)
        if first is None:
            files |= {f"{row['key']}.{extension}": place for extension, place in places.items()}
            continue
        if row["width"] and row["height"]:
            first |= {name: row[name] for name in ("width", "height")}
            first["aspect"] = round(row["width"] / row["height"], 6)
        if row["caption"]:
            first["captions"] = row["caption"]
        files[f"{row['key']}.{image}"] = first
        if "json" in places:
            files[f"{row['key']}.json"] = places["json"]
    document = {"filesize": entry.bytes, "hash": entry.sha256, "path": entry.path.rpartition("/")[2], "files": files}
    return (json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def dali_index(table: pa.Table) -> bytes:
    """``wds2idx`` v1.2: one line per sample, with ``ext offset size name`` for each member; offsets are those of payloads."""
    lines = [f"v1.2 {table.num_rows}"]
    lines += [
        " ".join(f"{m['ext']} {m['offset']} {m['size']} {row['key']}.{m['ext']}" for m in row["members"])
        for row in table.select(["key", "members"]).to_pylist()
    ]
    return ("\n".join(lines) + "\n").encode()


def energon_offsets(table: pa.Table, entry: ShardEntry) -> bytes:
    """``SHARD.tar.idx``: the offset of each sample's first header, and the end of the last sample; u64, little-endian."""
    offset, length = _groups(table, entry)
    return np.append(offset, offset[-1] + length[-1] if len(offset) else 0).astype("<u8").tobytes()


def _groups(table: pa.Table, entry: ShardEntry) -> tuple[Any, Any]:
    if entry.encoding != "tar" or table.column("offset").null_count:
        raise UsageError(
            "energon needs plain shards in which the members of each sample are adjacent",
            code="not-contiguous",
            where=entry.path,
            hint="wdstools pack SHARDS DEST    makes such shards, without re-encoding",
        )
    return to_numpy(table.column("offset")), to_numpy(table.column("length"))


def energon_files(manifest: Manifest) -> dict[str, bytes]:
    """``.nv-meta``: counts, splits, and how the members become a captioning sample."""
    counts = {entry.path: entry.samples for _, entry in manifest.shards}
    caption = next((name for name in _CAPTIONS if name in manifest.members), None)
    fields = {"image": manifest.image_extension, "caption": caption} if manifest.image_extension and caption else {}
    kind = "CaptioningWebdataset" if fields else "CrudeWebdataset"
    lines = ["__module__: megatron.energon", f"__class__: {kind}"]
    lines += ["field_map:", *(f"  {name}: {json.dumps(member)}" for name, member in fields.items())] if fields else []
    splits = ["split_parts:"]
    for split, entries in manifest.splits.items():
        splits += [f"  {json.dumps(split)}:", *(f"  - {json.dumps(entry.path)}" for entry in entries)]
    return {
        ".nv-meta/.info.json": json.dumps({"energon_version": _ENERGON_VERSION, "shard_counts": counts}).encode()
        + b"\n",
        ".nv-meta/split.yaml": ("\n".join([*splits, "exclude: []"]) + "\n").encode(),
        ".nv-meta/dataset.yaml": ("\n".join(lines) + "\n").encode(),
        # energon compares it with its caches: the same data must have the same uuid
        ".nv-meta/index.uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, manifest.root)).encode(),
    }


def energon_database(dataset: Dataset) -> bytes:
    """``index.sqlite``: samples and their parts, with energon's tables and indexes."""
    import sqlite3

    database = sqlite3.connect(":memory:")
    try:
        database.executescript(_TABLES)
        for number, (_, entry) in enumerate(dataset.manifest.shards):
            table = dataset.index(entry)
            offset, length = _groups(table, entry)
            rows = np.arange(table.num_rows).tolist()
            keys = to_list(table.column("key"))
            samples = (
                (number, key, row, at, size)
                for key, row, at, size in zip(keys, rows, offset.tolist(), length.tolist(), strict=True)
            )
            try:
                database.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", samples)
            except sqlite3.IntegrityError:
                raise UsageError(
                    "energon needs keys without duplicates", code="key-duplicate", where=entry.path
                ) from None
            members = one_chunk(table.column("members"))
            values = members.flatten()
            columns = (
                np.repeat(rows, list_lengths(members)).tolist(), to_list(values.field("ext")),
                to_numpy(values.field("offset")).tolist(), to_numpy(values.field("size")).tolist(),
            )  # fmt: skip
            parts = ((number, *part) for part in zip(*columns, strict=True))
            database.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", parts)
        database.executescript(_INDEXES)
        database.commit()
        return database.serialize()
    finally:
        database.close()


# The tables that energon 7.4 creates and queries: their names and columns are its interface.
_TABLES = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE, sample_index INTEGER NOT NULL,
  byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT,
  content_byte_offset INTEGER, content_byte_size INTEGER);
"""
_INDEXES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full
  ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset, content_byte_size);
"""


@dataclass(frozen=True, slots=True)
class OffsetsTask:
    """A shard for which a reader needs a file of offsets."""

    dataset: Dataset
    entry: ShardEntry
    consumer: str


def offsets_file(task: OffsetsTask, tick: Tick) -> tuple[str, bytes]:
    """The file's path and content, made from the shard's index."""
    del tick
    table = task.dataset.index(task.entry)
    if task.consumer == "dali":
        return dali_path(task.entry), dali_index(table)
    if task.consumer == "webshart":
        image = task.dataset.manifest.image_extension
        return webshart_path(task.entry.path), webshart_index(table, task.entry, image)
    return energon_path(task.entry), energon_offsets(table, task.entry)
