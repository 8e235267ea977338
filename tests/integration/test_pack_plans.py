"""pack: options that would do nothing are refused, a plan is told without writing, shards are bounded by bytes too."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from wdstools import UsageError, pack
from wdstools.planning import plan as planning

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    files = {f"{split}/{n}{split}.jpg": tiny_jpeg(n) for split in ("train", "val") for n in range(20)}
    captions = {f"{split}/{n}{split}.txt": b"words" for split in ("train", "val") for n in range(20)}
    return write_files(tmp_path / "src", {**files, **captions, "other/x.jpg": tiny_jpeg(99)})


@pytest.mark.parametrize(
    "options",
    [
        ("--quality", "90"),
        ("--mode", "crop"),
        ("--mode", "crop", "--convert", "png"),
        ("--quality", "90", "--convert", "png"),
        ("--shard-bytes", "1MB", "--shards", "3"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options: tuple[str, ...], source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "out", *options, "--json")
    assert (ran.code, ran.error["code"]) == (2, "option-idle")
    assert options[0] in ran.error["message"]
    assert not (tmp_path / "out").exists()


def test_a_dry_run_tells_what_the_pack_then_does(source: Path, tmp_path: Path) -> None:
    before = sorted(os.listdir(tmp_path))
    told = run_command("pack", source, tmp_path / "out", "--dry-run", "--shards", "2")
    assert told.code == 3
    assert "would pack 40 samples" in told.out
    assert "train: 20 samples in 2 shards" in told.out
    assert "outside the layout: 1 .jpg in other (x.jpg)" in told.out
    assert sorted(os.listdir(tmp_path)) == before
    plan = run_command("pack", source, tmp_path / "out", "-n", "--shards", "2", "--json").summary
    made = pack(str(source), str(tmp_path / "out"), shards=2)
    assert plan["samples"] == dict(made.samples)
    assert sum(plan["shards"].values()) == made.shards
    assert plan["skipped"] == dict(made.skipped)
    assert plan["account"]["files"] == made.account["files"]
    assert abs(plan["bytes"] - made.bytes) < made.bytes


def test_a_plan_too_large_to_be_held_makes_the_same_shards(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = pack(str(source), str(tmp_path / "held"), shards=2)
    monkeypatch.setattr(planning, "_HELD_SAMPLES", held.samples["train"])
    made = pack(str(source), str(tmp_path / "made"), shards=2)
    assert (made.root, made.shards) == (held.root, 4)


def test_shards_hold_about_so_many_bytes(source: Path, tmp_path: Path) -> None:
    one = pack(str(source), str(tmp_path / "one"))
    many = run_command("pack", source, tmp_path / "many", "--shard-bytes", "20kB")
    assert many.code == 3
    again = pack(str(source), str(tmp_path / "again"), shard_bytes=20_000)
    assert one.shards == 2
    assert 4 <= again.shards <= 8
    assert (tmp_path / "many/.wdstools/manifest.json").read_bytes() == (
        tmp_path / "again/.wdstools/manifest.json"
    ).read_bytes()


@pytest.mark.parametrize("size", [0, -1, "many"])
def test_a_size_that_is_none_is_refused(size: object, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        pack(str(source), str(tmp_path / "out"), shard_bytes=size)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dest", "code"),
    [("src/out", "destination-in-source"), ("full", "destination-not-empty"), ("file", "destination-not-empty")],
)
def test_a_dry_run_refuses_a_destination_as_the_pack_does(dest: str, code: str, source: Path, tmp_path: Path) -> None:
    write_files(tmp_path, {"full/mine.txt": b"x", "file": b"x"})
    for more in ((), ("-n",)):
        ran = run_command("pack", source, tmp_path / dest, "--json", *more)
        assert (ran.error["code"], ran.out) == (code, ""), more
    assert not (tmp_path / "src/out").exists()
