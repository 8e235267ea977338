"""A change of columns in an object store fails while its files are moved: no value is lost, and there is a way on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of
from tests.support.city_pairs import tiny_jpeg
from tests.support.failing_bucket import FailingBucket, dataset_in
from tests.support.killed import KilledError
from tests.support.outcome import contents
from wdstools.errors import StoreError, UsageError
from wdstools.landing.staging import FinishResult
from wdstools.reader.shard import ShardReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with two shards that have no samples."""
    work = tmp_path_factory.mktemp("columns")
    source = work / "source/train"
    source.mkdir(parents=True)
    for number in range(8):
        (source / f"{number}.jpg").write_bytes(tiny_jpeg(number))
        (source / f"{number}.txt").write_text(f"city {number}")
    wt.pack(source.parent, work / "first", shards=4)
    first = wt.open_dataset(work / "first")
    for _, entry in [*first.manifest.shards][1:3]:
        for key in ShardReader(first, entry).keys:
            (source / f"{key}.jpg").write_bytes(b"no image")
    wt.pack(source.parent, work / "packed", shards=4)
    return work / "packed"


def table(packed: Path, value: int) -> pa.Table:
    keys = keys_of(packed)
    return pa.table({"key": keys, "a": [value] * len(keys)})


def put(bucket: FailingBucket, packed: Path, value: int, **named: Any) -> Any:
    return wt.add_columns(dataset_in(bucket, packed), table(packed, value), name="n", **named)


def waiting(bucket: FailingBucket) -> list[str]:
    return [key for key in held_for_columns(bucket) if not is_note(key)]


def held_for_columns(bucket: FailingBucket) -> list[str]:
    """What lies where files of sets wait, with the notes whose they are."""
    return [key for key in bucket.contents() if key.startswith(".wdstools/columns-next/")]


def is_note(key: str) -> bool:
    return "/ours-" in key


def test_shards_without_samples_have_equal_files_and_each_is_moved(packed: Path) -> None:
    old = FailingBucket(contents(packed))
    put(old, packed, 1)
    wanted = FailingBucket(contents(packed))
    wanted_table = table(packed, 1).append_column("b", pa.array([2] * len(keys_of(packed))))
    wt.add_columns(dataset_in(wanted, packed), wanted_table, name="n")
    more = table(packed, 2).rename_columns(["key", "b"])
    for steps in range(0, 99, 3):
        bucket = FailingBucket(old.contents())
        left = iter(range(steps))

        def count(_: str, left: Any = left) -> None:
            if next(left, None) is None:
                raise KilledError

        bucket.act = count
        try:
            result = wt.add_columns(dataset_in(bucket, packed), more, name="n", existing="update")
        except KilledError:
            bucket.act = lambda _: None
            result = None
        killed = result is None
        while result is None or isinstance(result, FinishResult):
            result = wt.add_columns(dataset_in(bucket, packed), more, name="n", existing="update")
        assert bucket.contents() == wanted.contents()
        if not killed:
            break
    assert steps > 6


