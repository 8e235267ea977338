"""The place where a dataset is built in a folder, driven step by step: what is ours is taken up again, anything else stays."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.support.outcome import contents
from tests.support.pack_site import (
    FILES,
    INDEX,
    LINE,
    PLAN,
    SHARD,
    WHOLE,
    begun,
    destination,
    killed,
    made,
    published,
    visible,
)
from wdstools.errors import BusyError, StoreError, UsageError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.landing.bucket_site import BucketSite
from wdstools.landing.scratch import Scratch
from wdstools.landing.site import PackSite, forget_landed, site_at, work_place
from wdstools.stores.memory import MemoryStore


@pytest.fixture(params=["new", "link"], name="dest")
def _dest(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return destination(request.param, tmp_path)


def test_a_dataset_appears_whole_and_leaves_no_trace_of_its_making(dest: Path) -> None:
    site = published(dest)
    site.__exit__(None, None, None)
    assert contents(dest) == WHOLE
    assert not os.path.lexists(work_place(str(dest)))
    with pytest.raises(StoreError) as caught:
        begun(dest)
    assert caught.value.code == "destination-not-empty"
    assert contents(dest) == WHOLE


@pytest.mark.parametrize("has_own", [False, True])
def test_who_only_looks_leaves_everything_as_it_was(has_own: bool, dest: Path) -> None:
    if has_own and dest.is_symlink():
        (dest / ".wdstools").mkdir()
    before = sorted(path.name for path in dest.parent.rglob("*"))
    with PackSite(str(dest)) as site:
        assert not site.home.own
    assert sorted(path.name for path in dest.parent.rglob("*")) == before


def test_what_appears_while_one_waits_for_the_place_is_seen(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Scratch.__enter__

    def late(scratch: Scratch) -> Scratch:
        dest.mkdir(exist_ok=True)
        (dest / "mine").write_text("mine")
        return real(scratch)

    with monkeypatch.context() as patch:
        patch.setattr(Scratch, "__enter__", late)
        with pytest.raises(StoreError) as caught:
            begun(dest)
    assert (caught.value.code, os.listdir(dest)) == ("destination-not-empty", ["mine"])
    assert not os.path.lexists(work_place(str(dest)))
    (dest / "mine").unlink()
    site, _ = begun(dest)  # nobody holds the place any more
    site.discard()
    site.__exit__(None, None, None)


def test_what_somebody_puts_at_the_destination_of_unfinished_work_is_told_and_stays(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    site, _ = begun(dest)
    made(site)
    killed(site)
    dest.mkdir()
    (dest / "mine").write_text("mine")
    with pytest.raises(StoreError) as caught:
        begun(dest)
    assert (caught.value.code, os.listdir(dest)) == ("destination-not-empty", ["mine"])
    with pytest.raises(StoreError):
        PackSite(str(dest)).refuse_taken()
    (dest / "mine").unlink()
    site = PackSite(str(dest))
    with site:
        (dest / "mine").write_text("mine")
        with pytest.raises(StoreError):
            site.begin(PLAN, [SHARD, INDEX], restart=False)
        (dest / "mine").unlink()
        assert len(site.begin(PLAN, [SHARD, INDEX], restart=False)) == 1


def test_marks_that_a_killed_run_left_beside_its_dataset_go(dest: Path) -> None:
    published(dest).__exit__(None, None, None)
    with Scratch(work_place(str(dest)), "it"):
        pass
    with Scratch(work_place(str(dest)), "it"):  # another run removes them just now
        with pytest.raises(BusyError):
            begun(dest)
        assert os.path.isdir(work_place(str(dest)))
    with pytest.raises(StoreError):
        begun(dest)
    assert not os.path.lexists(work_place(str(dest)))
    assert contents(dest) == WHOLE


def test_what_a_file_system_keeps_at_its_root_is_nothing_only_where_it_may_be_one(dest: Path) -> None:
    (dest / "lost+found").mkdir(parents=True)
    if not dest.is_symlink():
        with pytest.raises(StoreError):
            begun(dest)
        (dest / "lost+found").rmdir()
    site = published(dest)
    site.__exit__(None, None, None)
    assert contents(dest) == WHOLE


def test_nothing_that_was_not_kept_stays(dest: Path) -> None:
    there = os.path.isdir(dest)
    site, _ = begun(dest)
    made(site)
    site.discard()
    site.__exit__(None, None, None)
    assert os.path.isdir(dest) is there
    assert not there or os.listdir(dest) == []
    assert not os.path.lexists(work_place(str(dest)))


def test_what_was_finished_is_gone_on_with_and_another_plan_is_refused_or_begins_anew(dest: Path) -> None:
    site, _ = begun(dest)
    made(site)
    killed(site)
    again, lines = begun(dest)
    assert [(line["entry"], line["samples"]) for line in lines] == [(LINE["entry"], 5)]
    assert again.home.vouches_for(SHARD, lines[0])
    assert (contents(Path(again.work))[SHARD], again.home.own) == (WHOLE[SHARD], True)
    killed(again)
    with pytest.raises(BusyError) as caught:
        begun(dest, "1" * 32)
    assert caught.value.code == "partial-of-other-plan"
    assert "restart=True" in caught.value.hint
    other, lines = begun(dest, "1" * 32, restart=True)
    assert (lines, contents(Path(other.work))) == ([], {})
    killed(other)
    with pytest.raises(BusyError):
        begun(dest)


def test_work_that_was_begun_is_kept_until_somebody_begins_anew(dest: Path) -> None:
    site, _ = begun(dest)
    assert os.path.isdir(site.work)
    made(site)
    site.__exit__(None, None, None)
    again, lines = begun(dest)
    assert (len(lines), contents(Path(again.work))[SHARD]) == (1, WHOLE[SHARD])
    again.__exit__(None, None, None)
    anew, lines = begun(dest, restart=True)
    assert (lines, contents(Path(anew.work))) == ([], {})
    killed(anew)


def test_a_shard_that_lost_its_size_is_not_published(dest: Path) -> None:
    site, _ = begun(dest)
    made(site)
    with pytest.raises(StoreError, match="the size of a finished shard has changed"):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD]) + 1})
    killed(site)
    assert MANIFEST_PATH not in (visible(dest) if dest.is_dir() else {})


def test_what_somebody_puts_there_meanwhile_stays_and_is_told(dest: Path) -> None:
    site, _ = begun(dest)
    made(site)
    (dest / "train").mkdir(parents=True)
    (dest / SHARD).write_bytes(b"somebody's")
    with pytest.raises(StoreError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    killed(site)
    assert visible(dest) == {SHARD: b"somebody's"}


def test_files_of_somebody_else_in_the_scratch_place_are_named_and_stay(dest: Path) -> None:
    site, _ = begun(dest)
    made(site)
    killed(site)
    stranger = f"{site.work}/train/mine.txt"
    with open(stranger, "w", encoding="ascii") as file:
        file.write("mine")
    for restart in (False, True):
        with pytest.raises(StoreError) as caught:
            begun(dest, restart=restart)
        assert (caught.value.code, "mine.txt" in caught.value.got) == ("scratch-not-ours", True)
    assert os.path.isfile(stranger)


def test_what_is_left_of_a_landing_is_forgotten_once_all_of_it_has_appeared(dest: Path) -> None:
    killed(published(dest))
    forget_landed(str(dest))
    assert not os.path.lexists(work_place(str(dest)))
    assert contents(dest) == WHOLE
    forget_landed(str(dest))


def test_unfinished_work_is_not_forgotten(dest: Path) -> None:
    place = Path(work_place(str(dest)))
    place.mkdir(parents=True)
    (place / "mine").write_text("mine")
    forget_landed(str(dest))
    assert contents(place) == {"mine": b"mine"}
    shutil.rmtree(place)
    site, _ = begun(dest)
    made(site)
    killed(site)
    forget_landed(str(dest))
    assert contents(Path(site.work))[SHARD] == WHOLE[SHARD]


def test_a_file_is_no_place_and_memory_is_none_either(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError) as caught:
        PackSite(str(tmp_path / "file")).refuse_taken()
    assert caught.value.code == "destination-not-empty"
    for dest in ("memory:", "https://host/a", ""):
        with pytest.raises(UsageError) as refused:
            site_at(dest)
        assert refused.value.code == "destination-elsewhere"
    assert isinstance(site_at((tmp_path / "new").as_uri()), PackSite)
    assert isinstance(site_at(MemoryStore()), BucketSite)
    PackSite(str(tmp_path / "absent")).refuse_taken()
    with pytest.raises(UsageError):
        PackSite("s3://bucket/set")
