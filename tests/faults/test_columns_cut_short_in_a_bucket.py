"""A change of columns in an object store fails while its files are moved: no value is lost, and there is a way on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.added_columns import keys_of
from tests.support.city_pairs import tiny_jpeg
from tests.support.failing_bucket import FailingBucket, dataset_in
from tests.support.outcome import contents
from wdstools.landing.staging import FinishResult
from wdstools.reader.shard import ShardReader

if TYPE_CHECKING:
    from pathlib import Path


class KilledError(BaseException):
    """The process is gone."""


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
    return [key for key in bucket.contents() if key.startswith(".wdstools/columns-next/")]


def test_shards_without_samples_have_equal_files_and_each_is_moved(packed: Path) -> None:
    old = FailingBucket(contents(packed))
    put(old, packed, 1)
    wanted = FailingBucket(contents(packed))
    wanted_table = table(packed, 1).append_column("b", pa.array([2] * len(keys_of(packed))))
    wt.add_columns(dataset_in(wanted, packed), wanted_table, name="n")
    more = table(packed, 2).rename_columns(["key", "b"])
    for steps in range(0, 99, 2):
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
