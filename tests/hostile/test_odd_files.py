"""Things in a source folder that are no plain files: never waited for, never endless, always named."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import HANG_SECONDS, run_command
from tests.support.limited import assert_announced, run_limited

if TYPE_CHECKING:
    from collections.abc import Callable

#: A read that waits for ever fails its own test, and leaves the others alone.
pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


ODD: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": bind,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", ["odd.jpg", "odd.txt"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_named(kind: str, name: str, tmp_path: Path) -> None:
    source = tmp_path / "s"
    write_files(source, {"good.jpg": tiny_jpeg(1), "good.txt": b"x", "odd.jpg": tiny_jpeg(2), "odd.txt": b"odd"})
    (source / name).unlink()
    ODD[kind](source / name)
    ran = run_limited("pack", source, tmp_path / "out")
    assert_announced(ran, 3, 4)
    listed = tmp_path / "out/.wdstools/skipped.jsonl"
    assert "odd" in ran.err + (listed.read_text() if listed.exists() else "")


#: Names that wdstools opens for what they say, in a source, among shards, and in a dataset.
IN_FOLDER = ["metadata.csv", "captions.json", "a/good.json", "README.md", "x.tar", "x.tar.gz", "captions/good.txt"]
IN_SHARDS = ["train/train-000009.tar", "train/train-000009.tar.gz", "README.md", "train/metadata.csv", "_info.json"]
IN_DATASET = [
    "train/train-000000.tar",
    "train/x.tar",
    "README.md",
    "SHA256SUMS",
    ".wdstools/manifest.json",
    ".wdstools/provenance.json",
    ".wdstools/index/train-000000.parquet",
    ".wdstools/emitted.json",
    ".wdstools/staged/commit.json",
]
READING: list[tuple[str, ...]] = [("verify",), ("pull", "NEW")]
READING_MORE: list[tuple[str, ...]] = [
    ("info",),
    ("repair", "-n"),
    ("extract", "NEW"),
    ("mirror", "NEW", "-n"),
    ("pack", "NEW"),
    ("duplicates", "--level", "exact"),
    ("emit", "--for", "all", "-n"),
    ("remove", "--where", "label is None", "-o", "NEW", "-y"),
    ("diff", "WHOLE"),
    ("scan",),
]


@pytest.fixture(scope="module", name="places")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, a folder of shards of others, and a dataset."""
    work = tmp_path_factory.mktemp("places")
    files = {f"a/{name}": data for n in range(4) for name, data in ((f"{n}.jpg", tiny_jpeg(n)), (f"{n}.txt", b"x"))}
    write_files(work / "folder", files)
    assert run_command("pack", work / "folder", work / "dataset", "--split", "train").code == 0
    shutil.copytree(work / "dataset/train", work / "shards/train")
    return work


def _with_odd(places: Path, what: str, name: str, kind: str, tmp_path: Path) -> Path:
    place = Path(shutil.copytree(places / what, tmp_path / what))
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).unlink(missing_ok=True)
    with contextlib.chdir((place / name).parent):  # the name of a socket may have few bytes only
        ODD[kind](Path((place / name).name))
    return place


@pytest.mark.parametrize("name", IN_FOLDER)
def test_what_is_no_plain_file_is_skipped_with_a_reason_whatever_it_is_called(
    name: str, places: Path, tmp_path: Path
) -> None:
    place = _with_odd(places, "folder", name, "fifo", tmp_path)
    ran = run_command("pack", place, tmp_path / "new", "--json")
    assert (ran.code, ran.summary["skipped"]) == (3, {"not-a-file": 1})
    assert run_command("scan", place).out.count("not-a-file") == 2


@pytest.mark.parametrize("name", IN_SHARDS)
def test_so_it_is_among_shards(name: str, places: Path, tmp_path: Path) -> None:
    place = _with_odd(places, "shards", name, "fifo", tmp_path)
    packed = run_command("pack", place, tmp_path / "new", "--json")
    assert packed.code in (0, 3)
    adopted = run_command("adopt", place, "-o", tmp_path / "adopted", "--json")
    assert adopted.code in (0, 3)
    if "tar" in name:
        assert packed.summary["skipped"] == {"not-a-file": 1}
        assert name in (tmp_path / "new/.wdstools/skipped.jsonl").read_text()
        assert "not-a-file" in adopted.out


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
@pytest.mark.parametrize("name", IN_DATASET)
def test_no_command_waits_for_what_lies_in_a_dataset(
    name: str, command: tuple[str, ...], places: Path, tmp_path: Path
) -> None:
    place = _with_odd(places, "dataset", name, "fifo", tmp_path)
    _answered(command, place, places, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in ODD if kind != "folder"])
@pytest.mark.parametrize("command", [*READING, *READING_MORE], ids=lambda command: command[0])
def test_nor_for_any_kind_of_it(kind: str, command: tuple[str, ...], places: Path, tmp_path: Path) -> None:
    for number, name in enumerate([*IN_DATASET, *IN_FOLDER]):
        place = _with_odd(places, "dataset", name, kind, tmp_path / str(number))
        _answered(command, place, places, tmp_path / str(number))


def _answered(command: tuple[str, ...], place: Path, places: Path, work: Path) -> None:
    words = {"NEW": work / "new", "WHOLE": places / "dataset"}
    ran = run_command(command[0], place, *(words.get(word, word) for word in command[1:]))
    assert ran.code in (0, 1, 2, 3, 4, 5), ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("kind", ["fifo", "socket", "endless device"])
@pytest.mark.parametrize("command", ["scan", "pack", "verify", "adopt", "pull", "extract", "info"])
def test_a_source_that_is_a_pipe_is_refused(kind: str, command: str, tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        ODD[kind](Path("odd"))
    new = [tmp_path / "new"] if command in ("pack", "pull", "extract") else []
    ran = run_command(command, tmp_path / "odd", *new)
    assert ran.code == 4
    assert str(tmp_path / "odd") in ran.err
    if command == "verify":
        assert f"verify - < {tmp_path / 'odd'}" in ran.err
