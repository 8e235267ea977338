"""The benchmarks themselves: each runs on a hundred samples and gives sound rows; nothing here looks at a figure."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import sys
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from benchmarks import far, raw, shards
from benchmarks.inputs import Setup, prepare
from benchmarks.make_photos import make_photos
from benchmarks.measure import Race, Row, clocked_command, race
from benchmarks.peers.__main__ import table as table_of_peers
from benchmarks.peers.__main__ import write_readme
from benchmarks.peers.contest import LIMIT, Contest, figures
from benchmarks.run import BENCHMARKS, table
from tests.servers.proxy import Link
from tests.support.command import REPOSITORY, Ran, run_command
from tests.support.outcome import contents
from wdstools import pack
from wdstools.ops.bench.clock import Tally

if TYPE_CHECKING:
    from pathlib import Path


SAMPLES = 100


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Setup:
    return prepare(str(tmp_path_factory.mktemp("bench")), None, SAMPLES, rounds=1, tiny=True)


#: Those that take a second; every push tries these, a release all.
QUICK = ("adopt", "repair")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in BENCHMARKS]
)
def test_every_benchmark_runs_and_gives_rows(name: str, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # peers are run as modules from here
    rows = import_module(f"benchmarks.{name}").measure(setup)
    assert rows
    for row in rows:
        assert math.isfinite(row.value)
        assert row.ratio is None or row.ratio > 0
        assert (row.met is None) == (not row.target)
    assert len(table(rows).splitlines()) == len(rows) + 1


@pytest.mark.slow
def test_reading_through_a_link_is_held_against_the_link(setup: Setup) -> None:
    rows = far.measure(setup.dataset, Link(0.001, 1e9), 1, ["nginx"], hasty=True)
    assert [row.what.split(" (")[0] for row in rows][-1] == "plain ranges, 8 at once, unchecked"
    for row in rows:
        assert row.ratio is not None
        assert 0 < row.ratio <= 1.1  # nothing is faster than the link
        assert row.what.endswith("(nginx)")


def test_the_command_prints_the_machine_and_a_table_and_writes_json(tmp_path: Path, setup: Setup) -> None:
    path = tmp_path / "result.json"
    options = ["--only", "demo_images", "--photos", setup.source, "--scratch", str(tmp_path), "--json", str(path)]
    done = run_command("--tiny", *options, cwd=REPOSITORY, module="benchmarks.run")
    assert done.code == 0, done.err
    document = json.loads(path.read_text())
    for fact in ("cpu", "cores", "kernel", "file system", "python", "versions", "load before"):
        assert document["machine"][fact] in done.out
    assert document["input"].startswith("100 ")
    assert [row["what"] in done.out for row in document["rows"]] == [True, True]


def test_an_unknown_benchmark_is_refused() -> None:
    done = run_command("--only", "pack,nothing", cwd=REPOSITORY, module="benchmarks.run")
    assert done.code == 2
    assert "no such benchmark: nothing" in done.err


def test_a_race_takes_contenders_in_turn_and_compares_within_a_round() -> None:
    calls: list[str] = []
    seconds = {"a": iter((1.0, 2.0, 4.0)), "b": iter((2.0, 8.0, 4.0))}

    def contender(name: str) -> float:
        calls.append(name)
        return next(seconds[name])

    result = race({name: partial(contender, name) for name in ("a", "b")}, 3, hasty=True)
    assert sorted(calls[:2]) == sorted(calls[2:4]) == sorted(calls[4:]) == ["a", "b"]
    assert calls[0] != calls[2]
    row = result.row(("a", "b"), of=("made up", 10, "samples/s"), at_least=3)
    # 2, 4 and 1 times as fast; 2 s and 4 s in the median
    assert (row.ratio, row.low, row.high, row.value, row.peer_value, row.met) == (2.0, 1.0, 4.0, 5.0, 2.5, False)


def test_a_race_knows_the_processor_time_of_commands() -> None:
    command = [sys.executable, "-c", "sum(range(3_000_000))"]
    result = race({"busy": lambda: clocked_command(command), "idle": lambda: 1.0}, 1, hasty=True)
    assert result.by_processor.seconds["busy"][0] > 0
    assert result.by_processor.seconds["idle"][0] == pytest.approx(0, abs=1e-6)


def test_a_peer_that_did_less_is_compared_by_the_amount_of_work() -> None:
    row = Race({"ours": [2.0], "theirs": [1.0]}, 0.0).row(("ours", "theirs"), of=("made up", 10, "/s"), times=4)
    assert (row.value, row.peer_value, row.ratio) == (5.0, 2.5, 2.0)


def test_the_table_shows_what_was_missed() -> None:
    row = Row("pack", "ours", 12345.6, "samples/s", "tar", 1.5, 0.75, 0.7, 0.8, ">= 1", False, 0.25)
    shown = table([row]).splitlines()[1]
    assert [cell for cell in ("12,346", "0.75", "0.70..0.80", ">= 1", "NO", "0.25") if cell not in shown] == []


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for number in range(3):
        pixels = hashlib.shake_128(bytes([number])).digest(40 * 30 * 3)
        Image.frombytes("RGB", (40, 30), pixels).resize((400, 300)).save(folder / f"{number}.jpg")
    return folder


def test_made_photos_are_the_same_for_a_seed_and_any_number_of_jobs(tmp_path: Path, originals: Path) -> None:
    for name, seed, jobs in (("a", 5, 1), ("b", 5, 3), ("c", 6, 1)):
        make_photos(str(tmp_path / name), 120, str(originals), seed, jobs)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    other = {hashlib.sha256(data).digest() for path, data in contents(tmp_path / "c").items() if path[:3] == "img"}
    assert not other & {hashlib.sha256(data).digest() for data in contents(tmp_path / "a").values()}


@pytest.mark.parametrize("from_photos", [True, False])
def test_made_photos_are_distinct_but_for_the_planted_copies(
    from_photos: bool, tmp_path: Path, originals: Path
) -> None:
    folder = tmp_path / "made"
    make_photos(str(folder), 220, str(originals) if from_photos else None, 0)
    images = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("img/*/*/*.jpg")}
    captions = list(folder.glob("captions/*/*/*.txt"))
    assert len(images) == len(captions) == 220
    assert {Image.open(io.BytesIO(data)).size for data in images.values()} == {(300, 300)}
    text = "".join(path.read_text("utf-8") for path in captions)
    assert all(any(first <= char <= last for char in text) for first, last in ("az", "ая", "一龥", "가힣", "את"))
    with open(folder / "truth.csv", newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    assert {row["kind"] for row in truth} == {"bytes", "re-encoded"}
    copies = {row["copy"] for row in truth}
    assert len(copies) == len(truth)
    for row in truth:
        assert row["of"] not in copies
        assert (images[row["copy"]] == images[row["of"]]) == (row["kind"] == "bytes")
    originals_only = [data for path, data in images.items() if path not in copies]
    assert len(set(originals_only)) == len(originals_only) == 220 - len(truth)
    assert sorted(os.listdir(folder / "img")) == ["test", "train", "val"]


def test_the_table_of_loaders_has_a_row_for_everybody_and_stands_between_its_marks(tmp_path: Path) -> None:
    batches = {
        "webdataset, default": {"samples_per_s": 1_000.0, "times": 1.0, "of_limit": 0.2, "first_ms": 1_500.0},
        "webdataset, best": {"samples_per_s": 1_500.0, "times": 1.5, "of_limit": 0.3, "first_ms": 1_600.0},
        "wdstools, default": {"samples_per_s": 4_500.0, "times": 4.5, "of_limit": 0.9, "first_ms": 400.0},
        "wdstools, torch": {"samples_per_s": 4_400.0, "times": 4.4, "of_limit": 0.88, "first_ms": 500.0},
    }
    raw = {"wdstools, default": {"times": 31.4}, "webdataset, default": {"times": 1.0}}
    pipeline = {
        "wdstools, default": {"times": 4.0},
        "wdstools, Pillow": {"times": 1.2},
        "webdataset, default": {"times": 1.0},
    }
    found = {"raw": raw, "raw, shuffled": raw, "batches": batches, "pipeline": pipeline}
    shown = table_of_peers(found, {"webdataset": "1.0", "wdstools": "0.1"}, {"energon": "could not be installed here"})
    lines = shown.splitlines()
    assert [line.count("|") for line in lines] == [9] * 7
    assert "**wdstools** (every sample checked) 0.1 | 31 | 31 | 4.5 |  | 0.90 | 4.0 | 400 ms" in lines[2]
    assert lines[3].endswith("| 1.2 | |")
    assert "webdataset 1.0 | 1.0 | 1.0 | 1.0 | 1.5 | 0.30 | 1.0 | 1,600 ms" in lines[5]
    assert "could not be installed here" in lines[6]
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- peers: by x -->\nold\n<!-- /peers -->\nafter\n")
    write_readme(str(readme), shown)
    write_readme(str(readme), shown)
    assert readme.read_text() == f"before\n<!-- peers: by x -->\n\n{shown}\n\n<!-- /peers -->\nafter\n"


def test_a_readme_without_marks_is_refused(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("nothing")
    with pytest.raises(SystemExit, match="has no <!-- peers"):
        write_readme(str(readme), "table")


def test_ratios_of_loaders_are_taken_round_by_round() -> None:
    found = {"a": [Tally(10, 1), Tally(10, 3)], "b": [Tally(5, 1), Tally(5, 3)], LIMIT: [Tally(20, 1), Tally(20, 3)]}
    rows = figures(found, "b")
    assert (rows["a"]["times"], rows["a"]["of_limit"]) == (2, 0.5)
    assert rows["b"]["times"] == 1


class _Told(Contest):
    """A contest whose runs are told, not made: ours take the processor for half of the clock, webshart's for all of it."""

    def run(self, peer: str, **options: Any) -> dict[str, Any]:
        count, cpu = (300, 0.5) if peer == "wdstools" else (200, 1.0)
        return {"count": count, "seconds": 1.0, "cpu_seconds": cpu, "first_ms": 0, "version": options["work"]}


