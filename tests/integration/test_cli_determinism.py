"""Same input, same bytes: whatever works on it, in whatever order it was written, packed from whatever container."""

from __future__ import annotations

import os
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.support.city_pairs import write_city_pairs
from tests.support.command import run_command
from tests.support.tools import need

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ("--shard-samples", "7", "--name", "pairs", "--version", "2")
WORKERS = [
    ("-j", "1"),
    ("-j", "2"),
    ("-j", "8"),
    ("-j", "3", "--executor", "serial"),
    ("-j", "3", "--executor", "threads"),
    ("-j", "3", "--executor", "processes"),
]


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("same") / "source", damaged=True)


@pytest.fixture(scope="module", name="packed")
def _packed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("same-out") / "dataset"
    assert run_command("pack", source, dest, *OPTIONS, "--executor", "serial").code == 3
    return dest


def _contents(dataset: Path, *, but: str = "") -> dict[str, bytes]:
    files = (path for path in dataset.rglob("*") if path.is_file() and path.name != but)
    return {str(path.relative_to(dataset)): path.read_bytes() for path in files}


@pytest.mark.parametrize("workers", WORKERS, ids=" ".join)
def test_any_workers_write_the_same_bytes(source: Path, packed: Path, tmp_path: Path, workers: tuple[str, ...]) -> None:
    assert run_command("pack", source, tmp_path / "out", *OPTIONS, *workers).code == 3
    assert _contents(tmp_path / "out") == _contents(packed)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_order_in_which_files_were_made_and_their_times_do_not_matter(
    packed: Path, tmp_path: Path, seed: int
) -> None:
    shuffled = write_city_pairs(tmp_path / "elsewhere", damaged=True, shuffled=seed)
    os.utime(shuffled / "img/train/oslo/0.jpg", (seed, seed))
    assert run_command("pack", shuffled, tmp_path / "out", *OPTIONS).code == 3
    assert _contents(tmp_path / "out") == _contents(packed)


def _zipped(source: Path, folder: Path) -> Path:
    path = folder / "source.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number, file in enumerate(sorted(source.rglob("*.*"), reverse=True)):
            method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            archive.write(file, file.relative_to(source), method)
    return path


def _tarred(source: Path, folder: Path) -> Path:
    path = folder / "source.tar"
    subprocess.run([need("tar"), "-C", str(source), "-cf", str(path), "."], check=True)
    return path


@pytest.mark.parametrize("make", [_zipped, _tarred], ids=["zip", "tar"])
def test_an_archive_of_the_folder_gives_the_same_root(source: Path, packed: Path, tmp_path: Path, make: object) -> None:
    assert callable(make)
    ran = run_command("pack", make(source, tmp_path), tmp_path / "out", *OPTIONS)
    assert ran.code == 3, ran.err
    # only provenance, and the list that has its digest, may tell the container
    ours, theirs = (_contents(folder, but="provenance.json") for folder in (tmp_path / "out", packed))
    assert {name for name in theirs if ours.get(name) != theirs[name]} <= {"SHA256SUMS"}
    assert set(ours) == set(theirs)


def test_another_seed_gives_another_order_and_the_same_samples(source: Path, packed: Path, tmp_path: Path) -> None:
    other = tmp_path / "out"
    assert run_command("pack", source, other, *OPTIONS, "--seed", "1").code == 3
    keys, others = (run_command("ls", dataset, "train").out.splitlines() for dataset in (packed, other))
    assert keys != others
    assert sorted(keys) == sorted(others)
