"""Sparse members of a tar are refused by name, whatever form GNU tar gave them: nobody gets other bytes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.accounting import pack_all
from tests.support.command import run_command
from tests.support.foreign_tars import pairs, write
from wdstools.ops.verify.lone import verify_shard_file

if TYPE_CHECKING:
    from pathlib import Path

FORMS = {
    "gnu": ["--format=gnu"],
    "pax 0.0": ["--format=pax", "--sparse-version=0.0"],
    "pax 0.1": ["--format=pax", "--sparse-version=0.1"],
    "pax 1.0": ["--format=pax", "--sparse-version=1.0"],
}
SPARSE = "000001.jpg"
#: More holes than a map of a mebibyte tells of.
MANY_HOLES = 40_000


def folder(tmp_path: Path, holes: int = 1) -> Path:
    """Three samples below ``f/train``, one image with holes behind its data."""
    made = write(tmp_path / "f/train", dict(pairs(0, 3)))
    with open(made / SPARSE, "r+b") as file:
        for number in range(1, holes + 1):
            file.seek(number * 8192)
            file.write(b"x")
        file.truncate((holes + 2) * 8192)
    return tmp_path / "f"


def tar(path: Path, form: str, *names: str, below: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["tar", *FORMS[form], "--sort=name", "--sparse", "-cf", str(path), "-C", str(below), *names]
    subprocess.run(command, check=True)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_verb_names_it(form: str, tmp_path: Path) -> None:
    below = folder(tmp_path) / "train"
    shard = tar(tmp_path / "in/train-000000.tar", form, *sorted(os.listdir(below)), below=below)

    scanned = run_command("scan", tmp_path / "in")
    assert "member-sparse" in scanned.out
    assert SPARSE in scanned.out

    packed = pack_all(tmp_path / "in", tmp_path / "out")
    assert packed.reasons[f"train-000000.tar/{SPARSE}"] == "member-sparse"
    assert sorted(packed.samples()) == ["000000", "000002"]

    adopted = run_command("adopt", tmp_path / "in", "-o", tmp_path / "adopted")
    assert adopted.code == 3
    assert SPARSE in adopted.out + adopted.err
    streamed = {sample.key: set(sample) for sample in wt.stream(str(tmp_path / "adopted"), shuffle=None)}
    assert streamed == {"000000": {"jpg", "txt"}, "000001": {"txt"}, "000002": {"jpg", "txt"}}

    report = verify_shard_file(str(shard))
    assert report.findings == ()
    assert any(SPARSE in text for text in report.unproved)


@pytest.mark.parametrize("form", FORMS)
def test_a_tar_of_a_folder_is_packed_without_it(form: str, tmp_path: Path) -> None:
    archive = tar(tmp_path / "f.tar", form, "train", below=folder(tmp_path))
    packed = pack_all(archive, tmp_path / "out", layout={"image": "{split}/{id}.jpg", "caption": "{split}/{id}.txt"})
    assert packed.reasons[f"train/{SPARSE}"] == "member-sparse"
    assert sorted(packed.samples()) == ["000000", "000002"]


@pytest.mark.parametrize("form", FORMS)
def test_a_map_of_any_length_hides_nothing_that_follows(form: str, tmp_path: Path) -> None:
    below = folder(tmp_path, MANY_HOLES) / "train"
    shard = tar(tmp_path / "in/x-000000.tar", form, *sorted(os.listdir(below)), below=below)
    report = verify_shard_file(str(shard))
    assert (report.findings, report.checked["samples"]) == ((), 3)
