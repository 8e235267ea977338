"""Values that no command line and few programs give: each is an answer or an error in words, and no other exception."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wdstools as wt
from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from wdstools.executors.open import open_executor
from wdstools.shortage import is_short_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.options.run import ExecutorKind

NUL = "x\0y"
REFUSED: dict[str, Callable[[str], object]] = {
    "no whole number": lambda place: wt.head(place, 1.5),  # type: ignore[arg-type]
    "a batch of all samples there are": lambda place: wt.loader(place, batch_size=2**63),
    "a place": lambda place: wt.open_dataset(place, at=NUL),
    "a dataset": lambda _: wt.open_dataset(NUL),
    "a source": lambda place: wt.pack(NUL, f"{place}-new"),
    "a source to scan": lambda _: wt.scan(NUL),
    "where to pack": lambda place: wt.pack(f"{place}-source", NUL),
    "where to extract": lambda place: wt.extract(place, NUL),
    "where to mirror": lambda place: wt.mirror(place, NUL),
    "where to pull": lambda place: wt.pull(place, NUL),
    "a state": lambda place: wt.verify(place, resume=True, state=NUL),
}


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> str:
    work = tmp_path_factory.mktemp("odd")
    write_files(work / "set-source", {f"{n}.jpg": tiny_jpeg(n) for n in range(3)})
    wt.pack(work / "set-source", work / "set")
    return str(work / "set")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_is_refused_in_words(kind: str, place: str) -> None:
    with pytest.raises(wt.WdsError):
        REFUSED[kind](place)


def test_what_is_more_than_all_is_all(place: str) -> None:
    assert len(wt.head(place, 2**63)) == 3
    with pytest.raises((MemoryError, OSError)) as caught:
        list(wt.loader(place, batch_size=2**53 - 1, image_size=8))
    assert is_short_of_memory(caught.value)


def test_no_sample_is_called_by_half_a_character(place: str, tmp_path: Path) -> None:
    dataset = wt.open_dataset(place)
    assert "\ud800" not in dataset
    with pytest.raises(KeyError):
        dataset["\ud800"]
    assert list(tmp_path.iterdir()) == []


TIMES: dict[str, tuple[pa.Array, object]] = {
    "dates": (pa.array([1, 2**31 - 1], pa.date32()), "1970-01-02"),
    "timestamps": (pa.array([1_000_000, 2**61], pa.timestamp("us")), "1970-01-01T00:00:01"),
    "nanoseconds": (pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns")), "2023-11-14T22:13:20.123456"),
    "no such zone": (pa.array([None, 2], pa.timestamp("us", "Nowhere/Zone")), None),
    "structures": (
        pa.array([{"at": 1_001}, {"at": 2**62}], pa.struct([("at", pa.timestamp("ns"))])),
        {"at": "1970-01-01T00:00:00.000001"},
    ),
}


@pytest.mark.parametrize("kind", TIMES)
def test_a_time_that_python_has_not_is_no_reason_to_refuse_a_table(kind: str, tmp_path: Path) -> None:
    when, first = TIMES[kind]
    write_files(tmp_path / "in", {"a.jpg": tiny_jpeg(0), "b.jpg": tiny_jpeg(1)})
    table = pa.table({"file_name": ["a.jpg", "b.jpg"], "text": ["a", "b"], "when": when})
    pq.write_table(table, tmp_path / "in/metadata.parquet")
    wt.pack(tmp_path / "in", tmp_path / "out", splits=["train"])
    found = {sample.key: json.loads(sample["json"])["when"] for sample in wt.open_dataset(tmp_path / "out")["train"]}
    assert found["a"] == first
    assert found["b"] in (None, {"at": "2116-02-20T23:53:38.427387"})


def test_a_shard_whose_name_is_no_text_is_skipped_and_the_others_are_packed(place: str, tmp_path: Path) -> None:
    (tar,) = Path(place).glob("*/*.tar")
    shards = tmp_path / "shards"
    shards.mkdir()
    for name in (b"good.tar", b"\xff.tar"):
        (shards / os.fsdecode(name)).write_bytes(tar.read_bytes())
    packed = wt.pack(shards, tmp_path / "out", splits=["train"])
    assert isinstance(packed, wt.PackResult)
    assert (packed.skipped, sum(packed.samples.values())) == ({"name-not-utf8": 1}, 3)
    (shards / "good.tar").unlink()
    with pytest.raises(wt.WdsError):
        wt.scan(shards)


ODD = "\udcff"


@pytest.mark.parametrize(
    "options", [{"name": ODD}, {"splits": [ODD]}, {"splits": [f"{ODD}=1,val=2"]}, {"splits": ["a=1e400"]}, {"splits": ["a=1e308,b=1e308"]}]
)  # fmt: skip
def test_what_cannot_be_written_is_refused_before_the_work(options: dict[str, Any], place: str, tmp_path: Path) -> None:
    with pytest.raises(wt.UsageError):
        wt.pack(f"{place}-source", tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_no_number_of_workers_exhausts_the_machine(kind: ExecutorKind) -> None:
    with pytest.raises(wt.UsageError, match=f"too many {kind} for this machine"):
        open_executor(kind, 100_000)


def test_a_plan_refuses_a_number_that_is_no_int64_as_the_change_does(place: str, tmp_path: Path) -> None:
    keys = [sample.key for sample in wt.head(place, 2)]
    for most, refused in ((2**63, True), (2**63 - 1, False)):
        pq.write_table(pa.table({"key": keys, "v": pa.array([most, 1], pa.uint64())}), tmp_path / "u.parquet")
        ran = run_command("columns", "add", place, tmp_path / "u.parquet", "-n", "--json")
        assert (ran.code, ran.code and ran.error["code"]) == ((2, "columns-unsupported") if refused else (0, 0))
