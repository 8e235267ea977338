"""Keys that somebody chose to share a hash: each sample has its own values, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import wdstools as wt
from wdstools.columns.key_rows import KeyRows
from wdstools.formats.index import hashes_of

if TYPE_CHECKING:
    from pathlib import Path

#: Their XXH3-64 is the same.
OLD, NEW = "t8RmOewj", "o6kxfd8"


def write_images(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        color = tuple(hashes_of([f"{name} color"]).view(np.uint8)[:3].tolist())
        Image.new("RGB", (16, 16), color).save(folder / f"{name}.png")
    return folder


def people_in(dataset: Path) -> dict[str, object]:
    return {sample.key: (sample.columns or {})["person"] for sample in wt.head(dataset, 9, columns=["all"])}


def test_a_new_sample_does_not_get_the_values_of_an_old_one(tmp_path: Path) -> None:
    wt.pack(write_images(tmp_path / "old", OLD, "other"), tmp_path / "first", shards=1)
    wt.add_columns(tmp_path / "first", pa.table({"key": [OLD, "other"], "person": ["Ada", "Bob"]}), name="people")
    wt.append(tmp_path / "first", write_images(tmp_path / "new", NEW, "plain"), output=tmp_path / "second")
    assert people_in(tmp_path / "second") == {OLD: "Ada", "other": "Bob", NEW: None, "plain": None}


@pytest.mark.parametrize("rows", [(OLD, NEW, "other", OLD), (NEW, "other"), ("other", NEW, NEW, OLD, "nobody")])
def test_both_samples_get_their_rows_and_keep_them(tmp_path: Path, rows: tuple[str, ...]) -> None:
    wt.pack(write_images(tmp_path / "old", OLD, NEW, "other"), tmp_path / "first", shards=1)
    table = pa.table({"key": list(rows), "person": [f"p-{key}" for key in rows]})
    added = wt.add_columns(tmp_path / "first", table, name="people")
    assert isinstance(added, wt.ColumnsResult)
    there = {OLD, NEW, "other"}
    assert (added.covered, added.absent) == (len(set(rows) & there), len(set(rows) - there))
    wanted = {key: f"p-{key}" if key in rows else None for key in there}
    assert people_in(tmp_path / "first") == wanted
    wt.remove(tmp_path / "first", wt.Selection(keys=frozenset({"other"})), output=tmp_path / "second")
    assert people_in(tmp_path / "second") == {key: wanted[key] for key in (OLD, NEW)}


def test_rows_are_told_apart_by_their_keys() -> None:
    keys = ["a", OLD, "b", NEW, "a", NEW, OLD]
    asked: list[str] = []

    def keys_at(rows: np.typing.NDArray[np.int64]) -> list[str]:
        asked.extend(found := [keys[row] for row in rows.tolist()])
        return found

    known = KeyRows(hashes_of(keys), keys_at)
    assert known.first_of.tolist() == [0, 1, 2, 3, 0, 3, 1]
    assert "b" not in asked
    wanted = [NEW, "c", "b", OLD, "a"]
    assert known.find(hashes_of(wanted), lambda at: [wanted[row] for row in at]).tolist() == [3, -1, 2, 1, 0]
    assert KeyRows(hashes_of([]), keys_at).find(hashes_of(wanted), keys_at).tolist() == [-1] * 5
