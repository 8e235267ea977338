"""Columns of a dataset in an object store are removed: whoever is killed or comes at the same time, no set is lost or left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import pack_cities
from tests.support.killed import KilledError
from wdstools.columns import kept
from wdstools.columns.sets import read_sums
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import BusyError, UsageError
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable


class Bucket(MemoryStore):
    """A bucket in which somebody acts before the removal of an object, once."""

    act: Callable[[], object] | None = None

    @property
    def url(self) -> str:
        """As that of a bucket."""
        return "s3://bucket/cities"

    def delete(self, key: str) -> None:
        """Remove an object."""
        act, self.act = self.act, None
        if act is not None:
            act()
        super().delete(key)


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=6, val=2)


@pytest.fixture(name="bucket")
def _bucket(packed: Path) -> Bucket:
    bucket = Bucket()
    for path in packed.rglob("*"):
        if path.is_file():
            bucket.put(str(path.relative_to(packed)), path.read_bytes())
    return bucket


@pytest.fixture(name="dataset")
def _dataset(packed: Path, bucket: Bucket) -> Dataset:
    dataset = replace(open_dataset(packed), metadata=bucket, shards=bucket)
    add(dataset, "s")
    return dataset


def add(dataset: Dataset, name: str, value: float = 1.0) -> None:
    keys = [key for split in dataset.splits for key in dataset[split].keys()]  # noqa: SIM118  a split is no mapping
    wt.add_columns(dataset, pa.table({"key": keys, f"of_{name}": [value] * len(keys)}), name=name)


def states(dataset: Dataset) -> dict[str, str]:
    return {one.name: one.state for one in wt.list_columns(dataset)}


def files(bucket: Bucket, name: str) -> list[str]:
    return [info.key for info in bucket.list(f".wdstools/columns/{name}")]


def test_a_set_that_comes_while_the_last_one_goes_stays(dataset: Dataset, bucket: Bucket) -> None:
    bucket.act = lambda: add(dataset, "t")
    with pytest.raises(BusyError):
        wt.remove_columns(dataset, "s")
    assert states(dataset)["t"] == "ok"
    wt.remove_columns(dataset, "s")  # the hint says so
    assert (states(dataset), files(bucket, "s")) == ({"t": "ok"}, [])
    assert wt.verify(dataset).ok


def test_a_set_is_not_added_while_it_goes(dataset: Dataset, bucket: Bucket) -> None:
    def again() -> None:
        with pytest.raises(UsageError) as caught:
            add(dataset, "s")
        assert caught.value.code == "columns-taken"

    add(dataset, "t")
    bucket.act = again
    wt.remove_columns(dataset, "s")
    assert (states(dataset), files(bucket, "s")) == ({"t": "ok"}, [])
    assert wt.verify(dataset).ok
    add(dataset, "s")
    assert states(dataset) == {"s": "ok", "t": "ok"}


def test_a_removal_that_is_killed_is_seen_and_goes_on(dataset: Dataset, bucket: Bucket) -> None:
    add(dataset, "t")

    def die() -> None:
        raise KilledError

    one, *_ = (path for path in files(bucket, "s/"))
    bucket.delete(one)  # the first is gone
    bucket.act = die
    with pytest.raises(KilledError):
        wt.remove_columns(dataset, "s")
    assert not wt.verify(dataset).ok
    wt.remove_columns(dataset, "s")
    add(dataset, "s", 2.0)
    assert states(dataset) == {"s": "ok", "t": "ok"}
    assert wt.verify(dataset).ok


def test_what_the_cache_has_of_a_set_goes_with_it(
    dataset: Dataset, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    add(dataset, "t")
    cached = {path: Path(kept.folder(), f"{dataset.root}-{digest}-x.v1") for path, digest in read_sums(bucket).items()}
    Path(kept.folder()).mkdir(parents=True)
    for path, file in cached.items():
        file.write_text(path)
    wt.remove_columns(dataset, "s")
    assert {path for path, file in cached.items() if file.exists()} == read_sums(bucket).keys()
