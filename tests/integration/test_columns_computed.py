"""map_columns: a value for each sample whatever works on it, shards that were finished once, and errors of the function told as its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, values_of
from tests.support.city_pairs import write_city_pairs
from tests.support.outcome import contents
from wdstools.errors import BusyError, UsageError

KINDS = {"size": "int64", "half": "float32", "text": "string", "pair": "float32[2]", "long": "bool"}


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("columns")
    wt.pack(write_city_pairs(work / "source", train=12, val=4), work / "packed", shard_samples=4, name="cities")
    return work / "packed"


@pytest.fixture(name="dataset")
def _dataset(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "dataset"))


def values(sample: wt.Sample) -> dict[str, Any] | None:
    """Some of each type; nothing of a sample whose caption is short."""
    text = sample["txt"].decode()
    if len(text) < 20:
        return None
    size = len(sample["jpg"])
    return {
        "size": size,
        "half": np.float64(size) / 2,
        "text": text[:4],
        "pair": [size, -1],
        "long": np.bool_(len(text) > 99),
    }


def many(samples: list[wt.Sample]) -> dict[str, Any]:
    """The sizes of some samples at once."""
    assert 1 <= len(samples) <= 3
    return {"size": np.array([len(sample["jpg"]) for sample in samples])}


def whole(dataset: Path) -> dict[str, dict[str, Any]]:
    """What the function gives of each sample."""
    opened = wt.open_dataset(dataset)
    return {key: values(opened.sample(key)) or dict.fromkeys(KINDS) for key in keys_of(dataset)}


@pytest.mark.parametrize("kind", ["serial", "threads", "processes"])
def test_every_sample_has_what_the_function_gives(dataset: Path, kind: Any) -> None:
    executor = wt.open_executor(kind, 2)
    try:
        result = wt.map_columns(dataset, values, columns=KINDS, name="made", executor=executor)
    finally:
        executor.close()
    assert isinstance(result, wt.ColumnsResult)
    assert (result.samples, dict(result.fields)) == (16, dict(sorted(KINDS.items())))
    assert values_of(dataset, "made") == whole(dataset)
    assert wt.verify(dataset).ok
    assert not (dataset / ".wdstools/computing").exists()


def test_samples_may_come_in_batches(dataset: Path) -> None:
    wt.map_columns(dataset, many, columns={"size": "int64"}, name="sizes", batch_size=3)
    opened = wt.open_dataset(dataset)
    assert values_of(dataset, "sizes") == {key: {"size": len(opened.sample(key)["jpg"])} for key in keys_of(dataset)}


def test_what_was_finished_is_not_computed_again(dataset: Path) -> None:
    before = contents(dataset)
    seen: list[str] = []
    stop = [9]

    def counted(sample: wt.Sample) -> dict[str, Any]:
        if len(seen) == stop[0]:
            raise KeyboardInterrupt
        seen.append(sample.key)
        return {"size": len(sample["jpg"])}

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            wt.map_columns(dataset, counted, columns={"size": "int64"}, name="sizes")
        assert {path: data for path, data in contents(dataset).items() if "/computing/" not in path} == before
        assert wt.list_columns(dataset) == ()
        stop[0] = len(seen) + 1
    stop[0] = -1
    wt.map_columns(dataset, counted, columns={"size": "int64"}, name="sizes")
    assert set(values_of(dataset, "sizes")) == set(seen)
    first = next(iter(wt.open_dataset(dataset).manifest.shards))[1].samples
    assert all(seen.count(key) == 1 for key in seen[:first])
    assert len(seen) < 32
    assert not (dataset / ".wdstools/computing").exists()


def test_other_columns_of_a_name_that_was_begun_need_a_word(dataset: Path) -> None:
    done: list[str] = []

    def breaks(sample: wt.Sample) -> dict[str, Any]:
        done.append(sample.key)
        if len(done) > 8:
            raise KeyboardInterrupt
        return {"size": 1}

    with pytest.raises(KeyboardInterrupt):
        wt.map_columns(dataset, breaks, columns={"size": "int64"}, name="made")
    with pytest.raises(BusyError) as caught:
        wt.map_columns(dataset, values, columns=KINDS, name="made")
    assert caught.value.code == "partial-of-other-plan"
    wt.map_columns(dataset, values, columns=KINDS, name="made", restart=True)
    assert values_of(dataset, "made") == whole(dataset)


def fails(sample: wt.Sample) -> dict[str, Any]:
    """A mistake of its author."""
    return {"size": len(sample["jpg"]) // 0}


@pytest.mark.parametrize("kind", ["serial", "processes"])
def test_an_error_of_the_function_is_told_as_its_own(dataset: Path, kind: Any) -> None:
    before = contents(dataset)
    executor = wt.open_executor(kind, 2)
    try:
        with pytest.raises(UsageError) as caught:
            wt.map_columns(dataset, fails, columns={"size": "int64"}, name="made", executor=executor)
    finally:
        executor.close()
    assert caught.value.code == "function-failed"
    assert "fails, sample " in caught.value.where
    assert "ZeroDivisionError" in caught.value.got
    assert f"{Path(__file__).name}, line " in caught.value.got
    assert contents(dataset) == before


def test_a_function_that_other_processes_cannot_import_is_refused(dataset: Path) -> None:
    executor = wt.open_executor("processes", 2)
    try:
        with pytest.raises(UsageError) as caught:
            wt.map_columns(dataset, lambda _: {"x": 1}, columns={"x": "int64"}, name="made", executor=executor)
    finally:
        executor.close()
    assert caught.value.code == "function-unnamed"


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *(("int64", value) for value in (1.5, "x", True, 2**63, [1, 2], b"x")),
        *(("float32", value) for value in ("1", [1.0, 2.0], object())),
        *(("bool", value) for value in (1, "True", [True, False])),
        *(("string", value) for value in (1, b"x", "\ud800")),
        *(("float32[2]", value) for value in ([1.0], [1.0, "x"], 3, [[1, 2], [3, 4]])),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_sample(dataset: Path, kind: str, given: Any) -> None:
    with pytest.raises(UsageError) as caught:
        wt.map_columns(dataset, lambda _: {"x": given}, columns={"x": kind}, name="made")
    assert caught.value.code == "columns-unsupported"
    assert "x, sample " in caught.value.where


@pytest.mark.parametrize(
    "columns", [{}, ["x"], {"x": "int32"}, {"x": "float32[0]"}, {"jpg": "int64"}, {"a b": "int64"}, {1: "bool"}]
)
def test_columns_are_declared_with_names_and_types(dataset: Path, columns: Any) -> None:
    with pytest.raises(UsageError):
        wt.map_columns(dataset, values, columns=columns, name="made")
