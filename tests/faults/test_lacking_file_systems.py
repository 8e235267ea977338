"""Disks and network folders that lack something: every writing command does its work by the next best way, or says what to do."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.city_pairs import write_city_pairs
from tests.support.command import environment, run_command
from tests.support.lacking import without
from wdstools.errors import StoreError
from wdstools.stores.abilities import LOCK_SUFFIX
from wdstools.stores.local import LocalStore

#: A disk or network folder that has as little as can be; what some have; and each lack alone.
LEAST = "fsync-folder fsync-file flock posix-locks links noreplace replace symbolic odd-names"
LACKS = (
    "fsync-folder links symbolic odd-names",
    "fsync-folder",
    "fsync-file",
    "flock",
    "flock-ENOLCK",
    "flock posix-locks",
    "links",
    "links noreplace",
    "replace",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    write_city_pairs(folder / "pairs", train=12, val=4)
    return folder / "pairs"


@pytest.mark.parametrize("lack", [LEAST, *(pytest.param(lack, marks=pytest.mark.slow) for lack in LACKS)])
def test_every_writing_command_works_without(lack: str, source: Path, built: Path, tmp_path: Path) -> None:
    env = without(lack, built)

    def run(*arguments: str | Path) -> None:
        ran = run_command(*arguments, cwd=tmp_path, env=env, cold=True)
        assert ran.code == 0, (arguments, ran.out, ran.err)

    run("pack", source, "d", "--no-progress")
    run("pull", "d", "copy", "--no-progress")
    run("mirror", "d", "mirrored", "-y", "--no-progress")
    shard = next(path for path in sorted((tmp_path / "copy").rglob("*.tar")))
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    run("repair", "copy", "--from", "d", "-y", "--no-progress")
    run("emit", "d", "--for", "open_clip", "--for", "timm", "-y")
    run("extract", "d", "files", "--no-progress")
    key = json.loads(run_command("ls", "d", "train", "--json", cwd=tmp_path).out.splitlines()[0])["key"]
    (tmp_path / "keys").write_text(f"{key}\n")
    run("remove", "mirrored", "--keys", "keys", "--in-place", "-y", "--no-progress")
    run("remove", "d", "--keys", "keys", "-o", "less", "-y", "--no-progress")
    run("mirror", "d", "mirrored", "-y", "--replace", "--allow-older", "--no-progress")
    run("adopt", "d/train", "-o", "adopted", "--no-progress")
    for place in ("d", "copy", "mirrored", "less"):
        assert run_command("verify", place, cwd=tmp_path).code == 0
    left = [path.name for path in tmp_path.rglob("*") if "wdstools-tmp" in path.name]
    assert left == []


@pytest.mark.parametrize(
    ("lack", "codes"),
    [
        ("fsync-folder flock posix-locks links noreplace", {"no-folder-sync", "no-locks", "no-new-names"}),
        pytest.param("fsync-file", {"no-file-sync"}, marks=pytest.mark.slow),
        pytest.param("links", set(), marks=pytest.mark.slow),  # a rename that replaces nothing is as good
        pytest.param("", set(), marks=pytest.mark.slow),
    ],
)
def test_what_is_weaker_there_is_said_once(
    lack: str, codes: set[str], source: Path, built: Path, tmp_path: Path
) -> None:
    env = without(lack, built)
    ran = run_command("pack", source, "d", "--no-progress", cwd=tmp_path, env=env, cold=True)
    said = [line.split(": ")[1] for line in ran.err.splitlines() if line.startswith("weaker: ")]
    assert (ran.code, sorted(said)) == (0, sorted(codes))
    told = run_command("pull", "d", "copy", "--json", cwd=tmp_path, env=env, cold=True)
    assert {one["code"] for one in told.summary.get("weaker", ())} == codes
    assert told.err == ""


def test_a_file_that_is_too_large_for_the_disk_is_told_with_what_to_do(
    source: Path, built: Path, tmp_path: Path
) -> None:
    ran = run_command("pack", source, tmp_path / "d", "--shards", "1", env=without("large-files", built), cold=True)
    assert ran.code == 4, ran.err
    assert "file-too-large" in ran.err
    assert "--shards" in ran.err
    assert not (tmp_path / "d").exists()


def test_a_second_writer_is_kept_out_where_nothing_locks(built: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from wdstools.stores.locks import locked_folder\n"
        "with locked_folder(sys.argv[1], 'here'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    place = tmp_path / "data"
    place.mkdir()
    env = environment(**without("flock posix-locks", built))
    command = [sys.executable, "-c", code, str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        second = subprocess.run(command, capture_output=True, env=env, text=True, check=False)
        assert "BusyError" in second.stderr
        first.kill()
    lock = Path(f"{place}{LOCK_SUFFIX}")
    assert lock.exists()  # what was killed could not remove it: its owner is gone, so it counts for nothing
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as third:
        assert third.stdout is not None
        assert third.stdout.readline() == "held\n"
        third.kill()
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 1, "began": "1"}))
    fourth = subprocess.run(command, capture_output=True, env=env, text=True, check=False)
    assert "BusyError" in fourth.stderr
    assert f"rm {lock}" in fourth.stderr


@pytest.mark.parametrize(
    ("lack", "call", "number"),
    [
        ("fsync-folder", "os.fsync(os.open('.', os.O_RDONLY))", errno.EINVAL),
        ("flock", "fcntl.flock(os.open('.', os.O_RDONLY), fcntl.LOCK_EX)", errno.ENOSYS),
        ("posix-locks", "fcntl.lockf(os.open('a', os.O_RDWR), fcntl.LOCK_EX)", errno.ENOLCK),
        ("links", "os.link('a', 'b')", errno.EPERM),
        ("replace", "os.rename('a', 'a2')", errno.EEXIST),
        ("odd-names", "open('a:b', 'w')", errno.EINVAL),
    ],
)
def test_what_is_taken_away_is_gone(lack: str, call: str, number: int, built: Path, tmp_path: Path) -> None:
    for name in ("a", "a2"):
        (tmp_path / name).write_text("x")
    code = f"import os, fcntl\ntry:\n    {call}\nexcept OSError as error:\n    print(error.errno)"
    env = environment(**without(lack, built))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{number}\n"


def test_an_odd_name_that_the_disk_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refusing(*_: object, **__: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("wdstools.stores.local.os.open", refusing)
    with pytest.raises(StoreError) as caught:
        LocalStore(tmp_path).put("what?:", b"1")
    assert ": ?" in caught.value.hint


def test_a_disk_that_fails_is_not_taken_for_a_simple_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def failing(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("os.fsync", failing)
    with pytest.raises(StoreError):
        LocalStore(tmp_path).put("x", b"1")
    assert os.listdir(tmp_path) == []
