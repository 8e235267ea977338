"""Compressed tars as a source: archives of folders, and shards."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import signal
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.accounting import pack_all
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import COMMAND, HANG_SECONDS, environment, run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from wdstools.errors import UsageError
from wdstools.landing.scratch import Scratch
from wdstools.stores.local import temporary_name

if TYPE_CHECKING:
    from pathlib import Path

ENCODED = pytest.mark.parametrize(
    ("suffix", "encoding"), [(".tar.gz", "tar.gz"), (".tgz", "tar.gz"), (".tar.zst", "tar.zst")]
)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return write_city_pairs(tmp_path / "cities", train=12, val=4, damaged=True)


def tar_of(folder: Path) -> bytes:
    """A tar of a folder, as GNU tar would make it."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(folder, folder.name)
    return sink.getvalue()


@ENCODED
def test_a_compressed_archive_gives_the_root_of_its_folder_and_leaves_nothing(
    suffix: str, encoding: str, folder: Path, tmp_path: Path
) -> None:
    archive = write(tmp_path / "a", {f"cities{suffix}": compressed(tar_of(folder), encoding)}) / f"cities{suffix}"
    ran = run_command("pack", archive, tmp_path / "a/out", "-j", "2", "--json")
    assert ran.code == 3, ran.err  # some images are damaged
    assert ran.summary["root"] == pack_all(folder, tmp_path / "out").dataset.root
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [archive.name, "out"]


@ENCODED
def test_compressed_shards_among_plain_ones_are_packed_again(suffix: str, encoding: str, tmp_path: Path) -> None:
    shards = {f"train/{n:03d}": tar_bytes(pairs(n * 3, 3)) for n in range(3)}
    write(tmp_path / "plain", {f"{name}.tar": data for name, data in shards.items()})
    packed = compressed(shards["train/001"], encoding)
    write(tmp_path / "in", {"train/000.tar": shards["train/000"], f"train/001{suffix}": packed})
    write(tmp_path / "in", {"train/002.tar": shards["train/002"]})
    expected = wt.pack(str(tmp_path / "plain"), str(tmp_path / "expected")).dataset
    assert wt.pack(str(tmp_path / "in"), str(tmp_path / "out")).root == expected.root
    assert not (tmp_path / "out.unpacked").exists()
    one = wt.pack(str(tmp_path / f"in/train/001{suffix}"), str(tmp_path / "one")).dataset
    assert sorted(sample["txt"] for sample in one["train"]) == [b"caption 3", b"caption 4", b"caption 5"]


@pytest.mark.parametrize(
    "names", [("0.tar.gz", "0.tgz"), ("0.tar", "0.tar.gz"), ("0.TAR", "0.tar"), ("0.taz", "0.TGZ")]
)
def test_two_tars_that_are_called_the_same_when_unpacked_are_refused_by_name(
    names: tuple[str, str], tmp_path: Path
) -> None:
    data = {name: tar_bytes(pairs(n * 3, 3)) for n, name in enumerate(names)}
    packed = {name: tar if name.lower().endswith(".tar") else compressed(tar, "tar.gz") for name, tar in data.items()}
    write(tmp_path / "in", {f"train/{name}": tar for name, tar in packed.items()})
    with pytest.raises(UsageError) as caught:
        wt.pack(str(tmp_path / "in"), str(tmp_path / "out"))
    assert caught.value.code == "names-collide"
    one, other = sorted(names)
    assert f"train/{one} and train/{other}" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    assert wt.pack(str(tmp_path / "in"), str(tmp_path / "out"), ignore=[f"train/{other}"]).samples == {"train": 3}


def test_compressed_shards_that_were_adopted_are_packed_with_their_splits(tmp_path: Path) -> None:
    write(tmp_path / "in", {"a-0.tar.gz": compressed(tar_bytes(pairs(0, 3)), "tar.gz")})
    wt.adopt(str(tmp_path / "in"), str(tmp_path / "meta"), split="val")
    packed = wt.pack(str(tmp_path / "meta"), str(tmp_path / "out")).dataset
    assert (packed.splits, len(packed["val"])) == (["val"], 3)


