"""The place where a dataset is built in a folder, driven step by step: what is ours is taken up again, anything else stays."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.outcome import contents
from wdstools.errors import BusyError, StoreError, UsageError
from wdstools.formats.manifest import MANIFEST_PATH, index_path
from wdstools.landing import site as module
from wdstools.landing.bucket_site import BucketSite
from wdstools.landing.scratch import Scratch
from wdstools.landing.site import PackSite, forget_landed, site_at, work_place
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore

SHARD = "train/train-000000.tar"
INDEX = index_path(SHARD)
FILES = {MANIFEST_PATH: b"a manifest", "README.md": b"a card"}
WHOLE = {SHARD: b"a shard", INDEX: b"an index", **FILES}
PLAN = "0" * 32
LINE = {"entry": {"path": SHARD}, "samples": 5}


@pytest.fixture(params=["new", "link"], name="dest")
def _dest(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A destination that comes to be, and one that stays where it is."""
    if request.param == "new":
        return tmp_path / "out"
    (tmp_path / "held").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "held")
    return tmp_path / "out"


def _begun(dest: Path, plan: str = PLAN, *, restart: bool = False) -> tuple[PackSite, list[dict[str, Any]]]:
    site = PackSite(str(dest))
    site.__enter__()
    try:
        return site, site.begin(plan, [SHARD, INDEX], restart=restart)
    except BaseException:
        site.__exit__(None, None, None)
        raise


def _made(site: PackSite) -> None:
    for path in (SHARD, INDEX):
        LocalStore(site.work).put(path, WHOLE[path])
    site.record(LINE)


def _killed(site: PackSite) -> None:
    """The process is gone: its lock with it, and nothing is tidied up."""
    site._stack.close()


def _published(dest: Path) -> PackSite:
    site, lines = _begun(dest)
    assert lines == []
    _made(site)
    site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    return site


def _visible(dest: Path) -> dict[str, bytes]:
    return {path: data for path, data in contents(dest).items() if not path.startswith(".wdstools/partial/")}


def test_a_dataset_appears_whole_and_leaves_no_trace_of_its_making(dest: Path) -> None:
    site = _published(dest)
    site.__exit__(None, None, None)
    assert contents(dest) == WHOLE
    assert not os.path.lexists(work_place(str(dest)))
    with pytest.raises(StoreError) as caught:
        _begun(dest)
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
            _begun(dest)
    assert (caught.value.code, os.listdir(dest)) == ("destination-not-empty", ["mine"])
    assert not os.path.lexists(work_place(str(dest)))
    (dest / "mine").unlink()
    site, _ = _begun(dest)  # nobody holds the place any more
    site.discard()
    site.__exit__(None, None, None)


