"""The test vectors of format version 1: those committed here, and those that FORMAT.md quotes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
import xxhash

from tests.support.index_rows import table_of
from wdstools.formats.digest import ShardDigester
from wdstools.formats.index import rows_digest, values_digest
from wdstools.formats.manifest import loads
from wdstools.formats.sample import make_key, order_hash, shard_of, split_hash
from wdstools.formats.tar import parse_header, render_header, trailer_bytes

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "v1/vectors.json").read_text(encoding="utf-8"))
VALUES = json.loads((HERE / "v2/vectors.json").read_text(encoding="utf-8"))["values"]
FORMAT = (HERE.parents[1] / "FORMAT.md").read_text(encoding="utf-8")
HELLO = (b"london/1413.txt", b"hello")
_UNSET: dict[str, Any] = dict.fromkeys(("label", "cls", "width", "height", "format", "caption", "source"))


@pytest.mark.parametrize("vector", VECTORS["keys"], ids=lambda vector: vector["key"][:30])
def test_keys_and_their_hashes_are_what_they_were(vector: dict[str, Any]) -> None:
    key = make_key(vector["label"], vector["id"].encode())
    assert key.decode() == vector["key"]
    for seed, order in vector["order"].items():
        assert f"{order_hash(key, int(seed)):016x}" == order
    assert f"{split_hash(key, 0):016x}" == vector["split"]
    for shards, number in vector["shard_of"].items():
        assert shard_of(order_hash(key, 0), int(shards)) == number


@pytest.mark.parametrize("vector", VECTORS["headers"], ids=lambda vector: vector["name"][-20:])
def test_headers_are_what_they_were(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    name, digest = vector["name"].encode(), xxhash.xxh3_64_intdigest(payload)
    block = render_header(name, len(payload), digest)
    assert hashlib.sha256(block).hexdigest() == vector["sha256"]
    assert (block[124:136].hex(), block[148:156].hex()) == (vector["size"], vector["chksum"])
    assert block[265:297].rstrip(b"\0").decode() == vector["uname"]
    assert block[297:329].rstrip(b"\0").decode() == vector["gname"]
    assert parse_header(block).sealed is True


@pytest.mark.parametrize("vector", VECTORS["rows"], ids=lambda vector: vector["digest"][:8])
def test_rows_digests_are_what_they_were(vector: dict[str, Any]) -> None:
    rows = []
    for row in vector["rows"]:
        digests = {name: row[name] and bytes.fromhex(row[name]) for name in ("xxh3_128", "sha256")}
        rows.append({**_UNSET, "split": "train", **row, **digests})
    assert rows_digest(table_of(rows)) == vector["digest"]


@pytest.mark.parametrize("vector", VALUES, ids=lambda vector: vector["digest"][:8])
def test_values_digests_are_what_they_were(vector: dict[str, Any]) -> None:
    rest: dict[str, Any] = {**dict.fromkeys(("offset", "length", "xxh3_128", "sha256", "source")), "members": []}
    rows = [{**rest, "key": str(number), "split": "train", **row} for number, row in enumerate(vector["rows"])]
    assert values_digest(table_of(rows)) == vector["digest"]


def test_the_format_document_quotes_vectors_of_values() -> None:
    quoted = set(re.findall(r"`([0-9a-f]{64})`", FORMAT.split("## 7.")[1]))
    assert len(quoted & {vector["digest"] for vector in VALUES}) >= 3


def test_the_example_in_the_format_document_holds_to_the_last_digest() -> None:
    name, payload = HELLO
    block = render_header(name, len(payload), xxhash.xxh3_64_intdigest(payload))
    group = block + payload.ljust(512, b"\0")
    shard = group + bytes(trailer_bytes(len(group)))
    (manifest,) = re.findall(r"^```\n(\{.*?\}\n)```$", FORMAT, re.DOTALL | re.MULTILINE)
    parsed = loads(manifest.encode())
    ((_, entry),) = parsed.shards
    digester = ShardDigester()
    digester.update(shard)
    digests = digester.digests()
    for field in ("bytes", "sha256", "xxh3_128", "crc32c", "crc64nvme"):
        assert getattr(entry, field) == getattr(digests, field), field
    row = {"key": "london/1413", "offset": 0, "length": len(group), "xxh3_128": xxhash.xxh3_128_digest(group)}
    member = {"ext": "txt", "offset": 512, "size": len(payload), "xxh3_64": xxhash.xxh3_64_intdigest(payload)}
    table = table_of([{**_UNSET, **row, "split": "train", "sha256": None, "members": [member]}])
    assert entry.rows == rows_digest(table)
    quoted = set(re.findall(r"`([^`\n]+)`", FORMAT.split("## 7.")[1]))
    assert parsed.root in quoted
    assert hashlib.sha256(block).hexdigest() in quoted
    assert xxhash.xxh3_128_hexdigest(group) in quoted
    fields = {block[265:297].rstrip(b"\0"), block[297:329].rstrip(b"\0"), block[148:154]}
    assert {field.decode() for field in fields} <= quoted


def test_the_table_of_keys_in_the_format_document_holds() -> None:
    ids = {"96 times `x`": "x" * 96}
    rows = re.findall(
        r"^\| *([^|]*?) *\| ([^|]+) \| ([^|]+) \| `(\w{16})` \| `(\w{16})` \| (\d+) \| `(\w{16})` \|",
        FORMAT,
        re.MULTILINE,
    )
    assert len(rows) >= 5
    for label, sample_id, key, order, order_7, shard, split in rows:
        made = make_key(label or None, ids.get(sample_id, sample_id.strip("`")).encode())
        assert made.decode() == key.strip("`").replace("62 times `x`, then `", "x" * 62)
        assert (f"{order_hash(made, 0):016x}", f"{order_hash(made, 7):016x}") == (order, order_7)
        assert (shard_of(order_hash(made, 0), 80), f"{split_hash(made, 0):016x}") == (int(shard), split)