def test_reading_is_held_against_webshart_by_the_clock_and_by_processor_time(setup: Setup, tmp_path: Path) -> None:
    rows = raw.measure(_Told(setup.dataset, str(tmp_path), str(tmp_path)), 2, 1.0)
    assert {row.ratio for row in rows if row.benchmark.endswith(", clock")} == {1.5}
    assert {row.ratio for row in rows if row.benchmark.endswith(", processor")} == {3.0}
    assert {(row.what, row.peer) for row in rows if row.benchmark.startswith("images alone, random")} == {
        ("wdstools, stream", "webshart, by number"),
        ("wdstools, dataset", "webshart, by number"),
    }


@pytest.mark.slow
def test_reading_is_measured_without_webshart_too(setup: Setup, tmp_path: Path) -> None:
    options = ["--photos", setup.source, "--scratch", str(tmp_path), "--environments", str(tmp_path / "none")]
    done = run_command(
        "--tiny", *options, "--json", str(tmp_path / "raw.json"), cwd=REPOSITORY, module="benchmarks.raw"
    )
    assert done.code == 0, done.err
    assert "webshart was not measured" in done.err
    rows = json.loads((tmp_path / "raw.json").read_text())["rows"]
    assert len(rows) == 16
    assert all(row["value"] > 0 and row["ratio"] is None for row in rows)
    assert sorted(os.listdir(tmp_path)) == ["dataset", "raw.json"]