def test_what_somebody_puts_at_the_destination_of_unfinished_work_is_told_and_stays(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    site, _ = _begun(dest)
    _made(site)
    _killed(site)
    dest.mkdir()
    (dest / "mine").write_text("mine")
    with pytest.raises(StoreError) as caught:
        _begun(dest)
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
    _published(dest).__exit__(None, None, None)
    with Scratch(work_place(str(dest)), "it"):
        pass
    assert os.path.isdir(work_place(str(dest)))
    with pytest.raises(StoreError):
        _begun(dest)
    assert not os.path.lexists(work_place(str(dest)))
    assert contents(dest) == WHOLE


def test_what_a_file_system_keeps_at_its_root_is_nothing_only_where_it_may_be_one(dest: Path) -> None:
    (dest / "lost+found").mkdir(parents=True)
    if not dest.is_symlink():
        with pytest.raises(StoreError):
            _begun(dest)
        (dest / "lost+found").rmdir()
    site = _published(dest)
    site.__exit__(None, None, None)
    assert contents(dest) == WHOLE


def test_nothing_that_was_not_kept_stays(dest: Path) -> None:
    there = os.path.isdir(dest)
    site, _ = _begun(dest)
    _made(site)
    site.discard()
    site.__exit__(None, None, None)
    assert os.path.isdir(dest) is there
    assert not there or os.listdir(dest) == []
    assert not os.path.lexists(work_place(str(dest)))


def test_what_was_finished_is_gone_on_with_and_another_plan_is_refused_or_begins_anew(dest: Path) -> None:
    site, _ = _begun(dest)
    _made(site)
    _killed(site)
    again, lines = _begun(dest)
    assert [(line["entry"], line["samples"]) for line in lines] == [(LINE["entry"], 5)]
    assert again.home.vouches_for(SHARD, lines[0])
    assert (contents(Path(again.work))[SHARD], again.home.own) == (WHOLE[SHARD], True)
    _killed(again)
    with pytest.raises(BusyError) as caught:
        _begun(dest, "1" * 32)
    assert caught.value.code == "partial-of-other-plan"
    other, lines = _begun(dest, "1" * 32, restart=True)
    assert (lines, contents(Path(other.work))) == ([], {})
    _killed(other)
    with pytest.raises(BusyError):
        _begun(dest)


def test_a_publication_that_nobody_saw_is_taken_back_and_made_again(dest: Path) -> None:
    _killed(_published(dest))
    assert _visible(dest) == WHOLE
    again, lines = _begun(dest)
    assert [line["entry"] for line in lines] == [LINE["entry"]]
    assert MANIFEST_PATH not in (_visible(dest) if dest.is_dir() else {})
    again.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    again.__exit__(None, None, None)
    assert contents(dest) == WHOLE


@pytest.mark.parametrize("changed", [SHARD, INDEX, MANIFEST_PATH, "README.md", "train/mine.txt", "mine.txt"])
def test_a_publication_in_which_somebody_changed_anything_is_not_taken_back(changed: str, dest: Path) -> None:
    _killed(_published(dest))
    path = dest / changed
    if path.exists():
        path.unlink()  # as an editor saves it
    path.write_bytes(b"somebody wrote this")
    before = _visible(dest)
    with pytest.raises(StoreError) as caught:
        _begun(dest)
    assert caught.value.code in ("destination-not-empty", "scratch-not-ours")
    assert _visible(dest) == before
    # elsewhere the dataset is there, and what is left of the work only said so
    assert os.path.lexists(work_place(str(dest))) is dest.is_symlink()


def test_nor_is_one_whose_card_was_changed_in_its_place(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    _killed(_published(dest))
    card, was = dest / "README.md", (dest / "README.md").stat()
    card.write_bytes(FILES["README.md"].upper())
    os.utime(card, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(StoreError):
        _begun(dest)
    assert card.read_bytes() == FILES["README.md"].upper()


class KilledError(BaseException):
    """The process is gone."""


def _dying(of: Any, name: str, monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """A function that works so many times, and then kills the process."""
    real, calls = getattr(of, name), itertools.count()

    def call(*given: Any) -> Any:
        if next(calls) == after:
            raise KilledError
        return real(*given)

    monkeypatch.setattr(of, name, call)


def test_whoever_dies_while_a_dataset_appears_the_next_run_finishes(
    dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, _ = _begun(dest)
    _made(site)
    for after in range(3 if dest.is_symlink() else 1):
        with monkeypatch.context() as patch:
            place, name = (module, "_move") if dest.is_symlink() else (os, "rename")
            _dying(place, name, patch, after=after)
            with pytest.raises(KilledError):
                site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
        assert MANIFEST_PATH not in (_visible(dest) if dest.is_dir() else {})
        _killed(site)
        if not dest.exists():
            dest.mkdir()  # an empty folder is as good as none
        site, lines = _begun(dest)
        assert [line["entry"] for line in lines] == [LINE["entry"]]
    site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    site.__exit__(None, None, None)
    assert contents(dest) == WHOLE


def test_a_publication_is_taken_back_manifest_first_also_where_the_names_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "held").mkdir()
    dest = tmp_path / "out"
    dest.symlink_to("held")
    _killed(_published(dest))
    os.unlink(f"{work_place(str(dest))}/names")  # stopped while it took its marks away
    _dying(module, "_move", monkeypatch, after=1)
    with pytest.raises(KilledError):
        _begun(dest)
    assert _visible(dest) == {path: data for path, data in WHOLE.items() if path != MANIFEST_PATH}


def test_a_name_is_durable_before_it_is_said_to_be_there(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(module, "sync_folder", synced.append)
    _published(dest).__exit__(None, None, None)
    folders = {"", "train", ".wdstools", ".wdstools/index"}
    expected = {os.path.join(dest, folder) for folder in folders} if dest.is_symlink() else {str(dest.parent)}
    assert set(synced) == expected


def test_a_publication_of_which_a_file_is_gone_is_not_taken_for_whole(tmp_path: Path) -> None:
    for lost in (SHARD, INDEX, "README.md"):
        dest = tmp_path / lost.replace("/", "-")
        _killed(_published(dest))
        (dest / lost).unlink()
        with pytest.raises(StoreError):
            _begun(dest)
        assert contents(dest) == {path: data for path, data in WHOLE.items() if path != lost}


def test_a_shard_that_lost_its_size_is_not_published(dest: Path) -> None:
    site, _ = _begun(dest)
    _made(site)
    with pytest.raises(StoreError, match="lost its size"):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD]) + 1})
    _killed(site)
    assert MANIFEST_PATH not in (_visible(dest) if dest.is_dir() else {})


def test_what_somebody_puts_there_meanwhile_stays_and_is_told(dest: Path) -> None:
    site, _ = _begun(dest)
    _made(site)
    (dest / "train").mkdir(parents=True)
    (dest / SHARD).write_bytes(b"somebody's")
    with pytest.raises(StoreError):
        site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    _killed(site)
    assert _visible(dest) == {SHARD: b"somebody's"}


def test_files_of_somebody_else_in_the_scratch_place_are_named_and_stay(dest: Path) -> None:
    site, _ = _begun(dest)
    _made(site)
    _killed(site)
    stranger = f"{site.work}/train/mine.txt"
    with open(stranger, "w", encoding="ascii") as file:
        file.write("mine")
    for restart in (False, True):
        with pytest.raises(StoreError) as caught:
            _begun(dest, restart=restart)
        assert (caught.value.code, "mine.txt" in caught.value.got) == ("scratch-not-ours", True)
    assert os.path.isfile(stranger)


def test_what_is_left_of_a_landing_is_forgotten_once_all_of_it_has_appeared(dest: Path) -> None:
    _killed(_published(dest))
    forget_landed(str(dest))
    assert not os.path.lexists(work_place(str(dest)))
    assert contents(dest) == WHOLE
    forget_landed(str(dest))


def test_unfinished_work_is_not_forgotten(dest: Path) -> None:
    site, _ = _begun(dest)
    _made(site)
    _killed(site)
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
