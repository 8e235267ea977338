"""Places that cannot be packed to: full, read-only, taken by somebody else; and sources that change meanwhile."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import HANG_SECONDS, assert_clean_failure, run_command, start_command
from tests.support.outcome import assert_complete, snapshot
from tests.support.small_disk import grow, set_read_only, small_disk
from tests.support.write_points import WritePoints
from wdstools.errors import SourceChangedError, StoreError
from wdstools.executors.local import Serial
from wdstools.landing.scratch import Scratch
from wdstools.ops.pack import run_pack
from wdstools.ops.verify import verify_path
from wdstools.planning.options import make_options
from wdstools.sources.folder import FolderSource
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wdstools.sources.base import Listing


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("places") / "source", train=60, val=20)


@pytest.fixture(scope="module", name="root")
def _root(source: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    ran = run_command("pack", source, tmp_path_factory.mktemp("places-out") / "out", "--shards", "4", "--json")
    assert ran.code == 0, ran.err
    return str(ran.summary["root"])


def test_a_full_disk_is_named_and_the_pack_goes_on_when_there_is_room(source: Path, root: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 160) as disk:
        dest = disk / "out"
        ran = run_command("pack", source, dest, "--shards", "4", "--json", "-j", "2")
        assert_clean_failure(ran, 4)
        assert ran.error["code"] == "disk-full"
        assert "free some space" in ran.error["hint"]
        assert not dest.exists()
        grow(disk, 8192)
        ran = run_command("pack", source, dest, "--shards", "4", "--json")
        assert ran.code == 0, ran.err
        assert ran.summary["root"] == root
        assert_complete(dest)


@pytest.mark.slow
def test_whatever_fits_on_the_disk_the_pack_ends_cleanly(source: Path, root: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        dest = disk / "out"
        for kilobytes in range(8, 2000, 60):
            grow(disk, kilobytes)
            ran = run_command("pack", source, dest, "--shards", "4", "--json", "--executor", "serial")
            if ran.code == 0:
                assert ran.summary["root"] == root
                assert_complete(dest)
                return
            assert_clean_failure(ran, 4)
            assert ran.error["code"] == "disk-full", kilobytes
            assert not dest.exists()
    pytest.fail("the dataset never fitted")


def test_a_read_only_place_is_refused(source: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 512) as disk:
        set_read_only(disk)
        ran = run_command("pack", source, disk / "out", "--json")
    assert_clean_failure(ran, 4)
    assert ran.error["code"] == "read-only"


def test_a_mount_point_is_packed_to(source: Path, root: str, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8192) as disk:
        ran = run_command("pack", source, disk, "--shards", "4", "--json")
        assert ran.code == 0, ran.err
        assert ran.summary["root"] == root
        assert verify_path(str(disk)).ok
        assert sorted(path.name for path in (disk / ".wdstools").iterdir()) == [
            "index",
            "manifest.json",
            "provenance.json",
        ]
        before = snapshot(disk)
        assert_clean_failure(run_command("pack", source, disk, "--shards", "4"), 4)
        assert snapshot(disk) == before


@pytest.mark.parametrize("kind", ["here", "link"])
def test_an_empty_folder_that_cannot_be_replaced_is_packed_into(
    source: Path, root: str, tmp_path: Path, kind: str
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "link").symlink_to("empty")
    where, dest = (empty, ".") if kind == "here" else (tmp_path, "link")
    ran = run_command("pack", source, dest, "--shards", "4", "--json", cwd=where)
    assert (ran.code, ran.summary["root"]) == (0, root), ran.err
    assert verify_path(str(empty)).ok
    assert sorted(os.listdir(tmp_path)) == ["empty", "link"]
    assert sorted(os.listdir(empty / ".wdstools")) == ["index", "manifest.json", "provenance.json"]
    before = snapshot(empty)
    again = run_command("pack", source, dest, "--shards", "4", "--json", cwd=where)
    assert (again.code, again.error["code"]) == (4, "destination-not-empty")
    assert snapshot(empty) == before


@pytest.mark.parametrize("dest", [".", "link", "new"])
def test_a_pull_killed_when_its_dataset_had_appeared_leaves_nothing_after_the_next(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dest: str
) -> None:
    made = wt.pack(str(source), str(tmp_path / "origin"), shards=4, jobs=1)
    (tmp_path / "place/empty").mkdir(parents=True)
    (tmp_path / "place/link").symlink_to("empty")
    monkeypatch.chdir(tmp_path / ("place/empty" if dest == "." else "place"))

    def killed(_: Scratch) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "remove", killed)
        with pytest.raises(KeyboardInterrupt):
            wt.pull(str(tmp_path / "origin"), dest, jobs=1)
    assert any(path.name == "partial" or path.suffix == ".partial" for path in (tmp_path / "place").rglob("*"))
    again = wt.pull(str(tmp_path / "origin"), dest, jobs=1)
    assert (again.root, again.fetched) == (made.root, 0)
    assert not any("partial" in path.name for path in (tmp_path / "place").rglob("*"))
    assert verify_path(dest).ok


def test_what_was_skipped_is_not_kept_in_the_empty_folder_itself(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "src/a.jpg").write_text("no image")
    (tmp_path / "src/a.txt").write_text("caption")
    assert run_command("pack", tmp_path / "src", ".", cwd=tmp_path / "here").code == 2
    assert sorted(path.name for path in tmp_path.rglob("*.jsonl")) == ["here.skipped.jsonl"]
    assert os.listdir(tmp_path / "here") == []


@pytest.mark.parametrize("what", ["a file", "a folder with a file", "a dataset", "a dangling link"])
def test_a_destination_that_is_taken_is_refused_and_untouched(source: Path, tmp_path: Path, what: str) -> None:
    dest = tmp_path / "out"
    if what == "a file":
        dest.write_text("mine")
    elif what == "a dangling link":
        dest.symlink_to(tmp_path / "nowhere")
    elif what == "a dataset":
        assert run_command("pack", source, dest).code == 0
    else:
        dest.mkdir()
        (dest / "mine.txt").write_text("mine")
    before = snapshot(tmp_path)
    for options in ((), ("--restart",)):
        ran = run_command("pack", source, dest, "--json", *options)
        assert_clean_failure(ran, 4)
        assert ran.error["code"] == "destination-not-empty"
        assert snapshot(tmp_path) == before


@pytest.mark.parametrize("end", ["", "/.//.", "/in/../"])
def test_an_empty_folder_may_be_the_destination(source: Path, root: str, tmp_path: Path, end: str) -> None:
    (tmp_path / "out").mkdir()
    ran = run_command("pack", source, f"{tmp_path}/out{end}", "--shards", "4", "--json")
    assert (ran.code, ran.summary.get("root")) == (0, root), ran.err
    assert os.listdir(tmp_path) == ["out"]
    assert verify_path(str(tmp_path / "out")).ok


@pytest.mark.parametrize("options", [(), ("--restart",)])
def test_somebody_elses_folder_under_the_name_of_our_work_is_untouched(
    source: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    theirs = tmp_path / "out.partial"
    theirs.mkdir()
    (theirs / "thesis.doc").write_text("years of work")
    before = snapshot(tmp_path)
    ran = run_command("pack", source, tmp_path / "out", "--json", *options)
    assert_clean_failure(ran, 4)
    assert ran.error["code"] == "destination-not-empty"
    assert snapshot(tmp_path) == before


def test_a_second_packer_is_refused_while_the_first_is_at_work(source: Path, root: str, tmp_path: Path) -> None:
    dest, partial = tmp_path / "out", tmp_path / "out.partial"
    partial.mkdir()
    with locked_folder(str(partial), str(dest)):
        ran = run_command("pack", source, dest, "--shards", "4", "--json")
    assert_clean_failure(ran, 6)
    assert ran.error["code"] == "busy"
    ran = run_command("pack", source, dest, "--shards", "4", "--json")
    assert ran.code == 0, ran.err
    assert ran.summary["root"] == root


def test_of_two_packers_at_once_at_least_one_finishes_and_none_spoils_the_other(
    source: Path, root: str, tmp_path: Path
) -> None:
    dest = tmp_path / "out"
    both = [start_command("pack", source, dest, "--shards", "4", "-j", "1") for _ in range(2)]
    errors = [process.communicate(timeout=HANG_SECONDS)[1] for process in both]
    codes = sorted(process.wait() for process in both)
    # the second one comes while the first packs (6), or after it has finished (4)
    assert codes in ([0, 6], [0, 4]), errors
    assert not any(b"Traceback" in error for error in errors)
    assert verify_path(str(dest)).root == root
    assert_complete(dest)


def test_an_unfinished_pack_with_other_options_is_refused_until_told_to_restart(
    source: Path, root: str, tmp_path: Path
) -> None:
    dest = tmp_path / "out"
    _leave_unfinished(source, dest)
    before = snapshot(tmp_path)
    ran = run_command("pack", source, dest, "--shards", "4", "--json")
    assert_clean_failure(ran, 6)
    assert ran.error["code"] == "partial-of-other-plan"
    assert "--restart" in ran.error["hint"]
    assert {name: value[3] for name, value in snapshot(tmp_path).items()} == {n: v[3] for n, v in before.items()}
    ran = run_command("pack", source, dest, "--shards", "4", "--json", "--restart")
    assert (ran.code, ran.summary["root"]) == (0, root)
    assert_complete(dest)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _leave_unfinished(source: Path, dest: Path) -> None:
    """A pack of other options that was interrupted when its first shards were finished."""
    with WritePoints(40, _interrupt), pytest.raises(KeyboardInterrupt):
        run_pack(FolderSource(str(source)), str(dest), make_options(shard_samples=9), executor=Serial())


class _Meanwhile:
    """A source in which something happens after it was listed."""

    def __init__(self, path: Path, happen: Callable[[], None]) -> None:
        self._source = FolderSource(str(path))
        self._happen = happen

    def list(self) -> Listing:
        listing = self._source.list()
        self._happen()
        return listing


@pytest.mark.parametrize("suffix", ["img/train/oslo/0.jpg", "captions/train/oslo/0.txt"])
def test_a_file_removed_between_listing_and_reading_stops_the_pack(source: Path, tmp_path: Path, suffix: str) -> None:
    copy = shutil.copytree(source, tmp_path / "source")
    happening = _Meanwhile(copy, (copy / suffix).unlink)
    with pytest.raises(StoreError) as caught:
        run_pack(happening, str(tmp_path / "out"), make_options(), executor=Serial())
    assert caught.value.where.endswith(suffix)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_being_written_while_it_is_read_stops_the_pack(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(source, tmp_path / "source")
    image = copy / "img/train/oslo/0.jpg"
    real, versions = os.open, iter(range(1_000_000))

    def open_and_write(path: str, *arguments: int, **named: int) -> int:
        if str(path).endswith("img/train/oslo/0.jpg"):
            image.write_bytes(tiny_jpeg(next(versions)))
        return real(path, *arguments, **named)

    monkeypatch.setattr(os, "open", open_and_write)
    with pytest.raises(SourceChangedError) as caught:
        run_pack(FolderSource(str(copy)), str(tmp_path / "out"), make_options(), executor=Serial())
    assert caught.value.where.endswith("img/train/oslo/0.jpg")
    assert not (tmp_path / "out").exists()


def test_a_source_changed_between_two_runs_is_not_taken_from_the_finished_shards(source: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(source, tmp_path / "source")
    image = copy / "img/train/oslo/0.jpg"

    def pack(dest: str, happen: Callable[[], None] = lambda: None) -> str:
        options = make_options(shards=4, name="pairs")
        return run_pack(_Meanwhile(copy, happen), str(tmp_path / dest), options, executor=Serial()).root

    first = copy / "captions/val/oslo/100000.txt"
    text = first.read_bytes()
    with pytest.raises(StoreError):  # the train shards are finished, val is not
        pack("out", first.unlink)
    first.write_bytes(text)
    image.write_bytes(tiny_jpeg(12345))
    assert pack("out") == pack("fresh")


def test_a_caption_mended_between_two_runs_is_packed(source: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(source, tmp_path / "source")
    caption = copy / "captions/train/oslo/0.txt"
    caption.write_bytes(b"caf\xe9")
    options = make_options(shards=4, name="pairs")
    with WritePoints(60, _interrupt), pytest.raises(KeyboardInterrupt):
        run_pack(FolderSource(str(copy)), str(tmp_path / "out"), options, executor=Serial())
    journal = (tmp_path / "out.partial/journal.jsonl").read_text()
    assert "caption-not-utf8" in journal
    caption.write_bytes("café".encode())
    roots = {
        dest: run_pack(FolderSource(str(copy)), str(tmp_path / dest), options, executor=Serial()).root
        for dest in ("out", "fresh")
    }
    assert roots["out"] == roots["fresh"]
