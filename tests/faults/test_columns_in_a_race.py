"""Columns that change between a plan and its application: nothing is dropped, doubled, or removed that no plan named."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, pack_cities, values_of
from tests.support.outcome import contents
from wdstools.columns.sets import find_fields
from wdstools.errors import FormatError, StoreError, UsageError
from wdstools.landing import staging
from wdstools.ops.remove import plan_remove
from wdstools.plan import apply
from wdstools.reader.select import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = ".wdstools/columns"


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=4, val=2)


@pytest.fixture(name="dataset")
def _dataset(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "a dataset"))


def table(dataset: Path, field: str = "score", value: int = 1) -> pa.Table:
    keys = keys_of(dataset)
    return pa.table({"key": keys, field: [value] * len(keys)})


def test_a_set_that_was_added_after_the_plan_is_not_dropped(dataset: Path) -> None:
    plan = plan_remove(str(dataset), Selection(keys=frozenset(keys_of(dataset)[:1])))
    wt.add_columns(dataset, table(dataset), name="late")
    before = contents(dataset)
    with pytest.raises(StoreError) as caught:
        apply(plan)
    assert caught.value.code == "dataset-replaced"
    assert contents(dataset) == before


def test_a_field_does_not_come_into_two_sets(dataset: Path) -> None:
    plan = wt.plan_add_columns(dataset, table(dataset), name="one")
    wt.add_columns(dataset, table(dataset), name="other")
    before = contents(dataset)
    with pytest.raises(UsageError) as caught:
        apply(plan)
    assert caught.value.code == "columns-name"
    assert contents(dataset) == before


def test_another_set_of_the_name_is_not_removed(dataset: Path) -> None:
    wt.add_columns(dataset, table(dataset), name="s")
    plan = wt.plan_remove_columns(dataset, "s")
    wt.remove_columns(dataset, "s")
    wt.add_columns(dataset, table(dataset, value=2), name="s")
    before = contents(dataset)
    with pytest.raises(StoreError) as caught:
        apply(plan)
    assert caught.value.code == "dataset-replaced"
    assert contents(dataset) == before


def test_the_list_goes_before_what_it_lists(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wt.add_columns(dataset, table(dataset), name="0s")
    unlink = staging._unlink
    gone: list[str] = []

    def noted(path: str) -> None:
        gone.append(Path(path).name)
        unlink(path)

    monkeypatch.setattr(staging, "_unlink", noted)
    wt.remove_columns(dataset, "0s")
    assert (gone[0], len(gone)) == ("SHA256SUMS", 4)


def test_a_damaged_set_stops_no_field_of_another(dataset: Path) -> None:
    wt.add_columns(dataset, table(dataset), name="good")
    wt.add_columns(dataset, table(dataset, "bad"), name="a-bad")
    (dataset / FOLDER / "a-bad.json").write_text("{}")
    assert list(find_fields(wt.open_dataset(dataset), ["score"])) == ["score"]
    with pytest.raises(FormatError) as caught:
        find_fields(wt.open_dataset(dataset), ["bad"])
    assert caught.value.code == "columns-damaged"


@pytest.mark.parametrize("count", [1, 20_000])
def test_the_row_without_a_key_is_named_by_its_number(dataset: Path, count: int) -> None:
    keys: Sequence[str | None] = ["x"] * count + [None]
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, pa.table({"key": keys, "score": [1] * (count + 1)}), name="s")
    assert caught.value.where.endswith(f"row {count + 1}")


def test_commands_in_hints_can_be_run_as_they_are(dataset: Path) -> None:
    wt.add_columns(dataset, table(dataset), name="s")
    with pytest.raises(UsageError) as caught:
        wt.add_columns(dataset, table(dataset, "other"), name="s")
    assert f"rm '{dataset}' s" in caught.value.hint
    next((dataset / FOLDER / "s").iterdir()).unlink()
    with pytest.raises(FormatError) as missing:
        values_of(dataset, "s")
    assert f"'{dataset}' s" in missing.value.hint