def test_scanning_leaves_nothing_and_says_what_scanning_the_folder_says(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, {"cities.tar.gz": compressed(tar_of(folder), "tar.gz"), "tmp/x": b""})
    ran = run_command("scan", tmp_path / "cities.tar.gz", "--json", env=environment(TMPDIR=str(tmp_path / "tmp")))
    of_folder = run_command("scan", folder, "--json")
    assert ran.summary | {"source": ""} == of_folder.summary | {"source": ""}
    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["x"]


@pytest.mark.parametrize("cut", [3, -20])
def test_a_damaged_one_is_refused_and_leaves_nothing(cut: int, folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "a", {"x.tar.gz": compressed(tar_of(folder), "tar.gz")[:cut]})
    ran = run_command("pack", tmp_path / "a/x.tar.gz", tmp_path / "a/out", "--json")
    assert (ran.code, ran.error["code"]) == (5, "compression-damaged")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["x.tar.gz"]


def test_what_a_killed_pack_has_unpacked_goes_with_the_next(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "a", {"x.tar.gz": compressed(tar_of(folder), "tar.gz")})
    with Scratch(str(tmp_path / "a/out.partial"), "out") as scratch:
        os.mkdir(scratch.locate("unpacked"))
        half = temporary_name("out.partial/unpacked/old.tar")
        write(tmp_path / "a", {half: b"half", "out.partial/unpacked.names": b"'old.tar'\n"})
    assert run_command("pack", tmp_path / "a/x.tar.gz", tmp_path / "a/out").code == 3
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["out", "x.tar.gz"]


def test_an_interrupted_pack_takes_away_what_it_has_unpacked(tmp_path: Path) -> None:
    members = [(f"{n:06d}.{ext}", tiny_jpeg(1) + bytes(400_000)) for n in range(200) for ext in ("jpg", "txt")]
    write(tmp_path / "a", {"x.tar.gz": gzip.compress(tar_bytes(members), 1)})
    command = [*COMMAND, "pack", str(tmp_path / "a/x.tar.gz"), str(tmp_path / "a/out")]
    # a shell's background jobs are started deaf to it, and hand that on
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment()) as process:
        signal.signal(signal.SIGINT, heard)
        while process.poll() is None and not (tmp_path / "a/out.partial/unpacked/x.tar").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 130
    assert not (tmp_path / "a/out.partial").exists()


def test_compressed_data_under_another_name_is_refused_with_the_command_to_run(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, {"x.img": lzma.compress(tar_of(folder)), "x.tar.xz": lzma.compress(tar_of(folder))})
    ran = run_command("pack", tmp_path / "x.img", tmp_path / "out", "--json")
    assert (ran.code, ran.error["code"]) == (2, "source-unknown")
    assert "name it .tar.xz" in ran.error["hint"]
    assert "xz -d" in ran.error["hint"]
    assert run_command("pack", tmp_path / "x.tar.xz", tmp_path / "out", "--json").summary["samples"]


def test_a_dataset_is_repaired_from_the_archive_that_it_was_packed_from(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, {"cities.tar.zst": compressed(tar_of(folder), "tar.zst")})
    dataset = pack_all(tmp_path / "cities.tar.zst", tmp_path / "out").dataset
    entry = dataset.manifest.splits["train"][0]
    path = tmp_path / "out" / entry.path
    data = bytearray(path.read_bytes())
    data[1000:1200] = bytes(200)
    path.chmod(0o644)
    path.write_bytes(data)
    ran = run_command("repair", tmp_path / "out", "--from", tmp_path / "cities.tar.zst", "-y")
    assert ran.code == 0, ran.err
    assert wt.verify(wt.open_dataset(str(tmp_path / "out"))).ok