@pytest.mark.slow
def test_the_first_use_of_compiled_loops_is_measured(tmp_path: Path) -> None:
    options = ["--tiny", "--profile", "--scratch", str(tmp_path), "--json", str(tmp_path / "first.json")]
    done = run_command(*options, cwd=REPOSITORY, module="benchmarks.first_use")
    assert done.code == 0, done.err
    document = json.loads((tmp_path / "first.json").read_text())
    (row,) = document["rows"]
    assert row["low"] <= row["value"] <= row["high"]
    assert row["peer_value"] > 0
    assert document["profiles"] == {"tiny": {}}  # so few images need no compiler


@pytest.mark.slow
def test_very_many_shards_are_verified_by_two_processes_and_by_one(tmp_path: Path) -> None:
    options = ["--tiny", "--scratch", str(tmp_path), "--json", str(tmp_path / "shards.json")]
    done = run_command(*options, cwd=REPOSITORY, module="benchmarks.shards")
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "shards.json").read_text())["rows"]
    assert [row["benchmark"] for row in rows] == ["items"] * 3 + ["verify, clock", "verify, processor"] * 3
    assert all(row["ratio"] > 0 for row in rows[3:])


def test_items_of_work_are_small_however_many_shards_there_are() -> None:
    assert [row.met for row in shards.items()] == [True] * 3


