"""Columns that are there already, with new values: replaced, updated, or filled in where they are missing; whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import add_scores, keys_of, score_of, values_of
from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.outcome import contents
from wdstools.errors import StoreError, UsageError
from wdstools.landing import staging

LIST = ".wdstools/columns/SHA256SUMS"


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("again")
    wt.pack(write_city_pairs(work / "source", train=12, val=4), work / "packed", shard_samples=4, name="cities")
    return work / "packed"


@pytest.fixture(name="dataset")
def _dataset(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "dataset"))


def checked(dataset: Path, name: str = "scores") -> dict[str, dict[str, Any]]:
    """What the set holds, once its files are those of the list."""
    subprocess.run(["sha256sum", "--strict", "-c", LIST], cwd=dataset, check=True, capture_output=True)
    there = {path for path in contents(dataset) if path.startswith(".wdstools/columns/")}
    assert there == {line.split("  ")[1] for line in (dataset / LIST).read_text().splitlines()} | {LIST}
    return values_of(dataset, name)


def new_values(keys: list[str]) -> pa.Table:
    return pa.table({"key": keys, "score": [9.0] * len(keys), "extra": [f"x {key}" for key in keys]})


def test_an_update_changes_the_samples_of_the_table_and_nothing_else(dataset: Path) -> None:
    add_scores(dataset)
    before, keys = values_of(dataset, "scores"), keys_of(dataset)
    files = {path: path.stat().st_ino for path in (dataset / ".wdstools/columns/scores").iterdir()}
    wt.add_columns(dataset, new_values(keys[:1]).drop_columns("extra"), name="scores", existing="update")
    found = checked(dataset)
    assert found == {key: {**values, **({"score": 9.0} if key == keys[0] else {})} for key, values in before.items()}
    assert sum(path.stat().st_ino != inode for path, inode in files.items()) == 1  # the others were not written anew
    wt.add_columns(dataset, new_values(keys[:3]), name="scores", existing="update")
    for number, (key, values) in enumerate(checked(dataset).items()):
        new: dict[str, Any] = {"score": 9.0, "extra": f"x {key}"} if number < 3 else {"extra": None}
        assert values == {**before[key], **new}
    assert wt.verify(dataset).ok


def test_values_that_are_missing_are_filled_in_and_the_others_stay(dataset: Path) -> None:
    keys = keys_of(dataset)
    add_scores(dataset, keys=keys[::2])
    before = values_of(dataset, "scores")
    wt.add_columns(dataset, new_values(keys[:5]), name="scores", existing="fill")
    found = checked(dataset)
    assert list(found) == keys
    for number, (key, values) in enumerate(found.items()):
        new: dict[str, Any] = {"extra": f"x {key}" if number < 5 else None}
        new |= {"score": 9.0} if number < 5 and number % 2 else {}
        assert values == {**before[key], **new}


def test_a_replaced_set_has_nothing_of_the_old_one(dataset: Path) -> None:
    add_scores(dataset)
    keys = keys_of(dataset)
    loader = wt.open_dataset(dataset)
    assert len(list(wt.head(loader, 99, where="people > 0"))) == 16
    wt.add_columns(loader, new_values(keys), name="scores", existing="replace")
    assert checked(dataset) == {key: {"score": 9.0, "extra": f"x {key}"} for key in keys}
    assert len(list(wt.head(loader, 99, where="score == 9 and len(extra) > 2"))) == 16  # the open dataset sees it
    with pytest.raises(UsageError):
        wt.head(loader, 1, where="people > 0")


@pytest.mark.parametrize("existing", ["replace", "update", "fill"])
def test_where_no_set_is_there_it_is_added(dataset: Path, existing: Any) -> None:
    wt.add_columns(dataset, new_values(keys_of(dataset)[:2]), name="scores", existing=existing)
    assert sum(values["score"] == 9.0 for values in checked(dataset).values()) == 2


def test_new_samples_get_their_values_after_an_append(dataset: Path, tmp_path: Path) -> None:
    add_scores(dataset)
    old = keys_of(dataset)
    more = write_city_pairs(tmp_path / "more", train=20, val=4)
    wt.append(dataset, more)
    new = [key for key in keys_of(dataset) if key not in old]
    assert new
    ran = run_command(
        "columns", "add", dataset, csv_of(tmp_path / "scores.csv", new), "-y", "--existing", "update", "--json"
    )
    assert (ran.code, ran.summary["change"], ran.summary["covered"]) == (0, "updated", len(new))
    assert {key: values["score"] for key, values in checked(dataset).items()} == {
        key: 0.5 if key in new else score_of(key) for key in keys_of(dataset)
    }


def test_empty_cells_of_a_table_of_text_are_of_any_type(dataset: Path, tmp_path: Path) -> None:
    add_scores(dataset)
    before, key = values_of(dataset, "scores"), keys_of(dataset)[0]
    table = tmp_path / "empty.csv"
    table.write_text(f"key,score,people,vector,recaption\n{key},,,,new\n")
    wt.add_columns(dataset, table, name="scores", existing="fill")
    assert checked(dataset) == before
    wt.add_columns(dataset, table, name="scores", existing="update")
    empty = {"score": None, "people": None, "vector": None, "recaption": "new"}
    assert checked(dataset) == {**before, key: {**before[key], **empty}}


def csv_of(path: Path, keys: list[str]) -> Path:
    path.write_text("key,score\n" + "".join(f"{key},0.5\n" for key in keys))
    return path


CALLS: list[str] = []


def size_of(sample: wt.Sample) -> dict[str, int]:
    CALLS.append(sample.key)
    return {"size": len(sample["jpg"])}


def test_only_samples_without_a_value_are_computed(dataset: Path, tmp_path: Path) -> None:
    wt.map_columns(dataset, size_of, columns={"size": "int64"}, name="sizes")
    before = values_of(dataset, "sizes")
    wt.append(dataset, write_city_pairs(tmp_path / "more", train=20, val=4))
    CALLS.clear()
    result = wt.map_columns(dataset, size_of, columns={"size": "int64"}, name="sizes", existing="fill")
    assert isinstance(result, wt.ColumnsResult)
    assert sorted(CALLS) == sorted(key for key in keys_of(dataset) if key not in before)
    assert result.change == "updated"
    found = checked(dataset, "sizes")
    assert all(values["size"] > 0 for values in found.values())
    assert found | before == found
    CALLS.clear()
    wt.map_columns(dataset, size_of, columns={"size": "int64"}, name="sizes", existing="fill")
    assert (CALLS, checked(dataset, "sizes")) == ([], found)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"score": ["high"]}, "float32"),
        ({"score": [1e300]}, ""),
        ({"people": [0.5]}, ""),
        ({"vector": [[1.0, 2.0]]}, "float32[3]"),
        ({"is_good": [1]}, "bool"),
    ],
)
def test_values_of_another_type_do_not_come_into_a_set(dataset: Path, column: dict[str, Any], expected: str) -> None:
    add_scores(dataset)
    before = contents(dataset)
    table = pa.table({"key": keys_of(dataset)[:1], **column})
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, table, name="scores", existing="update")
    assert caught.value.code == "columns-unsupported"
    assert expected in caught.value.expected
    assert contents(dataset) == before


def test_columns_of_another_version_are_replaced_and_never_updated(dataset: Path, packed: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    wt.remove(packed, wt.Selection(keys=frozenset(keys_of(packed)[:1])), output=other)
    add_scores(other)
    shutil.copytree(other / ".wdstools/columns", dataset / ".wdstools/columns")
    for existing in ("update", "fill"):
        with pytest.raises(UsageError) as caught:
            wt.add_columns(dataset, new_values(keys_of(dataset)), name="scores", existing=existing)
        assert caught.value.code == "columns-stale"
    wt.add_columns(dataset, new_values(keys_of(dataset)), name="scores", existing="replace")
    assert len(checked(dataset)) == 16


def test_a_damaged_set_is_replaced_but_for_files_that_are_not_its_own(dataset: Path) -> None:
    add_scores(dataset)
    document = dataset / ".wdstools/columns/scores.json"
    document.write_bytes(document.read_bytes()[:-9])
    mine = dataset / ".wdstools/columns/scores/train-000001.parquet"
    mine.write_bytes(b"mine")
    with pytest.raises(StoreError) as caught:
        wt.add_columns(dataset, new_values(keys_of(dataset)), name="scores", existing="replace")
    assert (caught.value.code, mine.read_bytes()) == ("file-in-the-way", b"mine")
    mine.unlink()
    wt.add_columns(dataset, new_values(keys_of(dataset)), name="scores", existing="replace")
    assert len(checked(dataset)) == 16


def test_a_set_that_changed_since_the_plan_is_left_as_it_is(dataset: Path) -> None:
    add_scores(dataset)
    keys = keys_of(dataset)
    plan = wt.plan_add_columns(dataset, new_values(keys), name="scores", existing="update")
    wt.add_columns(dataset, new_values(keys[:4]), name="scores", existing="update")
    before = contents(dataset)
    with pytest.raises(StoreError) as caught:
        wt.apply(plan)
    assert caught.value.code == "dataset-replaced"
    assert contents(dataset) == before


@pytest.mark.parametrize("at", [0, 2, 5])
def test_an_update_that_is_cut_short_is_finished_by_the_next_command(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    add_scores(dataset)
    keys, left = keys_of(dataset), [at]
    real = staging._move_in

    def moves(*given: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        real(*given)

    monkeypatch.setattr(staging, "_move_in", moves)
    with pytest.raises(KeyboardInterrupt):
        wt.add_columns(dataset, new_values(keys), name="scores", existing="update")
    monkeypatch.undo()
    assert isinstance(wt.add_columns(dataset, new_values(keys), name="scores", existing="update"), wt.FinishResult)
    assert all(values["score"] == 9.0 and values["people"] == len(key) for key, values in checked(dataset).items())
