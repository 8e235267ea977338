"""A set of columns in an object store gets new values, from a table or computed: whoever is killed leaves the old set or the new one, and the same command goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, pack_cities, score_table, values_in
from tests.support.killed import KilledError
from tests.support.outcome import contents
from wdstools.columns.sets import column_sets, store_of
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import BusyError, StoreError, UsageError
from wdstools.formats.manifest import COLUMNS_LIST
from wdstools.landing.staging import FinishResult
from wdstools.stores.memory import MemoryStore
from wdstools.transfer.columns import column_files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

WAITING = ".wdstools/columns-next/"
Existing = Literal["replace", "update", "fill"]


class Bucket(MemoryStore):
    """A bucket whose writer dies before or after so many changes; ``act`` is done before one."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        super().__init__()
        self._objects = dict(objects)
        self.left = -1
        self.act: Callable[[str], object] | None = None

    @property
    def url(self) -> str:
        """As that of a bucket."""
        return "s3://bucket/cities"

    def _changing(self, key: str) -> None:
        if self.left == 0:
            raise KilledError
        self.left -= 1
        act, self.act = self.act, None
        if act is not None:
            act(key)

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        self._changing(key)
        super().put(key, data)

    def create(self, key: str, data: bytes) -> None:
        """Store an object under a new key."""
        self._changing(key)
        super().create(key, data)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self._changing(key)
        super().delete(key)

    def contents(self) -> dict[str, bytes]:
        """All that lies there."""
        return dict(self._objects)


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=5, val=1)


@pytest.fixture(scope="module", name="old")
def _old(packed: Path) -> dict[str, bytes]:
    """The dataset with scores of half of its samples."""
    bucket = Bucket(contents(packed))
    wt.add_columns(there(packed, bucket), score_table(keys_of(packed)[::2]), name="s")
    return bucket.contents()


def there(packed: Path, bucket: Bucket) -> Dataset:
    return replace(open_dataset(packed), metadata=bucket, shards=bucket, readers={})


def new_table(packed: Path, which: slice = slice(None, 4)) -> pa.Table:
    keys = keys_of(packed)[which]
    return pa.table({"key": keys, "score": [9.0] * len(keys), "note": [f"n {key}" for key in keys]})


def change(dataset: Dataset, packed: Path, existing: Existing, which: slice = slice(None, 4)) -> Any:
    return wt.add_columns(dataset, new_table(packed, which), name="s", existing=existing)


def in_a_folder(old: Mapping[str, bytes], packed: Path, place: Path, existing: Existing) -> dict[str, bytes]:
    """What the same change makes of the same dataset in a folder."""
    for path, data in old.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        (place / path).write_bytes(data)
    wt.add_columns(place, new_table(packed), name="s", existing=existing)
    return {path: data for path, data in contents(place).items() if path in old or "/columns/" in path}


def values(packed: Path, bucket: Bucket) -> dict[str, dict[str, Any]]:
    dataset = there(packed, bucket)
    (columns,) = column_sets(dataset)
    return values_in(store_of(dataset), columns)


@pytest.mark.parametrize(
    "existing", ["update", *(pytest.param(one, marks=pytest.mark.slow) for one in ("replace", "fill"))]
)
def test_the_set_is_that_of_a_folder_and_whoever_is_killed_leaves_the_old_one_or_the_new_one(
    packed: Path, old: dict[str, bytes], existing: Existing, tmp_path: Path
) -> None:
    wanted = in_a_folder(old, packed, tmp_path / "folder", existing)
    bucket = Bucket(old)
    result = change(there(packed, bucket), packed, existing)
    assert result.change == ("replaced" if existing == "replace" else "updated")
    assert bucket.contents() == wanted
    before, after = values(packed, Bucket(old)), values(packed, bucket)
    assert before != after
    seen = []
    for steps in range(99):
        bucket = Bucket(old)
        bucket.left = steps
        try:
            change(there(packed, bucket), packed, existing)
        except KilledError:
            bucket.left = -1
        else:
            break
        seen.append(values(packed, bucket))
        assert seen[-1] in (before, after)
        report = wt.verify(there(packed, bucket))
        assert {found.cause for found in report.findings} <= {"change-unfinished"}
        while isinstance(change(there(packed, bucket), packed, existing), FinishResult):
            assert seen[-1] == after
        assert bucket.contents() == wanted
    assert steps > 6
    assert (seen[0], seen[-1]) == (before, after)


def test_an_unfinished_change_is_told_and_finished_by_any_other(packed: Path, old: dict[str, bytes]) -> None:
    bucket = Bucket(old)
    listed = [False]

    def die_after_the_list(key: str) -> None:
        if listed[0]:
            raise KilledError
        listed[0] = key.endswith("SHA256SUMS")
        bucket.act = die_after_the_list

    bucket.act = die_after_the_list
    with pytest.raises(KilledError):
        change(there(packed, bucket), packed, "replace")
    bucket.act = None
    for level in ("size", "samples"):
        report = wt.verify(there(packed, bucket), level=level)
        assert {found.cause for found in report.findings} == {"change-unfinished"}
    with pytest.raises(BusyError) as caught:
        column_files(there(packed, bucket))
    assert caught.value.code == "change-unfinished"
    after = values(packed, bucket)
    plan = wt.plan_remove_columns(there(packed, bucket), "s")
    assert [step.action for step in plan.steps] == ["finish"]
    assert isinstance(wt.apply(plan), FinishResult)
    assert wt.verify(there(packed, bucket)).ok
    assert values(packed, bucket) == after
    wt.remove_columns(there(packed, bucket), "s")
    assert [key for key in bucket.contents() if "columns" in key] == [".wdstools/columns/SHA256SUMS"]


