"""What every item of work holds goes to a worker once: items are small however large the dataset is."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from wdstools.checks.metadata import IndexCheckTask
from wdstools.checks.shard import ShardCheckTask
from wdstools.dataset import Dataset
from wdstools.executors.processes import Processes
from wdstools.executors.shared import SharedValues
from wdstools.formats.manifest import Manifest, ShardEntry, shard_path
from wdstools.reader.select import Selection
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.executors.base import Tick

ENTRY = ShardEntry(
    path=shard_path("train", 0), bytes=10_240, samples=0, sha256="0" * 64, xxh3_128="0" * 32, crc32c="0" * 8,
    crc64nvme="0" * 16, rows="0" * 64,
)  # fmt: skip


def make_dataset(shards: int) -> Dataset:
    """A dataset that is nowhere, of so many shards."""
    entries = tuple(replace(ENTRY, path=shard_path("train", number)) for number in range(shards))
    manifest = Manifest(name="x", version=1, labels=(), members=("jpg",), seed=0, splits={"train": entries})
    store = LocalStore("/nowhere/at/all")
    return Dataset(manifest, "0" * 64, store, store)


@pytest.mark.parametrize("shards", [100, 10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_an_item_of_work_is_small_however_many_shards_there_are(shards: int) -> None:
    dataset = make_dataset(shards)
    values = SharedValues()
    for task in (
        ShardCheckTask(dataset, "train", ENTRY, "size", "xxh3_128"),
        IndexCheckTask(dataset, "train", ENTRY, None),
    ):
        data, needed = values.dumps((print, 0, task))
        assert len(data) < 4096
        assert needed == [values.digest(dataset.manifest)]
    assert len(list(values.unsent("worker", needed))) == 1
    assert list(values.unsent("worker", needed)) == []
    assert len(list(values.unsent("another", needed))) == 1


def names_of(dataset: Dataset, tick: Tick) -> tuple[str, int]:
    """What a worker sees of a dataset."""
    tick(1)
    return dataset.manifest.name, id(dataset.manifest)


@pytest.fixture(name="processes")
def _processes() -> Iterator[Processes]:
    made = Processes(2)
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore:.*use of fork.*may lead to deadlocks:DeprecationWarning")
def test_a_worker_keeps_what_has_come(processes: Processes) -> None:
    first, second = make_dataset(3), make_dataset(3)
    second = replace(second, manifest=replace(second.manifest, name="y"))
    items = [first, second] * 10
    outcomes = sorted(processes.map(names_of, iter(items)), key=lambda outcome: outcome.index)
    found = [outcome.result() for outcome in outcomes]
    assert [name for name, _ in found] == ["x", "y"] * 10
    assert len({place for name, place in found if name == "x"}) <= 2  # one a worker
    again = [outcome.result() for outcome in processes.map(names_of, [first])]
    assert again[0] in found


def test_elsewhere_shared_values_are_pickled_as_ever() -> None:
    for value in (make_dataset(2).manifest, Selection(keys=frozenset({"a"}))):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301
