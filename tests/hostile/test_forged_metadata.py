"""Manifests and indexes written by somebody who wants to do harm, with digests that agree with each other."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import parquet

from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS
from tests.support.limited import assert_announced, run_limited
from wdstools import WdsError, WorkerError, apply, open_dataset, pack
from wdstools.checks.sums import SumCheckTask, check_sum
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import read_index, rows_digest
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, dumps, loads
from wdstools.formats.sums import SUMS_PATH, SumLine, parse_sums, render_sums
from wdstools.ops.repair import plan_repair
from wdstools.ops.verify import verify, verify_path
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.results import Report

pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")
SHARD, INDEX = "train/train-000000.tar", ".wdstools/index/train-000000.parquet"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("original")
    pack(str(write_city_pairs(work / "src", train=5, val=2)), str(work / "out"))
    return work / "out"


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "out"))


def resign(dataset: Path, manifest: bytes | None = None) -> None:
    """Make the checksum list agree with what lies there."""
    if manifest is not None:
        (dataset / MANIFEST_PATH).write_bytes(manifest)
    lines = parse_sums((dataset / SUMS_PATH).read_bytes())
    (dataset / SUMS_PATH).write_bytes(render_sums({s.path: sha256_hex((dataset / s.path).read_bytes()) for s in lines}))


def forge_index(dataset: Path, table: pa.Table) -> None:
    """Put a table where the first index is, and make manifest and checksum list agree with it."""
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    (dataset / INDEX).write_bytes(sink.getvalue())
    manifest = loads((dataset / MANIFEST_PATH).read_bytes())
    try:
        rows = rows_digest(read_index(sink.getvalue()))
    except WdsError:
        rows = "0" * 64
    train = (replace(manifest.splits["train"][0], rows=rows), *manifest.splits["train"][1:])
    resign(dataset, dumps(replace(manifest, splits={**manifest.splits, "train": train})))


def answered(call: Callable[[], object]) -> bool:
    """Whether the call raised an error of ours; a bug in a worker is none."""
    try:
        call()
    except WorkerError:
        raise
    except WdsError:
        return True
    return False


def set_column(table: pa.Table, name: str, values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, name, pa.array(values, kind or table.schema.field(name).type))


def set_members(table: pa.Table, **change: Any) -> pa.Table:
    rows = table.column("members").to_pylist()
    for row in rows:
        for member in row:
            member.update(change)
    nullable = pa.list_(
        pa.struct([("ext", pa.string()), ("offset", pa.int64()), ("size", pa.int64()), ("xxh3_64", pa.uint64())])
    )
    return set_column(table, "members", rows, nullable)


def column(table: pa.Table, name: str) -> list[Any]:
    values: list[Any] = table.column(name).to_pylist()
    return values


def broken_text(table: pa.Table, name: str) -> pa.Table:
    raw = pa.array([b"\xff\xfe" + str(n).encode() for n in range(table.num_rows)], pa.binary())
    return set_array(table, name, pa.Array.from_buffers(pa.string(), len(raw), raw.buffers()))


def set_array(table: pa.Table, name: str, array: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, array)


FORGED: dict[str, Callable[[pa.Table], pa.Table]] = {
    "offsets beyond the shard": lambda t: set_members(t, offset=1 << 50),
    "negative offsets": lambda t: set_members(t, offset=-512),
    "negative sizes": lambda t: set_members(t, size=-1),
    "sizes beyond the shard": lambda t: set_members(t, size=1 << 50),
    "offset and size that overflow": lambda t: set_members(t, offset=1 << 62, size=1 << 62),
    "sizes too large for a header": lambda t: set_members(t, size=8**12),
    "null extension": lambda t: set_members(t, ext=None),
    "null offset": lambda t: set_members(t, offset=None),
    "null size": lambda t: set_members(t, size=None),
    "null digest": lambda t: set_members(t, xxh3_64=None),
    "hostile extension": lambda t: set_members(t, ext="../../../etc/passwd\0\n\x1b[2J"),
    "no members": lambda t: set_column(t, "members", [[] for _ in range(t.num_rows)]),
    "null members": lambda t: set_column(t, "members", [None] * t.num_rows),
    "null group offsets": lambda t: set_column(t, "offset", [None] * t.num_rows),
    "null group lengths": lambda t: set_column(t, "length", [None] * t.num_rows),
    "negative group offsets": lambda t: set_column(t, "offset", [-1 << 40] * t.num_rows),
    "negative group lengths": lambda t: set_column(t, "length", [-1] * t.num_rows),
    "huge group lengths": lambda t: set_column(t, "length", [1 << 60] * t.num_rows),
    "overlapping groups": lambda t: set_column(t, "offset", [0] * t.num_rows),
    "null group digests": lambda t: set_column(t, "xxh3_128", [None] * t.num_rows),
    "keys of thousands of letters": lambda t: set_column(t, "key", [f"{n}" * 5000 for n in range(t.num_rows)]),
    "empty keys": lambda t: set_column(t, "key", [""] * t.num_rows),
    "null keys": lambda t: set_column(t, "key", [None] * t.num_rows),
    "one key for all": lambda t: set_column(t, "key", [column(t, "key")[0]] * t.num_rows),
    "keys that lead outside": lambda t: set_column(t, "key", [f"../../{n}" for n in range(t.num_rows)]),
    "keys that are not utf-8": lambda t: broken_text(t, "key"),
    "captions that are not utf-8": lambda t: broken_text(t, "caption"),
    "no rows": lambda t: t.slice(0, 0),
    "too few rows": lambda t: t.slice(0, 2),
    "too many rows": lambda t: pa.concat_tables([t, t]),
    "a column less": lambda t: t.drop_columns(["members"]),
    "a column twice": lambda t: t.append_column("key", t.column("key")),
    "text for numbers": lambda t: set_array(t, "offset", pc.cast(t.column("offset"), pa.string())),
    "words for numbers": lambda t: set_array(t, "offset", pa.array(["many"] * t.num_rows)),
    "floats for numbers": lambda t: set_array(t, "offset", pa.array([0.5] * t.num_rows)),
    "numbers for members": lambda t: set_array(t, "members", pa.array(range(t.num_rows))),
    "other members": lambda t: set_array(t, "members", pa.array([[{"a": 1}]] * t.num_rows)),
}


@pytest.mark.parametrize("shard", ["whole", "damaged", pytest.param("cut", marks=pytest.mark.slow)])
@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_index_is_a_finding_or_an_error_and_nothing_else(forgery: str, shard: str, dataset: Path) -> None:
    forge_index(dataset, FORGED[forgery](read_index((dataset / INDEX).read_bytes())))
    tar = bytearray((dataset / SHARD).read_bytes())
    if shard != "whole":
        tar[700:709] = b"\0" * 9
        (dataset / SHARD).write_bytes(tar if shard == "damaged" else tar[:3000])
    opened = open_dataset(str(dataset))
    for level in ("digest", "samples"):
        found: list[Report] = []
        refused = answered(lambda level=level, found=found: found.append(verify(opened, level=level)))  # type: ignore[misc]
        # what only the index holds is nothing that the level "digest" looks at; digits in text are the same numbers
        harmless = (level, shard) == ("digest", "whole") or (forgery, shard) == ("text for numbers", "whole")
        assert refused or found[0].findings or harmless
    train = open_dataset(str(dataset))["train"]
    answered(lambda: list(train))
    for number in range(len(train)):
        answered(lambda number=number: train[number])  # type: ignore[misc]
    answered(lambda: list(train.keys()))


def test_a_forged_index_is_answered_by_the_command(dataset: Path) -> None:
    forge_index(dataset, FORGED["huge group lengths"](read_index((dataset / INDEX).read_bytes())))
    (dataset / SHARD).write_bytes((dataset / SHARD).read_bytes()[:-700])
    assert_announced(run_limited("verify", dataset), 1, 4, 5)


@pytest.mark.slow
def test_an_index_that_unpacks_to_gigabytes_is_refused(dataset: Path) -> None:
    table = read_index((dataset / INDEX).read_bytes()).slice(0, 1)
    sink = io.BytesIO()
    with parquet.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        many = pa.concat_tables([set_column(table, "caption", ["x" * 1_000_000])] * 64).combine_chunks()
        for _ in range(96):
            writer.write_table(many)
    assert len(sink.getvalue()) < 8 << 20
    (dataset / INDEX).write_bytes(sink.getvalue())
    resign(dataset)
    assert_announced(run_limited("verify", dataset), 1, 4, 5)


OUTSIDE = ["../../etc/passwd", "/etc/passwd", "https://example.com/x.tar", "train/../../x.tar", "s3://b/x.tar", "train//x.tar",
           "train/.hidden.tar", "train/x\0.tar", "train/x\n.tar", "", ".", "~/x.tar", "train\\x.tar"]  # fmt: skip


@pytest.mark.parametrize("profile", ["canonical", "foreign"])
@pytest.mark.parametrize("path", OUTSIDE)
def test_a_manifest_that_points_outside_is_refused(path: str, profile: str, dataset: Path) -> None:
    text = (dataset / MANIFEST_PATH).read_text()
    text = text.replace('"profile":"canonical"', f'"profile":"{profile}"')
    forged = text.replace(json.dumps(SHARD), json.dumps(path))
    assert forged != text
    with pytest.raises(WdsError):
        loads(forged.encode())
    resign(dataset, forged.encode())
    with pytest.raises(WdsError):
        open_dataset(str(dataset))
    assert verify_path(str(dataset)).findings


@pytest.mark.parametrize("depth", [10, 400, 700, 950, 1_500, 100_000])
@pytest.mark.parametrize("place", ["top", "shard", "dataset"])
@pytest.mark.parametrize("bracket", ["[]", "{}"])
def test_a_manifest_of_any_depth_is_read_or_refused(depth: int, place: str, bracket: str, dataset: Path) -> None:
    nested = "[" * depth + "]" * depth if bracket == "[]" else '{"a":' * depth + "1" + "}" * depth
    text = (dataset / MANIFEST_PATH).read_text()
    before = {"top": '"labels":', "shard": '"bytes":', "dataset": '"name":'}[place]
    forged = text.replace(before, f'"a":{nested},{before}', 1)
    answered(lambda: loads(forged.encode()))


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"format":1}',
        b'{"format":1e400}',
        b'{"format":' + b"9" * 100_000 + b"}",
        b'{"format":-1}',
        b'{"format":2}',
        b'{"format":true}',
        b'{"a":1,"a":2}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\0}\0",
        b'"' + b"x" * 10_000_000 + b'"',
        b"{" + b'"k":0,' * 200_000 + b'"k":0}',
    ],
)
def test_other_documents_are_refused(forged: bytes) -> None:
    with pytest.raises(WdsError):
        loads(forged)


@pytest.mark.parametrize("escape", ["\\ud800", "\\udcff", "\\u0000"])
@pytest.mark.parametrize("place", ["name", "labels", "key"])
def test_text_that_is_no_unicode_is_read_or_refused(escape: str, place: str, dataset: Path) -> None:
    text = (dataset / MANIFEST_PATH).read_text()
    forged = {
        "name": text.replace('"name":"', f'"name":"{escape}', 1),
        "labels": text.replace('"labels":["', f'"labels":["{escape}', 1),
        "key": text.replace('"labels":', f'"l{escape}":1,"labels":', 1),
    }[place]
    answered(lambda: loads(forged.encode()))


@pytest.mark.parametrize("value", ["null", "1", '"text"', "{}", "[1]", "[null]", "[[]]", '{"a":1}'])
def test_splits_of_any_kind_are_refused(value: str, dataset: Path) -> None:
    document = json.loads((dataset / MANIFEST_PATH).read_text())
    for splits in (json.loads(value), {"train": json.loads(value)}):
        document["splits"] = splits
        if splits in ({}, {"train": {}}):
            continue  # an empty list of shards is refused by its totals alone
        with pytest.raises(WdsError):
            loads(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def test_a_manifest_that_is_too_large_or_has_a_split_of_another_name_is_refused(
    original: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (original / MANIFEST_PATH).read_bytes()
    monkeypatch.setattr("wdstools.formats.manifest.MAX_MANIFEST_BYTES", len(data))
    assert loads(data).splits
    with pytest.raises(WdsError, match="not a split name"):
        loads(data.replace(b'"train":', b'"tr/in":'))
    with pytest.raises(WdsError, match="the manifest is too large"):
        loads(data + b"\n")


@pytest.mark.parametrize(
    "said",
    [
        '{"labels":5}',
        '{"labels":["a",5]}',
        '{"labels":["\\ud800"]}',
        '{"name":"\\ud800"}',
        '{"version":"x"}',
        "[" * 100_000,
    ],
)
def test_no_manifest_is_rebuilt_from_provenance_that_holds_other_things(said: str, dataset: Path) -> None:
    (dataset / MANIFEST_PATH).unlink()
    (dataset / PROVENANCE_PATH).write_text(f'{{"dataset":{said}}}')
    with pytest.raises(WdsError) as caught:
        plan_repair(str(dataset))
    assert caught.value.code == "manifest-lost"


@pytest.mark.parametrize("what", ["surrogate", "float", "text"])
def test_a_manifest_is_rebuilt_from_provenance_that_another_program_has_written_again(what: str, dataset: Path) -> None:
    data = (dataset / MANIFEST_PATH).read_bytes()
    (dataset / MANIFEST_PATH).unlink()
    document = json.loads((dataset / PROVENANCE_PATH).read_text())
    identity = document["dataset"]
    if what == "surrogate":
        document["note"] = "\ud800"  # nothing that the manifest needs
    elif what == "float":
        identity["seed"], identity["version"] = float(identity["seed"]), float(identity["version"])
    else:
        identity["seed"], identity["version"] = str(identity["seed"]), str(identity["version"])
    (dataset / PROVENANCE_PATH).write_text(json.dumps(document))
    apply(plan_repair(str(dataset)))
    assert (dataset / MANIFEST_PATH).read_bytes() == data


def test_terminal_escapes_in_a_manifest_do_not_reach_the_terminal(dataset: Path) -> None:
    text = (dataset / MANIFEST_PATH).read_text()
    resign(dataset, text.replace('"name":"', '"name":"\\u001b[2J', 1).encode())
    (dataset / SHARD).write_bytes(b"")
    for command in ("verify", "info", "ls"):
        assert_announced(run_limited(command, dataset), 0, 1, 5)


@pytest.mark.parametrize("path", ["a\0b", "no such file", "..", ".", "x/", "\udcff", "a\nb"])
def test_a_checksum_list_that_names_odd_files_is_a_finding(path: str, tmp_path: Path) -> None:
    task = SumCheckTask(LocalStore(str(tmp_path)), SumLine(path, "sha256", "0" * 64))
    assert check_sum(task, lambda _: None).finding is not None


def test_a_checksum_list_with_a_zero_byte_is_answered_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "SUMS").write_bytes(b"0" * 64 + b"  a\0b\x1b[2J\n")
    assert_announced(run_limited("verify", tmp_path / "SUMS"), 1, 5)
