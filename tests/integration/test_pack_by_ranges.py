"""pack of very many samples: planned range by range, in files without a name, with the bytes of a plan made at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.integration.test_verify_resumes import Killed
from tests.support.accounting import write_files
from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import REPOSITORY
from wdstools.executors.local import Serial
from wdstools.executors.processes import Processes
from wdstools.ops.pack_plan import plan_pack
from wdstools.planning import by_names, ranges, spill
from wdstools.sources import base

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.executors.base import Item, Outcome, Tick, Value, Work

pytestmark = pytest.mark.filterwarnings("error::ResourceWarning")


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files: dict[str, bytes] = {}
    for split in ("train", "val"):
        for label in ("oslo", "rome"):
            for number in range(15):
                stem = f"{split}/{label}/{number}{split if number % 5 else ''}"
                files[f"{stem}.jpg"] = tiny_jpeg(number // 3)  # every image three times
                if number != 7:
                    files[f"{stem}.txt"] = f"words {number}".encode()
    return write_files(tmp_path_factory.mktemp("ranges") / "src", {**files, "other/x.jpg": tiny_jpeg(99)})


@pytest.fixture(name="by_ranges")
def _by_ranges(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whatever is packed is taken for very much; says of each plan whether it was made by ranges."""
    said: list[bool] = []
    plan = ranges.RangedPlanning.plan

    def saying(self: ranges.RangedPlanning) -> Any:
        said.append(True)
        return plan(self)

    monkeypatch.setattr(ranges.RangedPlanning, "plan", saying)
    for module, name, value in (
        (by_names, "LARGE", 1), (base, "MOST_HELD", 4), (ranges, "_PART_ROWS", 7), (spill, "_MOST_HELD", 9),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    return said


def _of(result: wt.PackResult) -> tuple[Any, ...]:
    return (result.root, result.samples, result.skipped, result.leaks, result.duplicates, result.account, result.notes)


_CHOICES = [
    {},
    {"splits": "train=70,test=30", "shards": 2},
    pytest.param({"splits": "all", "shard_bytes": 20_000}, marks=pytest.mark.slow),
    pytest.param({"only": "jpg", "convert": None, "shards": 3, "seed": 5}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("choices", _CHOICES)
def test_the_dataset_is_the_same(
    source: Path, tmp_path: Path, choices: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    whole = wt.pack(source, tmp_path / "whole", **choices)
    told = plan_pack(source, tmp_path / "told", **choices)
    said = request.getfixturevalue("by_ranges")
    cut = wt.pack(source, tmp_path / "cut", **choices)
    assert _of(cut) == _of(whole)
    assert plan_pack(source, tmp_path / "told", **choices) == told
    assert len(said) == 2
    assert wt.verify(cut.path).ok
    assert (tmp_path / "cut/SHA256SUMS").read_bytes() == (tmp_path / "whole/SHA256SUMS").read_bytes()


@pytest.fixture(scope="module", name="lists")
def _lists(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Lists that name most samples, some that are none, and what is no key."""
    work = tmp_path_factory.mktemp("lists")
    wt.pack(source, work / "all", splits="all")
    keys = list(wt.open_dataset(work / "all")["all"].keys())
    (work / "a.txt").write_bytes("\ufeff".encode() + "\r\n".join([*keys[::2], "oslo/none", "", "a//b"]).encode())
    (work / "b.txt").write_text("".join(f"{key}.jpg,5\n" for key in [*keys[1:-6:2], *keys[1:5:2], "rome/none"]))
    return [f"a={work / 'a.txt'}", f"b={work / 'b.txt'}"]


def test_lists_name_the_splits_of_very_many(
    source: Path, lists: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = wt.pack(source, tmp_path / "whole", splits=lists, shards=2)
    of_lists = {"list-invalid": 1, "sample-missing": 2, "split-not-listed": 3}
    assert {why: whole.skipped.get(why) for why in of_lists} == of_lists
    request.getfixturevalue("by_ranges")
    cut = wt.pack(source, tmp_path / "cut", splits=lists, shards=2)
    assert _of(cut) == _of(whole)
    assert (tmp_path / "cut/SHA256SUMS").read_bytes() == (tmp_path / "whole/SHA256SUMS").read_bytes()
    with pytest.raises(wt.UsageError) as caught:
        wt.pack(source, tmp_path / "none", splits=[f"c={lists[0][2:]}", *lists])
    assert caught.value.code == "split-lists"
    (tmp_path / "none.txt").write_text("oslo/none\n")
    with pytest.raises(wt.UsageError) as caught:
        wt.pack(source, tmp_path / "none", splits=[f"c={tmp_path / 'none.txt'}"])
    assert (caught.value.code, caught.value.got) == ("split-lists", "oslo/none")


def test_more_images_than_memory_can_compare_are_refused_at_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_ranges: list[bool]
) -> None:
    monkeypatch.setattr(by_names, "free_bytes", lambda: 20_000)
    choices: dict[str, Any] = {"duplicates": "drop", "exclude_duplicates_of": [str(source)], "level": "edited"}
    for choice, given in came(choices.items()):
        with pytest.raises(wt.UsageError) as caught:
            wt.pack(source, tmp_path / "out", **{choice: given})
        assert (caught.value.code, caught.value.got.split(" ")[0]) == ("plan-too-large", "56")
        assert caught.value.where.startswith(f"{choice}=")
    assert os.listdir(tmp_path) == []
    wt.pack(source, tmp_path / "out")
    assert by_ranges == [True]


@pytest.mark.parametrize("is_emptied", [False, True])
def test_the_shards_are_like_those_of_another_dataset(
    source: Path, tmp_path: Path, is_emptied: bool, request: pytest.FixtureRequest
) -> None:
    wt.pack(source, tmp_path / "other", shards=4)
    choices: dict[str, Any] = {"like": tmp_path / "other"}
    if is_emptied:  # nothing of one split can be packed
        source = Path(shutil.copytree(source, tmp_path / "src"))
        for path in source.glob("val/*/*.jpg"):
            path.rename(path.with_suffix(".png"))
        choices["only"] = "jpg"
    whole = wt.pack(source, tmp_path / "whole", **choices)
    said = request.getfixturevalue("by_ranges")
    assert _of(wt.pack(source, tmp_path / "cut", **choices)) == _of(whole)
    assert said == [True]
    assert wt.open_dataset(tmp_path / "cut").manifest.splits.keys() == {"train", "val"}
    with pytest.raises(wt.UsageError) as caught:
        wt.pack(source, tmp_path / "none", like=tmp_path / "other", resize=32, convert="png")
    assert "does not fit this source" in caught.value.message


def test_keys_and_ranges_are_work_for_others(source: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """For other processes too, which is what hosts are: tables travel."""
    choices: dict[str, Any] = {"splits": "train=70,test=30", "shards": 2}
    whole = wt.pack(source, tmp_path / "whole", **choices)
    request.getfixturevalue("by_ranges")
    at_work = _Telling(2)
    try:
        cut = wt.pack(source, tmp_path / "cut", executor=at_work, **choices)
    finally:
        at_work.close()
    assert _of(cut) == _of(whole)
    assert at_work.told["make_keys"] == 8  # seven samples a part
    assert at_work.told["sort_range"] > 9


class _Telling(Processes):
    """Counts what work it gets."""

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs, ())
        self.told: Counter[str] = Counter()

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        def counted() -> Iterator[Item]:
            for item in items:
                self.told[work.__name__] += 1
                yield item

        return super().map(work, counted(), tick)


class _KilledAtShards(Killed):
    """Is killed after so many shards; the plan was made."""

    def map(self, work: Work[Item, Value], items: Iterable[Item], tick: Tick | None = None) -> Iterator[Outcome[Value]]:
        others = work.__name__ != "write_shard"
        return Serial().map(work, items, tick) if others else super().map(work, items, tick)


def test_a_pack_that_was_killed_goes_on(source: Path, tmp_path: Path, by_ranges: list[bool]) -> None:
    with pytest.raises(KeyboardInterrupt):
        wt.pack(source, tmp_path / "out", shards=3, executor=_KilledAtShards(2))
    assert os.listdir(tmp_path) == ["out.partial"]
    again = wt.pack(source, tmp_path / "out", shards=3)
    assert again.kept_shards == 2
    assert by_ranges == [True, True]
    assert os.listdir(tmp_path) == ["out"]


def test_a_full_disk_while_planning_leaves_nothing(
    source: Path, tmp_path: Path, by_ranges: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spill.Spill, "_write", full)
    with pytest.raises(wt.StoreError) as caught:
        wt.pack(source, tmp_path / "out")
    assert caught.value.code == "disk-full"
    assert os.listdir(tmp_path) == []
    assert by_ranges == [True]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_does_not_grow_with_the_samples_of_a_listing() -> None:
    found = []
    for samples in (4_000_000, 8_000_000):
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-m", "benchmarks.planning", str(samples)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=REPOSITORY)
        found.append(json.loads(done.stdout))
    less, more = found
    assert more["memory_mb"] < 1000
    assert more["memory_mb"] - less["memory_mb"] < 150, "four million more would take 500 MB, held at once"
    assert more["disk_mb"] > 1.5 * less["disk_mb"] > 500, "they were planned by ranges, on the disk"
