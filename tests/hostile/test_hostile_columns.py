"""Columns that came with a dataset from anywhere: they choose no file but their own, hide no field, and claim no memory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, pack_cities
from tests.support.command import run_command
from tests.support.outcome import contents
from wdstools.columns.sets import listed_files
from wdstools.errors import FormatError, StoreError, UsageError, WdsError
from wdstools.formats import column_files
from wdstools.formats.digest import sha256_hex
from wdstools.formats.parquet_pages import Claim, groups_of

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = ".wdstools/columns"


@pytest.fixture(scope="module", name="scored")
def _scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scored = pack_cities(tmp_path_factory.mktemp("columns"), train=8, val=4)
    add_scores(scored)
    return scored


@pytest.fixture(name="dataset")
def _dataset(scored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(scored, tmp_path / "dataset"))


def rewritten(dataset: Path, change: Any) -> None:
    """Change the document, and the list with it, as whoever made the dataset could."""
    path = dataset / f"{FOLDER}/scores.json"
    before = path.read_bytes()
    document = json.loads(before)
    change(document)
    shards = ",\n".join(json.dumps(one, sort_keys=True, separators=(",", ":")) for one in document.pop("shards"))
    head = json.dumps(document, sort_keys=True, separators=(",", ":"))[:-1]
    after = f'{head},"shards":[\n{shards}\n]}}\n'.encode()
    path.write_bytes(after)
    sums = dataset / f"{FOLDER}/SHA256SUMS"
    sums.write_text(sums.read_text().replace(sha256_hex(before), sha256_hex(after)))


def test_the_list_names_no_file_outside_of_its_sets(dataset: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.parquet"
    mine.write_bytes(b"mine")
    inside = dataset / f"{FOLDER}/scores/notes.txt"
    inside.write_bytes(b"mine")
    sums = dataset / f"{FOLDER}/SHA256SUMS"
    lines = [
        f"{'0' * 64}  {path}\n"
        for path in (
            f"{FOLDER}/scores/../../../../mine.parquet",
            "../mine.parquet",
            str(mine),
            "README.md",
            "train/train-000000.tar",
            f"{FOLDER}/scores/notes.txt",
            f"{FOLDER}/scores/deep/x.parquet",
        )
    ]
    sums.write_text(sums.read_text() + "".join(lines))
    before = contents(dataset)
    plan = wt.plan_remove_columns(dataset, "scores")
    own = {path for path in before if path.startswith((f"{FOLDER}/scores/train", f"{FOLDER}/scores/val"))}
    assert {step.path for step in plan.steps} == own | {f"{FOLDER}/scores.json"}
    removal = wt.plan_remove(dataset, wt.Selection(keys=frozenset(keys_of(dataset)[:1])))
    outside = {step.path for step in removal.steps if step.action == "delete"}
    assert not outside & {"README.md", "train/train-000000.tar", f"{FOLDER}/scores/notes.txt"}
    wt.apply(plan)
    assert (mine.read_bytes(), inside.read_bytes()) == (b"mine", b"mine")
    assert (dataset / "README.md").exists()


def test_a_folder_of_columns_that_leads_outside_is_not_written_or_deleted_through(
    dataset: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    (dataset / f"{FOLDER}/scores").rename(outside)
    (dataset / f"{FOLDER}/scores").symlink_to(outside)
    before = contents(outside)
    with pytest.raises(StoreError) as caught:
        wt.remove_columns(dataset, "scores")
    assert caught.value.code == "path-unsafe"
    for refused in (
        lambda: wt.remove(dataset, wt.Selection(keys=frozenset(keys_of(dataset)[:1]))),
        lambda: wt.mirror(dataset, str(tmp_path / "mirror")),
        lambda: wt.pull(dataset, tmp_path / "pulled"),
    ):
        with pytest.raises(WdsError):
            refused()
    assert contents(outside) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["fields"][0].update(name="caption"),
        lambda d: d["fields"][0].update(name="keys"),
        lambda d: d["fields"][0].update(name="__class__"),
        lambda d: d["fields"][0].update(type="float32[99999999]"),
        lambda d: d["fields"][0].update(type="object"),
        lambda d: d.update(name="other"),
        lambda d: d.update(name="../scores"),
        lambda d: d.update(extra=1),
        lambda d: d["shards"][0].update(rows=-1),
        lambda d: d["shards"][0].update(rows=True),
        lambda d: d["shards"][0].update(nulls=[0]),
        lambda d: d["shards"].append(d["shards"][0]),
        lambda d: d.update(format=0),
        lambda d: d.update(fields=[]),
    ],
)
def test_a_document_in_any_other_form_is_refused(dataset: Path, change: Any) -> None:
    rewritten(dataset, change)
    with pytest.raises(FormatError) as caught:
        wt.head(dataset, 3, where="score > 0")
    assert caught.value.code == "columns-damaged"
    assert run_command("verify", dataset).code == 1


def test_a_newer_form_is_refused_as_newer(dataset: Path) -> None:
    rewritten(dataset, lambda d: d.update(format=2))
    ran = run_command("ls", dataset, "--where", "score > 0")
    assert (ran.code, "upgrade wdstools" in ran.err) == (5, True)


def test_shards_or_rows_of_another_dataset_are_stale(dataset: Path) -> None:
    rewritten(dataset, lambda d: d["shards"].pop())
    with pytest.raises(UsageError) as caught:
        wt.head(dataset, 3, where="score > 0")
    assert caught.value.code == "columns-stale"


def vouched(dataset: Path, data: bytes) -> None:
    """Put a file in the place of one of the set's, and let list and document vouch for it."""
    path = dataset / f"{FOLDER}/scores/train-000000.parquet"
    old = sha256_hex(path.read_bytes())
    path.write_bytes(data)
    sums = dataset / f"{FOLDER}/SHA256SUMS"
    sums.write_text(sums.read_text().replace(old, sha256_hex(data)))
    rewritten(dataset, lambda d: next(s for s in d["shards"] if s["sha256"] == old).update(sha256=sha256_hex(data)))


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("kind", ["rows", "columns", "types", "lists", "text", "nothing"])
def test_a_file_that_its_document_vouches_for_is_still_looked_into(dataset: Path, kind: str) -> None:
    table = pq.read_table(dataset / f"{FOLDER}/scores/train-000000.parquet")
    ways: dict[str, Callable[[], bytes]] = {
        "rows": lambda: parquet(pa.concat_tables([table] * 3)),
        "columns": lambda: parquet(table.drop_columns(["score"])),
        "types": lambda: parquet(table.set_column(4, "score", pa.array(["x"] * table.num_rows))),
        "lists": lambda: parquet(
            table.set_column(5, "vector", pa.array([[1.0]] * table.num_rows, pa.list_(pa.float32())))
        ),
        "text": lambda: b"PAR1" + b"\xff" * 400 + b"PAR1",
        "nothing": lambda: b"",
    }
    made = ways[kind]()
    assert table.column_names == ["key", "is_good", "people", "recaption", "score", "vector"]
    vouched(dataset, made)
    conditions = {"types": ["score > 0"], "lists": ["vector is not None"]}
    for where in conditions.get(kind, ["score > 0", "vector is not None"]):
        with pytest.raises(FormatError) as caught:
            wt.head(dataset, 99, where=where)
        assert caught.value.code == "columns-damaged"
    ran = run_command("verify", dataset)
    assert (ran.code, "Traceback" in ran.err) == (1, False)