@pytest.mark.parametrize("error", [StoreError("the server is away", code="unavailable"), KilledError()])
def test_what_the_list_names_stays_when_a_computed_change_fails_while_it_is_moved(
    packed: Path, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bucket, lock = FailingBucket(contents(packed)), threading.Lock()
    put(bucket, packed, 1)

    def value(_: wt.Sample) -> dict[str, int]:
        with lock:  # nobody can tell this function from another
            return {"a": 2}

    def fail(key: str) -> None:
        if key.endswith("columns/n/train-000003.parquet"):
            raise error

    bucket.act = fail
    with pytest.raises(type(error)):
        wt.map_columns(dataset_in(bucket, packed), value, columns={"a": "int64"}, name="n", existing="replace")
    bucket.act = lambda _: None
    assert {found.cause for found in wt.verify(dataset_in(bucket, packed)).findings} == {"change-unfinished"}
    assert isinstance(wt.remove_columns(dataset_in(bucket, packed), "n"), FinishResult)
    assert wt.verify(dataset_in(bucket, packed)).ok
    assert not waiting(bucket)


def test_columns_of_another_version_of_the_dataset_are_refused(packed: Path, tmp_path: Path) -> None:
    bucket = FailingBucket(contents(packed))
    plan = wt.plan_add_columns(dataset_in(bucket, packed), table(packed, 1), name="n")
    wt.pack(packed.parent / "source", tmp_path / "next", shards=4, version=2)
    for path, data in contents(tmp_path / "next").items():
        bucket.put(path, data)
    before = bucket.contents()
    with pytest.raises(StoreError) as caught:
        wt.apply(plan)
    assert caught.value.code == "dataset-replaced"
    assert bucket.contents() == before


def failing_at(last: str, value: int) -> Callable[[wt.Sample], dict[str, int]]:
    def compute(sample: wt.Sample) -> dict[str, int]:
        if sample.key == last:
            raise RuntimeError("cannot")
        return {"a": value}

    return compute


def test_what_was_computed_and_is_given_up_goes_with_a_restart_and_with_rm(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bucket = FailingBucket(contents(packed))
    before: list[set[str]] = []
    last = keys_of(packed)[-1]
    for value in (1, 2):
        with pytest.raises(UsageError):
            wt.map_columns(
                dataset_in(bucket, packed), failing_at(last, value), columns={"a": "int64"}, name="n", restart=True
            )
        before.append(set(waiting(bucket)))
    assert all(before)
    assert len(before[0]) == len(before[1])
    bucket.put(".wdstools/columns-next/n/strange", b"of somebody else")
    assert [(one.name, one.state) for one in wt.list_columns(dataset_in(bucket, packed))] == [("n", "begun")]
    plan = wt.plan_remove_columns(dataset_in(bucket, packed), "n")
    assert {step.path for step in plan.steps if not is_note(step.path)} == before[1]
    wt.apply(plan)
    bucket.delete(".wdstools/columns-next/n/strange")
    assert bucket.contents() == contents(packed)
    assert wt.list_columns(dataset_in(bucket, packed)) == ()
    with pytest.raises(UsageError) as caught:
        wt.remove_columns(dataset_in(bucket, packed), "n")
    assert caught.value.code == "columns-missing"


@pytest.mark.parametrize("which", ["values", "document", "all"])
def test_a_damaged_file_that_waits_is_damage_of_its_set_and_bars_nothing_else(packed: Path, which: str) -> None:
    bucket = FailingBucket(contents(packed))
    put(bucket, packed, 1)

    def fail(key: str) -> None:
        if key.startswith(".wdstools/columns/n"):
            raise StoreError("the server is away", code="unavailable")

    bucket.act = fail
    with pytest.raises(StoreError):
        put(bucket, packed, 2, existing="replace")
    bucket.act = lambda _: None
    damaged = [key for key in waiting(bucket) if which == "all" or _is_document(bucket, key) == (which == "document")]
    for key in damaged if which == "all" else damaged[:1]:
        bucket.put(key, b"x" + bucket.contents()[key][1:])
    other = table(packed, 3).rename_columns(["key", "z"])
    if which != "all":
        assert isinstance(wt.add_columns(dataset_in(bucket, packed), other, name="other"), FinishResult)
    if which == "values":  # a set without a document bars the others until it is removed, as in a folder
        wt.add_columns(dataset_in(bucket, packed), other, name="other")
    assert not wt.verify(dataset_in(bucket, packed)).ok
    assert isinstance(wt.remove_columns(dataset_in(bucket, packed), "n"), wt.ColumnsResult)
    assert wt.verify(dataset_in(bucket, packed)).ok


def _is_document(bucket: FailingBucket, key: str) -> bool:
    return bucket.contents()[key].startswith(b"{")