def test_a_dataset_that_is_not_there_is_no_traceback(tmp_path: Path) -> None:
    done = run_command(
        "--dataset", str(tmp_path / "none"), "--scratch", str(tmp_path), cwd=REPOSITORY, module="benchmarks.raw"
    )
    assert done.code == 1
    assert "no such file or folder" in done.err
    assert "Traceback" not in done.err


def _uniqueness(*options: str) -> Ran:
    return run_command("--codes", *options, cwd=REPOSITORY, module="benchmarks.uniqueness_speed")


def test_uniqueness_is_measured_on_a_dataset_and_on_photographs_in_one_run(setup: Setup, tmp_path: Path) -> None:
    pack(setup.source, str(tmp_path / "set"))
    done = _uniqueness("--dataset", str(tmp_path / "set"), "--photos", setup.source)
    assert done.code == 0, done.err
    assert f"2 processes, {SAMPLES} images" in done.out
    assert f"equal bits in both hashes: {SAMPLES} of {SAMPLES}" in done.out


def test_cleanvision_is_measured_on_the_same_images_or_not_at_all(setup: Setup, tmp_path: Path) -> None:
    refused = _uniqueness("--dataset", str(tmp_path), "--cleanvision", sys.executable)
    assert refused.code == 2
    assert "--photos" in refused.err
    pack(setup.source, str(tmp_path / "set"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/one.jpg").write_bytes(b"")
    other = ("--photos", str(tmp_path / "other"), "--cleanvision", sys.executable)
    refused = _uniqueness("--dataset", str(tmp_path / "set"), *other)
    assert refused.code == 1
    assert "not the same work" in refused.err


def test_planted_copies_are_compared_with_what_each_level_finds(tmp_path: Path) -> None:
    make_photos(str(tmp_path / "photos"), 200)
    pack(str(tmp_path / "photos"), str(tmp_path / "set"))
    truth = tmp_path / "photos/truth.csv"
    options = ["--dataset", str(tmp_path / "set"), "--truth", str(truth)]
    quality = partial(run_command, *options[:2], cwd=REPOSITORY, module="benchmarks.uniqueness_quality")
    done = quality(*options[2:])
    assert done.out.splitlines()[:2] == [
        "exact: 2 of 2 planted pairs, 0 others",
        "re-encode: 4 of 4 planted pairs, 0 others",
    ]
    truth.write_text("\n".join(truth.read_text().splitlines()[:2]))
    done = quality(*options[2:])
    assert "re-encode: 1 of 1 planted pairs, 3 others" in done.out
    assert done.out.count("not planted: ") >= 3
    assert quality().code == 2
