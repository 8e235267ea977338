"""columns add, ls and rm, as people use them: every value where its key is, whole or not at all, and nothing else touched."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, pack_cities, score_of, values_of, write_scores
from tests.support.command import Ran, run_command
from tests.support.outcome import contents
from wdstools.errors import FormatError, StoreError, UsageError
from wdstools.formats.digest import sha256_hex
from wdstools.landing import staging
from wdstools.ops.columns.table import open_table
from wdstools.stores.local import LocalStore
from wdstools.transfer import columns as transfer

LIST = ".wdstools/columns/SHA256SUMS"


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=12, val=4)


@pytest.fixture(name="dataset")
def _dataset(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "dataset"))


def test_a_table_is_added_listed_and_removed(dataset: Path, tmp_path: Path) -> None:
    before = contents(dataset)
    keys = keys_of(dataset)
    table = write_scores(tmp_path / "Clip Scores.v1.parquet", [*reversed(keys[1:]), "rome/nobody"])
    planned = run_command("columns", "add", dataset, table, "-n")
    assert (planned.code, contents(dataset)) == (3, before)
    assert "15 of 16 samples have a row" in planned.out
    added = run_command("columns", "add", dataset, table, "-y", "--json")
    assert added.code == added.summary["exit_code"] == 3
    assert (added.summary["covered"], added.summary["absent"], added.summary["absent_keys"]) == (15, 1, ["rome/nobody"])
    found = values_of(dataset, "clip-scores")
    assert found[keys[0]] == dict.fromkeys(("is_good", "people", "recaption", "score", "vector"))
    for key in keys[1:]:
        assert found[key] == {
            "score": score_of(key),
            "recaption": f"again {key}",
            "vector": [score_of(key), -1.0, 2.5],
            "people": len(key),
            "is_good": score_of(key) >= 0.5,
        }
    wt.remove_columns(dataset, "clip-scores")
    quiet = run_command("columns", "add", dataset, table, "-q", "-y")
    assert (quiet.code, len(quiet.out.splitlines())) == (3, 1), quiet.out
    listed = run_command("columns", "ls", dataset)
    assert listed.code == 0
    assert "score  float32  15 of 16 samples" in listed.out
    assert "vector  float32[3]" in listed.out
    now = contents(dataset)
    assert {path: now[path] for path in before} == before
    new = {path for path in now if path not in before}
    assert all(path.startswith(".wdstools/columns/") for path in new)
    subprocess.run(["sha256sum", "--strict", "-c", LIST], cwd=dataset, check=True, capture_output=True)
    assert {line.split("  ")[1] for line in now[LIST].decode().splitlines()} == new - {LIST}
    removed = run_command("columns", "rm", dataset, "clip-scores", "-y", "--json")
    assert (removed.code, set(removed.summary["deleted"])) == (0, new - {LIST})
    assert contents(dataset) == before
    assert not (dataset / ".wdstools/columns").exists()


def test_two_sets_live_beside_each_other(dataset: Path) -> None:
    add_scores(dataset)
    keys = keys_of(dataset)
    wt.add_columns(dataset, pa.table({"key": keys, "aesthetic": [0.5] * len(keys)}), name="aesthetics")
    assert [(one.name, one.state) for one in wt.list_columns(dataset)] == [("aesthetics", "ok"), ("scores", "ok")]
    wt.remove_columns(dataset, "scores")
    (left,) = wt.list_columns(dataset)
    assert (left.name, left.fields, left.values) == ("aesthetics", {"aesthetic": "float64"}, {"aesthetic": 16})
    subprocess.run(["sha256sum", "--strict", "-c", LIST], cwd=dataset, check=True, capture_output=True)


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json"])
def test_tables_of_text_and_json_have_the_types_that_their_values_have(
    dataset: Path, tmp_path: Path, form: str
) -> None:
    keys = keys_of(dataset)
    rows = [
        {"id": key, "score": 0.25 if n else None, "n": n, "seen": n % 2 == 0, "word": f"a {n}", "code": f"00{n}"}
        for n, key in enumerate(keys)
    ]
    path = tmp_path / f"table.{form}"
    if form == "json":
        path.write_text(json.dumps(rows))
    elif form == "jsonl":
        path.write_text("".join(json.dumps({**row, "vec": [1, 0.5]}) + "\n" for row in rows))
    else:
        mark = {"csv": ",", "tsv": "\t"}[form]
        lines = [mark.join("" if value is None else str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join([mark.join(rows[0]), *lines]))
    wt.add_columns(dataset, path, key_column="id", name="t")
    (info,) = wt.list_columns(dataset)
    kinds = {"score": "float64", "n": "int64", "seen": "bool", "word": "string", "code": "string"}
    assert info.fields == kinds | ({"vec": "float64[2]"} if form == "jsonl" else {})
    assert info.values["score"] == 15
    found = values_of(dataset, "t")[keys[3]]
    assert found == {
        "score": 0.25,
        "n": 3,
        "seen": False,
        "word": "a 3",
        "code": "003",
        **({"vec": [1.0, 0.5]} if form == "jsonl" else {}),
    }


BIG = 2**53 + 1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([str(BIG), "-3"], "int64"),
        ([str(BIG), "0.5"], None),
        (["9" * 25, "7"], "string"),
        (["9" * 25, "0.5"], None),
        (["1e999", "0.5"], None),
        (["1e999", "ab12"], "string"),
        (["+4915112345", "+4915112346"], "string"),
        (["+0.5", "1"], "string"),
        (["-5", "1e+2"], "float64"),
        (["-inf", "0.5"], "float64"),
        ([BIG, 3], "int64"),
        ([BIG, 0.5], None),
        ([2**53, 0.5], "float64"),
        ([[BIG, 0.5], [1, 2]], None),
        ([[1, 0.5], [1, 2]], "float64[2]"),
        (["JSON 1e999", "JSON 0.5"], None),
    ],
)
def test_a_value_is_kept_as_it_is_written_or_refused(tmp_path: Path, values: list[object], kind: str | None) -> None:
    path = tmp_path / ("t.csv" if all(isinstance(value, str) for value in values) else "t.jsonl")
    if path.suffix == ".csv" and "JSON" not in str(values):
        path.write_text("key,x\n" + "".join(f"{n},{value}\n" for n, value in enumerate(values)))
    else:
        path = tmp_path / "t.jsonl"
        numbers = [str(value).removeprefix("JSON ") for value in values]
        path.write_text("".join(f'{{"key": "{n}", "x": {number}}}\n' for n, number in enumerate(numbers)))
    if kind is None:
        with pytest.raises(UsageError) as caught:
            open_table(path, None, None)
        assert caught.value.code == "columns-unsupported"
        return
    table = open_table(path, None, None)
    assert [field.kind for field in table.fields] == [kind]
    found = [value for batch in table.batches() for value in batch.column("x").to_pylist()]
    wanted = [type(found[0])(value) for value in values] if kind in ("int64", "float64") else values
    assert found == wanted


def test_a_key_that_comes_twice_must_say_the_same(dataset: Path, tmp_path: Path) -> None:
    keys = keys_of(dataset)
    before = contents(dataset)
    same = pa.table({"key": [*keys, keys[2]], "score": [*map(score_of, keys), score_of(keys[2])], "x": [math.nan] * 17})
    plan = wt.plan_add_columns(dataset, same, name="s")
    assert getattr(plan, "repeated", None) == 1
    wt.apply(plan)
    assert values_of(dataset, "s")[keys[2]]["score"] == score_of(keys[2])
    wt.remove_columns(dataset, "s")
    pq.write_table(same.set_column(1, "score", pa.array([*map(score_of, keys), 9.0])), tmp_path / "t.parquet")
    ran = run_command("columns", "add", dataset, tmp_path / "t.parquet", "-y")
    assert ran.code == 2
    assert "columns-differ" in ran.err
    assert keys[2] in ran.err
    assert "rows 3 and 17" in ran.err
    assert contents(dataset) == before


REFUSED = {
    "columns-name": {"caption": ["x"]},
    "columns-unsupported": {"when": pa.array([1], pa.timestamp("s"))},
    "columns-empty": {"key": ["nobody"], "x": [1]},
    "table-columns": {"key": None, "x": [1]},
    "columns-key": {"key": pa.array([None], pa.string()), "x": [1]},
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_cannot_be_added_is_refused_by_name(dataset: Path, code: str) -> None:
    columns = {"key": keys_of(dataset)[:1], **REFUSED[code]}
    table = pa.table({name: values for name, values in columns.items() if values is not None})
    before = contents(dataset)
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, table, name="t")
    assert caught.value.code == code
    assert contents(dataset) == before


@pytest.mark.parametrize("column", ["jpg", "images", "key", "class", "2x", "a b", "é", "score", "len", "x" * 65])
def test_a_column_never_hides_another(dataset: Path, column: str) -> None:
    add_scores(dataset)
    table = pa.table({"id": keys_of(dataset), column: [1] * 16})
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, table, name="other", key_column="id")
    assert caught.value.code == "columns-name"
    assert column in str(caught.value)


@pytest.mark.parametrize(
    ("values", "length"),
    [([[1.0, 2.0], [1.0]], -1), ([[1.0, None], [1.0, 2.0]], -1), ([[1.0, None]] * 2, 2), ([[], []], -1)],
)
def test_lists_of_different_lengths_and_of_missing_numbers_are_refused(
    dataset: Path, values: list[list[float | None]], length: int
) -> None:
    table = pa.table({"key": keys_of(dataset)[:2], "v": pa.array(values, pa.list_(pa.float32(), length))})
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, table, name="t")
    assert caught.value.code == "columns-unsupported"


@pytest.mark.parametrize("name", ["", "Scores", "a/b", "../x", ".", "a.b", "x" * 65])
def test_a_set_is_called_as_a_file_may_be(dataset: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, pa.table({"key": keys_of(dataset), "x": [1] * 16}), name=name)
    assert caught.value.code == "columns-name"


def test_a_name_that_is_taken_is_refused_and_what_lies_there_stays(dataset: Path) -> None:
    add_scores(dataset)
    table = pa.table({"key": keys_of(dataset), "x": [1] * 16})
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, table, name="scores")
    assert caught.value.code == "columns-taken"
    mine = dataset / ".wdstools/columns/mine/train-000000.parquet"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(StoreError) as in_the_way:
        wt.add_columns(dataset, table, name="mine")
    assert in_the_way.value.code == "file-in-the-way"
    assert mine.read_bytes() == b"mine"


def test_a_strangers_file_stays_when_a_set_goes(dataset: Path) -> None:
    add_scores(dataset)
    stranger = dataset / ".wdstools/columns/scores/notes.txt"
    stranger.write_text("mine")
    other = dataset / ".wdstools/columns/theirs.json"
    other.write_text("{}")
    plan = wt.plan_remove_columns(dataset, "scores")
    named = {step.path for step in plan.steps}
    there = {path for path in contents(dataset) if path.startswith(".wdstools/columns/")}
    wt.apply(plan)
    left = {path for path in contents(dataset) if path.startswith(".wdstools/columns/")}
    assert left == {".wdstools/columns/scores/notes.txt", ".wdstools/columns/theirs.json"}
    assert there - left == named | {LIST}
    with pytest.raises(UsageError) as caught:
        wt.remove_columns(dataset, "scores")
    assert caught.value.code == "columns-missing"


def test_a_damaged_document_is_named_and_its_set_can_be_removed(dataset: Path) -> None:
    add_scores(dataset)
    document = dataset / ".wdstools/columns/scores.json"
    document.write_bytes(document.read_bytes().replace(b"float32[3]", b"float32[4]"))
    listed = run_command("columns", "ls", dataset)
    assert listed.code == 1
    assert "scores: damaged" in listed.out
    with pytest.raises(FormatError):
        wt.add_columns(dataset, pa.table({"key": keys_of(dataset), "x": [1] * 16}), name="x")
    assert run_command("columns", "rm", dataset, "scores", "-y").code == 0
    assert not (dataset / ".wdstools/columns").exists()


def test_a_file_in_the_place_of_one_of_a_set_stays_when_the_set_goes(dataset: Path) -> None:
    add_scores(dataset)
    files = sorted((dataset / ".wdstools/columns/scores").iterdir())
    files[0].write_bytes(b"my own work")
    ran = run_command("columns", "rm", dataset, "scores", "-y")
    assert (ran.code, f"keep .wdstools/columns/scores/{files[0].name}" in ran.out) == (0, True), ran.out
    assert [path.read_bytes() for path in (dataset / ".wdstools/columns").rglob("*") if path.is_file()] == [
        b"my own work"
    ]


@pytest.mark.parametrize("gone", [False, True])
def test_a_change_stops_at_a_set_whose_document_is_damaged_or_gone(
    dataset: Path, tmp_path: Path, *, gone: bool
) -> None:
    add_scores(dataset)
    document = dataset / ".wdstools/columns/scores.json"
    document.write_bytes(document.read_bytes().replace(b"float32[3]", b"float32[4]"))
    if gone:
        document.unlink()
    before = contents(dataset)
    (tmp_path / "keys.txt").write_text(keys_of(dataset)[0] + "\n")
    ran = run_command("remove", dataset, "--keys", tmp_path / "keys.txt", "--in-place", "-y")
    assert (ran.code, "columns-damaged" in ran.err) == (5, True), ran.err
    assert contents(dataset) == before


def test_a_list_that_names_the_users_file_deletes_nothing(dataset: Path, tmp_path: Path) -> None:
    mine = dataset / ".wdstools/columns/mine/thesis.parquet"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"my work")
    (dataset / LIST).write_text(
        f"{'0' * 64}  .wdstools/columns/mine.json\n{'0' * 64}  .wdstools/columns/mine/thesis.parquet\n"
    )
    (tmp_path / "keys.txt").write_text(keys_of(dataset)[0] + "\n")
    assert run_command("remove", dataset, "--keys", tmp_path / "keys.txt", "--in-place", "-y").code == 5
    assert run_command("columns", "rm", dataset, "mine", "-y").code == 0
    assert mine.read_bytes() == b"my work"


def test_a_table_that_cannot_be_read_is_an_error_and_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    before = contents(dataset)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not PAR1")
    (tmp_path / "b.csv").write_text("key,x\nrome/1\n")
    (tmp_path / "c.jsonl").write_text("[1]\n")
    for name, code in (("a.parquet", 5), ("b.csv", 5), ("c.jsonl", 5), ("none.csv", 4)):
        ran = run_command("columns", "add", dataset, tmp_path / name, "-y")
        assert (ran.code, "Traceback" in ran.err) == (code, False), ran.err
    assert contents(dataset) == before


def lines_of(*arguments: str | Path) -> list[str]:
    ran = run_command(*arguments)
    assert ran.code == 0, ran.err
    return ran.out.splitlines()


def test_fields_are_used_in_conditions_wherever_there_are_any(dataset: Path, tmp_path: Path) -> None:
    add_scores(dataset)
    wanted = [key for key in keys_of(dataset) if score_of(key) >= 0.5]
    where = "score >= 0.5 and is_good and len(recaption) > 3 and people > 2"
    assert lines_of("ls", dataset, "--where", where) == wanted
    assert run_command("stats", dataset, "--where", where, "--json").summary["samples"] == len(wanted)
    assert [info.key for info in wt.head(dataset, 99, where=where)] == wanted
    assert run_command("extract", dataset, tmp_path / "files", "--where", where, "--json").summary["samples"] == len(
        wanted
    )
    train = [key for key in wt.open_dataset(dataset)["train"].keys() if key in wanted]  # noqa: SIM118
    assert [sample.key for sample in wt.stream(dataset, where=where, shuffle=None)] == train
    batches = wt.loader(dataset, batch_size=3, where=where, shuffle=None, remainder="keep", decode="bytes")
    assert [key for batch in batches for key in batch.keys] == train
    removed = run_command("remove", dataset, "--where", where, "-o", tmp_path / "rest", "-y", "--json")
    assert removed.summary["removed"] == len(wanted)
    assert set(keys_of(tmp_path / "rest")) == set(keys_of(dataset)) - set(wanted)


def test_a_choice_by_what_was_added_is_proved_against_accidents_alone(dataset: Path) -> None:
    add_scores(dataset)
    root = wt.open_dataset(dataset).root
    by_score, by_key = (
        run_command("extract", dataset, dataset.parent / name, "--root", root, "--where", where, "--json").summary
        for name, where in (("s", "score >= 0"), ("k", "key != ''"))
    )
    assert (by_score["samples"], by_key["samples"]) == (16, 16)
    anchored = wt.open_dataset(dataset, root=root)
    chosen = [wt.select(where=where).proved_by(anchored) for where in ("score >= 0", "key != ''")]
    assert chosen == [wt.Proved.ACCIDENT, wt.Proved.FORGER]


@pytest.mark.parametrize("where", ["scor > 1", "score == 'x'", "is_good > 1", "vector == 1", "score"])
def test_a_condition_that_does_not_fit_is_refused_at_once(dataset: Path, where: str) -> None:
    add_scores(dataset)
    ran = run_command("ls", dataset, "--where", where)
    assert (ran.code, "where-not-understood" in ran.err) == (2, True)
    with pytest.raises(UsageError) as caught:
        wt.loader(dataset, batch_size=2, where=where)
    assert caught.value.code == "where-not-understood"
    if where.startswith("scor "):
        assert "is_good" in caught.value.expected


def test_columns_of_another_version_are_refused_with_what_to_do(dataset: Path, packed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    wt.remove(packed, wt.Selection(keys=frozenset(keys_of(packed)[:1])), output=other)
    add_scores(other)
    shutil.copytree(other / ".wdstools/columns", dataset / ".wdstools/columns")
    listed = run_command("columns", "ls", dataset)
    assert (listed.code, "scores: stale" in listed.out) == (1, True)
    ran = run_command("ls", dataset, "--where", "score > 0")
    assert ran.code == 2
    assert "columns-stale" in ran.err
    assert f"wdstools columns rm {dataset} scores" in ran.err


def test_a_damaged_file_of_columns_is_an_error_and_no_other_choice(dataset: Path) -> None:
    add_scores(dataset)
    path = dataset / ".wdstools/columns/scores/train-000001.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        ran = run_command("ls", dataset, "--where", "score > 0")
        assert (ran.code, "columns-damaged" in ran.err, "Traceback" in ran.err) == (5, True, False)
        path.unlink(missing_ok=True)


def test_a_change_is_refused_before_it_begins_where_a_folder_lies_on_another_disk(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(dataset)
    monkeypatch.setattr(staging, "_device", lambda folder: int("staged" in str(folder)))
    with pytest.raises(StoreError) as caught:
        add_scores(dataset)
    assert caught.value.code == "mounted-inside"
    monkeypatch.undo()
    assert {path: data for path, data in contents(dataset).items() if "/staged/" not in path} == before
    add_scores(dataset)
    assert [one.state for one in wt.list_columns(dataset)] == ["ok"]


def samples_in(ran: Ran) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, ran.out.splitlines()) if line["type"] == "sample"]


def test_values_are_shown_with_the_samples(dataset: Path) -> None:
    add_scores(dataset, keys=keys_of(dataset)[1:])
    wt.add_columns(dataset, pa.table({"key": keys_of(dataset)[:1], "odd": [math.inf]}), name="more")
    first, second = run_command(
        "head", dataset, "-n", "2", "--columns", "score,people,recaption,vector,odd"
    ).out.splitlines()
    key = keys_of(dataset)[1]
    assert "score=-  people=-  recaption=-  vector=-  odd=inf" in first
    assert f"score={score_of(key):.6g}  people={len(key)}  recaption='again {key}'" in second
    assert "vector=[" in second
    listed = run_command("ls", dataset, "train", "--columns", "all", "--where", "is_good", "--json")
    for line in samples_in(listed):
        assert line["columns"]["score"] == score_of(line["key"]) >= 0.5
        assert line["columns"]["odd"] is None
    assert len(samples_in(listed)) > 1
    (one,) = samples_in(run_command("head", dataset, "-n", "1", "--columns", "odd", "--json"))
    assert one["columns"] == {"odd": "Infinity"}
    infos = wt.head(dataset, 99, columns=["vector", "is_good"])
    assert [info.columns for info in infos[1:]] == [
        {"vector": [score_of(info.key), -1.0, 2.5], "is_good": score_of(info.key) >= 0.5} for info in infos[1:]
    ]
    assert wt.head(dataset, 1)[0].columns is None
    unknown = run_command("ls", dataset, "train", "--columns", "all,scor", "--json")
    assert (unknown.code, unknown.error["code"]) == (2, "column-missing")
    refused = run_command("head", dataset, "--columns", "scor")
    assert (refused.code, "is_good" in refused.err) == (2, True)


def test_a_file_of_columns_is_fetched_up_to_the_size_that_one_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = LocalStore(str(tmp_path)), bytes(100)
    store.put("file", data)
    monkeypatch.setattr(transfer, "MAX_COLUMNS_BYTES", 100)
    assert transfer.fetch_columns(store, "file", sha256_hex(data)) == data
    monkeypatch.setattr(transfer, "MAX_COLUMNS_BYTES", 99)
    with pytest.raises(FormatError) as caught:
        transfer.fetch_columns(store, "file", sha256_hex(data))
    assert (caught.value.code, caught.value.expected) == ("file-too-large", "at most 99 bytes")