BOMBS = {
    "text": lambda rows: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * (1 << 20)])),
    "list": lambda rows: pa.array([*[[0.0] * 3] * (rows - 1), [0.0] * 200_000], pa.list_(pa.float32())),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_does_not_come_to_much_memory(dataset: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pq.read_table(dataset / f"{FOLDER}/scores/train-000000.parquet")
    at = {"text": 3, "list": 5}[kind]
    made = table.set_column(at, table.column_names[at], BOMBS[kind](table.num_rows))
    monkeypatch.setattr(column_files, "MAX_COLUMNS_BYTES", 3 << 20)
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink, compression="zstd", store_schema=False, write_statistics=False)
    assert sink.tell() < 100_000
    vouched(dataset, bytes(sink.getvalue()))
    decoded: list[int] = []
    monkeypatch.setattr(column_files, "aligned", lambda column, _: decoded.append(column.nbytes))
    with pytest.raises(FormatError) as caught:
        wt.head(dataset, 99, where=f"{made.column_names[at]} is not None")
    assert caught.value.code == "columns-damaged"
    assert sum(decoded) < 1000


def claims_of(data: bytes) -> list[Claim]:
    return [claim for group in groups_of(data, len(data)) for claim in group.claims]


def test_a_damaged_footer_is_refused_by_its_own_reader(dataset: Path) -> None:
    whole = (dataset / f"{FOLDER}/scores/train-000000.parquet").read_bytes()
    claims = {claim.name: claim for claim in claims_of(whole)}
    table = pq.read_table(dataset / f"{FOLDER}/scores/train-000000.parquet")
    widths = dict.fromkeys(table.column_names, 1) | {"vector": 3}
    assert {name: claim.values for name, claim in claims.items()} == {
        name: width * table.num_rows for name, width in widths.items()
    }
    assert claims["recaption"].dictionary
    for at in range(len(whole)):
        for change in (0x01, 0x80, 0xFF):
            data = bytearray(whole)
            data[at] ^= change
            with contextlib.suppress(ValueError):
                claims_of(bytes(data))
    for size in range(len(whole)):
        with contextlib.suppress(ValueError):
            claims_of(whole[-size:])


def varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


#: Footers that are small and come to much: lists in lists, structures in lists, and more elements than any set has.
FOOTERS = {
    "lists": b"\x19" * 20_000 + b"\0" * 50,
    "structures": b"\x19\x1c" * 20_000 + b"\0" * 50,
    "empty structures": b"\x49\xfc" + varint(400_000) + b"\0" * 400_001,
    "repeated fields": b"\x15\0" + b"\x05\x02\0" * 300_000 + b"\0",
    "a long text": b"\x48" + varint(5_000_000) + bytes(5_000_001),
}


@pytest.mark.parametrize("kind", FOOTERS)
def test_a_footer_is_not_believed_how_much_it_holds(dataset: Path, kind: str) -> None:
    footer = FOOTERS[kind]
    data = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    if kind == "empty structures":
        tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"nested too deeply|too many fields|the limit is 4\.\d MB"):
            claims_of(data)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20  # of the kind that comes to most
    finally:
        tracemalloc.stop()
    if kind == "lists":
        vouched(dataset, data)
        ran = run_command("verify", dataset)
        assert (ran.code, "Traceback" in ran.err) == (1, False)


@given(
    st.lists(
        st.sampled_from([b"\x19", b"\x1c", b"\x15", b"\x18", b"\xf9", b"\xfc", b"\0", b"\x02", b"\xff"]), max_size=400
    )
)
@settings(max_examples=60, deadline=None)
def test_a_footer_of_any_nesting_is_read_or_refused(parts: list[bytes]) -> None:
    for footer in (b"".join(parts), b"".join(parts) * 50):
        with contextlib.suppress(ValueError):
            claims_of(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def length_of(sample: wt.Sample) -> dict[str, object]:
    return {"size": len(sample["txt"])}


#: What somebody may have put where columns are computed, with our mark: the names that were noted, and the journal.
PLANTED: dict[str, tuple[bytes | None, bytes | None]] = {
    "pipes": (None, None),
    "bytes": (b"\xff\x00", b"\xff\n"),
    "nesting": (b"(" * 50_000 + b"\n", b"[" * 200_000 + b"\n"),
    "other things": (b"1\n[]\n", b"5\n"),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize(
    "planted", [one if one in ("pipes", "nesting") else pytest.param(one, marks=pytest.mark.slow) for one in PLANTED]
)
@pytest.mark.timeout(60)
def test_an_unfinished_computation_of_a_stranger_is_no_trap(dataset: Path, planted: str) -> None:
    place = dataset / ".wdstools/computing/sizes"
    place.mkdir(parents=True)
    (place / ".wdstools-scratch.json").write_text('{"owner": "wdstools", "id": "0"}')
    for name, data in zip(("names", "journal.jsonl"), PLANTED[planted], strict=True):
        if data is None:
            os.mkfifo(place / name)
        else:
            (place / name).write_bytes(data)
    (place.parent / "link").symlink_to(dataset.parent / "elsewhere.partial")
    made = wt.map_columns(dataset, length_of, columns={"size": "int64"}, name="sizes", restart=True)
    assert isinstance(made, wt.ColumnsResult)
    assert made.covered == made.samples == 12
    streamed = {sample.key: length_of(sample) for sample in wt.stream(dataset, shuffle=None)}
    stored = {sample.key: sample.columns for sample in wt.head(dataset, 99, columns=["size"])}
    assert {key: stored[key] for key in streamed} == streamed
    ran = run_command("remove", dataset, "--in-place", "--where", f"key == '{keys_of(dataset)[0]}'", "-y")
    assert ran.code in (0, 4), ran.err
    assert "Traceback" not in ran.err
    assert run_command("verify", dataset).code == 0


@pytest.mark.parametrize(
    "line",
    [
        "../victim",
        "/abs/path",
        f"{FOLDER}/../../../victim",
        "\x1b[31m.json",
        f"{FOLDER}/none/a.parquet",
        f"{FOLDER}/scores/b.parquet",
    ],
)
def test_a_line_of_the_list_that_is_of_no_set_is_named(dataset: Path, line: str) -> None:
    assert wt.verify(dataset).ok
    with (dataset / f"{FOLDER}/SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {line}\n")
    assert {finding.path for finding in wt.verify(dataset).findings} == {f"{FOLDER}/SHA256SUMS"}


@pytest.mark.timeout(60)
def test_a_list_of_very_many_sets_is_gone_through_once() -> None:
    names = [f"{FOLDER}/s{number}" for number in range(50_000)]
    sums = {path: "" for name in names for path in (f"{name}.json", f"{name}/train-000000.parquet")}
    others = {f"{FOLDER}/none/a.parquet": "", f"{FOLDER}/s1/../a.parquet": "", "../victim": ""}
    assert listed_files(sums | others) == list(sums)
