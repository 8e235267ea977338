"""Duplicates among a hundred thousand images of real size: all that were planted, nothing else, and how long a million would take."""

from __future__ import annotations

import csv
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from benchmarks.make_photos import make_photos
from tests.support.command import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.options.pack import DuplicateLevel


pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

SAMPLES = 100_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scale") / "photos"
    make_photos(str(folder), SAMPLES)
    return folder


@pytest.fixture(scope="module")
def dataset(source: Path) -> Path:
    dest = source.parent / "shards"
    wt.pack(str(source), str(dest), jobs=2)
    return dest


def _planted(source: Path, kinds: set[str]) -> set[frozenset[str]]:
    """Groups of keys; copies of one original are one group."""
    groups: dict[str, set[str]] = {}
    with open(source / "truth.csv", encoding="utf-8") as file:
        for copy, original, kind in list(csv.reader(file))[1:]:
            if kind in kinds:
                groups.setdefault(original, {original}).add(copy)
    return {frozenset("/".join(name[:-4].split("/")[-2:]) for name in group) for group in groups.values()}


@pytest.mark.parametrize(("level", "kinds"), [("exact", {"bytes"}), ("re-encode", {"bytes", "re-encoded"})])
def test_every_planted_copy_is_found_and_nothing_else(
    source: Path, dataset: Path, level: DuplicateLevel, kinds: set[str]
) -> None:
    found = wt.find_duplicates(wt.open_dataset(str(dataset)), level=level)
    assert {frozenset(member.key for member in group.members) for group in found} == _planted(source, kinds)


def test_the_benchmark_shows_the_line_to_a_million(dataset: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.uniqueness_speed", "--codes", "--dataset", str(dataset)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    sys.stdout.write(done.stdout)
    assert f"{SAMPLES:,} images hashed after" in done.stdout
    assert "straight line: " in done.stdout
    assert "1,000,000 images on it" in done.stdout
