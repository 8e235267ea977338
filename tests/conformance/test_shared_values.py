"""What every item of work holds goes to a worker once: items are small however large the dataset is."""

from __future__ import annotations

import ast
import pickle
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.came import came
from tests.support.syntax import modules
from wdstools.checks.metadata import IndexCheckTask
from wdstools.checks.remote import RemoteCheckTask
from wdstools.checks.shard import ShardCheckTask
from wdstools.dataset import Dataset
from wdstools.errors import UsageError
from wdstools.executors.afar import elsewhere
from wdstools.executors.processes import Processes
from wdstools.executors.shared import SharedValues
from wdstools.foreign.shard import ForeignShardTask
from wdstools.formats.columns import ColumnSet
from wdstools.formats.manifest import Manifest, ShardEntry, shard_path
from wdstools.images.rules import ImageRules
from wdstools.interop.tarindexes import OffsetsTask
from wdstools.landing.homes import BucketHome, DiskHome
from wdstools.reader.hashes import HashPlace, PrintTask, library_versions
from wdstools.reader.select import Selection
from wdstools.sources.readers import FolderOpener
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.transfer.choose import ChooseTask
from wdstools.transfer.compare import Wanted
from wdstools.transfer.download import PullTask
from wdstools.transfer.seeds import Seeds
from wdstools.transfer.upload import UploadTask
from wdstools.writer.assembly import ShardSettings
from wdstools.writer.shard import ShardTask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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


def tasks_of(dataset: Dataset) -> list[object]:
    """One item of each kind of work that is done for every shard."""
    keys = Selection(keys=frozenset(f"key/{number}" for number in range(1_000)))
    bucket = remote(MemoryStore())
    wanted = Wanted(ENTRY.path, ENTRY.bytes, {"sha256": ENTRY.sha256})
    return [
        ShardCheckTask(dataset, "train", ENTRY, "size", "xxh3_128"),
        RemoteCheckTask(dataset, ENTRY, None, None),
        IndexCheckTask(dataset, "train", ENTRY, None),
        PrintTask(dataset, ENTRY, HashPlace(LocalStore("/hashes"), cached=True), library_versions()),
        ChooseTask(dataset, "train", ENTRY, keys, 1),
        PullTask(dataset, "train", ENTRY, "/folder", 1, seeds=Seeds([])),
        UploadTask(dataset, bucket, wanted, believed=True),
        OffsetsTask(dataset, ENTRY, "dali"),
        ForeignShardTask(LocalStore("/tars"), LocalStore("/manifest"), ENTRY.path, "train", "tar", "xxh3"),
    ]


@pytest.mark.parametrize("shards", [100, 10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_an_item_of_work_is_small_however_many_shards_there_are(shards: int) -> None:
    dataset = make_dataset(shards)
    values = SharedValues()
    for task in came(tasks_of(dataset)):
        data, _ = values.dumps((print, 0, task))
        assert len(data) < 4096
    data, needed = values.dumps((print, 0, tasks_of(dataset)[0]))
    assert needed == [values.digest(dataset.manifest)]
    assert len(list(values.unsent("worker", needed))) == 1
    assert list(values.unsent("worker", needed)) == []
    assert len(list(values.unsent("another", needed))) == 1


def test_every_class_that_holds_a_path_of_this_machine_says_so() -> None:
    """A worker may have another working folder: what is not said stays relative, and means another place there."""
    silent = []
    for _, _, nodes in modules():
        for node in nodes:
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Task", "Settings", "Opener")):
                fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
                names = {ast.unparse(part.target) for part in fields if ast.unparse(part.annotation) == "str"}
                said = next((ast.unparse(part) for part in fields if "local_paths" in ast.unparse(part.target)), "")
                silent += [
                    f"{node.name}.{name}" for name in names & {"folder", "root", "work", "where"} if name not in said
                ]
    assert silent == []


def test_a_path_is_absolute_where_it_travels_far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    near, far = SharedValues(), SharedValues(partial(elsewhere, shared_disk=True, seen=lambda _: True))
    settings = ShardSettings(FolderOpener("images"), ("jpg",), (), "", ImageRules(), fail=False, started_ns=0)
    task = ShardTask(settings, DiskHome("out.partial", b"", own=True), "train", 0, b"")
    (_, same), (_, made) = (pickle.loads(values.dumps((0, task))[0]) for values in (near, far))  # noqa: S301
    assert same == task
    assert (made.home.root, made.settings.opener.path) == (str(tmp_path / "out.partial"), str(tmp_path / "images"))
    for once in (
        BucketHome(remote(LocalStore("/bucket")), "plan", b"key", conditions=True),
        ColumnSet("s", "0", (), ()),
    ):
        _, needed = near.dumps((0, once))
        assert near.digest(once) in needed  # it goes to a worker once, not with each shard
    apart = SharedValues(partial(elsewhere, shared_disk=False, seen=lambda path: path == "/seen"))
    for path in ("out.partial", "/unseen"):
        with pytest.raises(UsageError) as caught:
            apart.dumps(LocalStore(path))
        assert caught.value.code == "path-not-shared"
        assert caught.value.hint
    assert pickle.loads(apart.dumps(LocalStore("/seen"))[0]).path == "/seen"  # noqa: S301


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
