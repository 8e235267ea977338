"""Shards as each writer writes them are adopted, verified, read, and packed again clean."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg
from tests.support.foreign_tars import Members, pairs, tar_bytes, write
from tests.support.tools import need, need_module

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = pairs(0, 12)


def _webdataset(folder: Path) -> set[str]:
    webdataset = need_module("webdataset")
    with webdataset.ShardWriter(str(folder / "x-%06d.tar"), maxcount=5, verbose=0) as sink:
        for number in range(12):
            sink.write({"__key__": f"{number:06d}", "jpg": tiny_jpeg(number), "txt": f"caption {number}"})
    return set()


def _gnu_tar(folder: Path) -> set[str]:
    need("tar")
    write(folder / "loose", dict(MEMBERS))
    subprocess.run(["tar", "--sort=name", "-cf", folder / "x.tar", "-C", folder / "loose", "."], check=True)
    for path in (folder / "loose").iterdir():
        path.unlink()
    return set()


def _bsdtar(folder: Path) -> set[str]:
    need("bsdtar")
    write(folder / "loose", dict(MEMBERS))
    names = [name for name, _ in MEMBERS]
    subprocess.run(["bsdtar", "-cf", folder / "x.tar", "-C", folder / "loose", *names], check=True)
    for path in (folder / "loose").iterdir():
        path.unlink()
    return set()


def _wdstools(folder: Path) -> set[str]:
    write(folder / "in", dict(MEMBERS))
    dataset = wt.pack(str(folder / "in"), str(folder / "out"), shards=3).dataset
    for path in (folder / "out" / dataset.splits[0]).iterdir():
        path.rename(folder / path.name)
    (folder / "out").rename(folder / ".out")
    return set()


WRITERS = {writer.__name__.removeprefix("_"): writer for writer in (_webdataset, _gnu_tar, _bsdtar, _wdstools)}


def _samples(dataset: wt.Dataset) -> Members:
    found = [
        (f"{sample.key.removeprefix('./')}.{extension}", sample[extension])
        for split in dataset.splits
        for sample in dataset[split]
        for extension in sample
    ]
    return sorted(found)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_it_wrote_is_adopted_verified_and_read(writer: str, tmp_path: Path) -> None:
    expected = WRITERS[writer](tmp_path)
    result = wt.adopt(tmp_path, tmp_path / "meta", digests="all")
    assert {hazard.code for hazard in result.hazards} == expected
    dataset = wt.open_dataset(str(tmp_path / "meta"))
    assert _samples(dataset) == MEMBERS
    assert wt.verify(dataset, level="decode").ok


def test_shards_with_every_flaw_are_packed_again_clean(tmp_path: Path) -> None:
    image = {f"{a}.{b}": tiny_jpeg(10 * a + b) for a in range(3) for b in range(4)}
    members = [(f"{key}.jpg", data) for key, data in image.items()]
    members += [(f"{key}.txt", f"words {key}".encode()) for key in image]  # dots in keys, and members apart
    write(tmp_path / "in", {"train-000.tar": tar_bytes(members)})
    dataset = wt.pack(str(tmp_path / "in"), str(tmp_path / "out")).dataset
    found = {sample.key: (sample["jpg"], sample["txt"]) for sample in dataset["train"]}
    assert found == {key.replace(".", "%2E"): (data, f"words {key}".encode()) for key, data in image.items()}
    theirs = wt.adopt(tmp_path / "out", tmp_path / "meta")
    assert theirs.hazards == ()
    assert wt.verify(dataset).ok


def test_an_adopted_dataset_is_packed_from_where_its_shards_are(tmp_path: Path) -> None:
    write(tmp_path / "in", {f"train/{n:03d}.tar": tar_bytes(pairs(n * 3, 3)) for n in range(2)})
    wt.adopt(str(tmp_path / "in"), str(tmp_path / "meta"))
    dataset = wt.pack(str(tmp_path / "meta"), str(tmp_path / "out")).dataset
    assert len(dataset["train"]) == 6
    assert dataset["000004"]["txt"] == b"caption 4"
