"""What a killed change of columns has left in a bucket is ours by a sealed note, damaged or not; what is anybody else's stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of, pack_cities
from tests.support.command import run_command
from tests.support.failing_bucket import FailingBucket, dataset_in
from tests.support.killed import KilledError
from tests.support.outcome import contents
from wdstools.errors import StoreError, UsageError
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

WAITING, IN_PLACE = ".wdstools/columns-next/n/", ".wdstools/columns/n/"


@pytest.fixture(scope="module", name="packed")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack_cities(tmp_path_factory.mktemp("columns"), train=6, val=2)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def put(bucket: FailingBucket, packed: Path, value: int, **named: Any) -> Any:
    keys = keys_of(packed)
    return wt.add_columns(
        dataset_in(bucket, packed), pa.table({"key": keys, "a": [value] * len(keys)}), name="n", **named
    )


def half_put(bucket: FailingBucket, packed: Path, value: int, **named: Any) -> None:
    """The same, killed when two of its files are stored."""
    left = iter(range(3))

    def die(_: str) -> None:
        if next(left, None) is None:
            raise KilledError

    bucket.act = die
    with pytest.raises(KilledError):
        put(bucket, packed, value, **named)
    bucket.act = lambda _: None


def stored(bucket: FailingBucket, where: str) -> list[str]:
    return [key for key in bucket.contents() if key.startswith(where) and not key.endswith(".json")]


def damage(bucket: FailingBucket, key: str) -> None:
    bucket.put(key, b"x" + bucket.contents()[key][1:])


def column_objects(bucket: FailingBucket) -> list[str]:
    return [key for key in bucket.contents() if "column" in key]


@pytest.mark.parametrize(
    ("value", "damaged", "again"),
    [
        pytest.param(value, damaged, again, marks=() if (value == 2) is not again and damaged else pytest.mark.slow)
        for value in (1, 2)
        for damaged in (False, True)
        for again in (False, True)
    ],
)
def test_a_killed_change_does_not_bar_the_name(packed: Path, value: int, damaged: bool, again: bool) -> None:
    options = {"existing": "replace"} if again else {}
    wanted, bucket = FailingBucket(contents(packed)), FailingBucket(contents(packed))
    if again:
        put(bucket, packed, 9)
    put(wanted, packed, value)
    half_put(bucket, packed, 1, **options)
    files = stored(bucket, WAITING if again else IN_PLACE)
    assert len(files) >= 2
    if damaged:
        damage(bucket, files[0])
    assert isinstance(put(bucket, packed, value, **options), wt.ColumnsResult)
    assert bucket.contents() == wanted.contents()


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_not_ours_stays_and_is_named(packed: Path, killed: bool) -> None:
    """Nobody noted it; or a note did that somebody else has written or changed."""
    bucket = FailingBucket(contents(packed))
    strange = f"{IN_PLACE}train-000000.parquet"
    if killed:
        half_put(bucket, packed, 1)
        (note,) = (key for key in bucket.contents() if key.startswith(WAITING))
        said = json.loads(bucket.contents()[note])
        said["begun"][strange] = "0" * 64
        bucket.put(note, json.dumps(said).encode())
    bucket.put(strange, b"of somebody else")
    before = bucket.contents()
    with pytest.raises(StoreError) as caught:
        put(bucket, packed, 2)
    assert (caught.value.code, strange in caught.value.where) == ("file-in-the-way", True)
    assert {key: data for key, data in bucket.contents().items() if key in before} == before
    with pytest.raises(StoreError):
        put(bucket, packed, 2)
    assert bucket.contents()[strange] == b"of somebody else"
    if not killed:
        assert column_objects(bucket) == [strange]


def test_a_stranger_who_comes_meanwhile_is_not_taken_for_ours(packed: Path) -> None:
    bucket, strange = FailingBucket(contents(packed)), f"{IN_PLACE}val-000000.parquet"

    def come(key: str) -> None:
        if key.endswith("train-000000.parquet"):
            bucket.act = lambda _: None
            bucket.put(strange, b"of somebody else")

    bucket.act = come
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            put(bucket, packed, 1)
        assert caught.value.code == "file-in-the-way"
    assert bucket.contents()[strange] == b"of somebody else"


def test_a_set_that_never_came_is_named_and_goes_with_rm(packed: Path) -> None:
    bucket = FailingBucket(contents(packed))
    half_put(bucket, packed, 1)
    damage(bucket, stored(bucket, IN_PLACE)[0])
    bucket.put(f"{IN_PLACE}strange.parquet", b"of somebody else")
    report = wt.verify(dataset_in(bucket, packed))
    assert report.ok
    (said,) = report.left
    assert "3 files of the columns n" in said
    assert "if nobody is adding them now, wdstools columns rm s3://bucket/cities n" in said
    wt.remove_columns(dataset_in(bucket, packed), "n")
    assert column_objects(bucket) == [f"{IN_PLACE}strange.parquet"]
    (said,) = wt.verify(dataset_in(bucket, packed)).left
    assert "files not known to be ours are not removed: move them away yourself" in said
    with pytest.raises(StoreError) as caught:
        wt.remove_columns(dataset_in(bucket, packed), "n")
    assert (caught.value.code, "move them away yourself" in caught.value.hint) == ("file-in-the-way", True)
    bucket.delete(f"{IN_PLACE}strange.parquet")
    with pytest.raises(UsageError) as missing:
        wt.remove_columns(dataset_in(bucket, packed), "n")
    assert missing.value.code == "columns-missing"


def test_what_waits_for_a_change_that_never_came_is_named_until_the_next(packed: Path) -> None:
    bucket = FailingBucket(contents(packed))
    put(bucket, packed, 1)
    assert wt.verify(dataset_in(bucket, packed)).left == ()
    half_put(bucket, packed, 2, existing="replace")
    (said,) = wt.verify(dataset_in(bucket, packed)).left
    assert "2 files of the columns n" in said
    put(bucket, packed, 3, existing="replace")
    assert wt.verify(dataset_in(bucket, packed)).left == ()
    assert not [key for key in bucket.contents() if key.startswith(WAITING)]


def values_of(last: str, seen: list[str], fails: list[bool]) -> Any:
    def compute(sample: wt.Sample) -> dict[str, int]:
        seen.append(sample.key)
        if fails and sample.key == last:
            raise RuntimeError("cannot")
        return {"a": 2}

    return compute


def test_a_computed_file_that_was_damaged_while_it_waited_is_computed_again(packed: Path) -> None:
    bucket, keys = FailingBucket(contents(packed)), keys_of(packed)

    def compute(fails: list[bool]) -> Any:
        return wt.map_columns(
            dataset_in(bucket, packed), values_of(keys[-1], [], fails), columns={"a": "int64"}, name="n", restart=True
        )

    with pytest.raises(UsageError):
        compute([True])
    waiting = stored(bucket, WAITING)
    assert len(waiting) > 1
    damage(bucket, waiting[0])
    assert compute([]).covered == len(keys)
    assert wt.verify(dataset_in(bucket, packed)).left == ()
    assert not [key for key in bucket.contents() if key.startswith(WAITING)]


def test_a_folder_names_what_a_killed_run_has_left(packed: Path, tmp_path: Path) -> None:
    for path, data in contents(packed).items():
        (tmp_path / "d" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / path).write_bytes(data)
    (tmp_path / "d/train/train-000000.tar.1.wdstools-tmp").write_bytes(b"half")
    ran = run_command("verify", tmp_path / "d", "--json")
    assert (ran.code, len(ran.summary["left"])) == (0, 1)
    assert "train-000000.tar.1.wdstools-tmp" in ran.summary["left"][0]


def test_nothing_is_taken_for_ours_in_another_place(packed: Path) -> None:
    """A note is sealed for one place: copied elsewhere it says nothing."""
    one, other = FailingBucket(contents(packed)), MovedBucket(contents(packed))
    half_put(one, packed, 1)
    for key in column_objects(one):
        MemoryStore.put(other, key, one.contents()[key])
    damage(other, stored(other, IN_PLACE)[0])
    with pytest.raises(StoreError) as caught:
        put(other, packed, 1)
    assert caught.value.code == "file-in-the-way"


class MovedBucket(FailingBucket):
    """A bucket with another address."""

    @property
    def url(self) -> str:
        """Another one."""
        return "s3://bucket/elsewhere"