def test_what_waits_for_a_change_that_never_came_goes_with_the_next(packed: Path, old: dict[str, bytes]) -> None:
    bucket = Bucket(old)
    bucket.left = 2
    with pytest.raises(KilledError):
        change(there(packed, bucket), packed, "replace")
    bucket.left = -1
    strange = f"{WAITING}s/{'0' * 64}"
    bucket.put(strange, b"of somebody else")
    assert sum(key.startswith(WAITING) for key in bucket.contents()) == 3
    change(there(packed, bucket), packed, "update", slice(4, 6))
    assert [key for key in bucket.contents() if key.startswith(WAITING)] == [strange]


def test_nothing_that_is_not_of_the_set_is_replaced(packed: Path, old: dict[str, bytes]) -> None:
    path = next(key for key in old if key.startswith(".wdstools/columns/s/"))
    bucket = Bucket({**old, path: b"of somebody else"})
    with pytest.raises(StoreError) as caught:
        change(there(packed, bucket), packed, "replace")
    assert caught.value.code == "file-in-the-way"
    assert bucket.contents() == {**old, path: b"of somebody else"}


def test_of_two_who_change_a_set_one_is_told(packed: Path, old: dict[str, bytes]) -> None:
    bucket = Bucket(old)
    bucket.act = lambda _: change(there(packed, bucket), packed, "update", slice(5, 6))
    with pytest.raises(BusyError):
        change(there(packed, bucket), packed, "replace")
    assert wt.verify(there(packed, bucket)).ok
    assert sum(found["score"] == 9.0 for found in values(packed, bucket).values()) == 1
    change(there(packed, bucket), packed, "replace")
    assert sum(found["score"] == 9.0 for found in values(packed, bucket).values()) == 4
    assert not any(key.startswith(WAITING) for key in bucket.contents())


@pytest.mark.slow
def test_files_that_the_new_set_has_no_more_go(packed: Path, old: dict[str, bytes]) -> None:
    """A set of another version of the dataset may have other shards."""
    dataset = there(packed, Bucket(old))
    train = dataset.manifest.splits["train"]
    fewer = replace(dataset, manifest=replace(dataset.manifest, splits={"train": train}))
    for steps in range(99):
        bucket = Bucket(old)
        bucket.left = steps
        less = replace(fewer, metadata=bucket, shards=bucket, readers={})
        try:
            wt.add_columns(less, new_table(packed), name="s", existing="replace")
        except KilledError:
            bucket.left = -1
            while isinstance(wt.add_columns(less, new_table(packed), name="s", existing="replace"), FinishResult):
                pass
        else:
            break
        assert not any("val" in key for key in bucket.contents() if "/columns" in key)
        assert not any(key.startswith(WAITING) for key in bucket.contents())
    assert steps > 8


def test_a_set_that_is_there_is_refused_until_something_is_said_of_it(packed: Path, old: dict[str, bytes]) -> None:
    with pytest.raises(UsageError) as caught:
        wt.add_columns(there(packed, Bucket(old)), new_table(packed), name="s")
    assert (caught.value.code, "existing" in caught.value.hint) == ("columns-taken", True)


SEEN: list[str] = []


def counted(sample: wt.Sample) -> dict[str, Any]:
    """A score of a sample, and a note who was asked."""
    SEEN.append(sample.key)
    return {"score": float(len(sample.key)), "size": len(sample["jpg"])}


def compute(dataset: Dataset | Path, existing: Literal["fill", "replace"]) -> Any:
    return wt.map_columns(dataset, counted, columns={"score": "float32", "size": "int64"}, name="s", existing=existing)


@pytest.mark.parametrize(
    ("existing", "is_there"),
    [("fill", True), *(pytest.param(*one, marks=pytest.mark.slow) for one in (("fill", False), ("replace", True)))],
)
def test_computed_columns_are_those_of_a_folder_and_what_is_finished_is_not_computed_again(
    packed: Path, old: dict[str, bytes], existing: Any, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    start = {path: data for path, data in old.items() if is_there or "/columns/" not in path}
    for path, data in start.items():
        (tmp_path / "folder" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / path).write_bytes(data)
    compute(tmp_path / "folder", existing)
    wanted = contents(tmp_path / "folder")
    for steps in range(99):
        bucket, counts, over = Bucket(start), [], False
        bucket.left, result = steps, None
        while result is None or isinstance(result, FinishResult):
            SEEN.clear()
            try:
                result = compute(there(packed, bucket), existing)
            except KilledError:
                bucket.left = -1
                over = bucket.contents().get(COLUMNS_LIST) == wanted[COLUMNS_LIST]  # replaced, and then replaced anew
            counts.append(len(SEEN))
        assert bucket.contents() == wanted
        assert list((tmp_path / "cache/wdstools").rglob("journal.jsonl")) == []
        if len(counts) == 1:
            break
        if steps > 1 and len(counts) == 2 and not over:  # a file is noted, and then stored
            assert counts[1] < counts[0], "a shard that was finished was computed again"
    assert steps > 4
