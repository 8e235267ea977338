"""Places that results are made in, at moments that come seldom: another process is quicker, a disk fails, a lock must go."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from tests.support.outcome import contents
from tests.support.pack_site import FILES, INDEX, LINE, PLAN, SHARD, WHOLE, begun, killed, made
from wdstools.dataset import PACK_CLAIM_PATH
from wdstools.errors import StoreError, UsageError, WdsError
from wdstools.landing import new_folder as new_folder_module
from wdstools.landing.bucket_site import BucketSite
from wdstools.landing.new_folder import new_folder
from wdstools.landing.notes import seal_key
from wdstools.landing.scratch import Scratch, is_marked
from wdstools.landing.site import PackSite, forget_landed, site_at, work_place
from wdstools.landing.staging import staged
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.receipts import MARK

if TYPE_CHECKING:
    from collections.abc import Callable


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _failing(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Meddled(Scratch):
    """A scratch place; somebody else acts just after it was locked."""

    act: Callable[[], object]

    def __enter__(self) -> Self:
        """As said above."""
        super().__enter__()
        type(self).act()
        return self


def test_a_folder_that_another_process_made_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out"
    monkeypatch.setattr(Meddled, "act", dest.mkdir, raising=False)
    monkeypatch.setattr(new_folder_module, "Scratch", Meddled)
    with pytest.raises(StoreError) as caught, new_folder(str(dest)) as scratch:
        Path(scratch.new, "x").touch()
    assert (caught.value.code, contents(dest)) == ("destination-not-empty", {})


@pytest.mark.parametrize("is_ours", [False, True])
def test_a_place_beside_a_folder_that_is_taken_stays(is_ours: bool, tmp_path: Path) -> None:
    """It is somebody else's, or a run is at work in it."""
    (tmp_path / "out").mkdir()
    place = tmp_path / f"out{TEMP_SUFFIX}"
    (place / "new").mkdir(parents=True)
    (place / "new" / "x").touch()
    if is_ours:
        (place / MARK).write_text(json.dumps({"owner": "wdstools"}))
    else:
        os.rename(place / "new", place / "mine")
    before = contents(tmp_path)
    with pytest.raises(StoreError) as caught, new_folder(str(tmp_path / "out")):
        pass
    assert caught.value.where == str(tmp_path / "out")
    assert contents(tmp_path) == before


def test_without_a_shared_secret_each_user_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WDSTOOLS_PACK_SECRET", raising=False)
    keys = set()
    for user in ("a", "b"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / user))
        keys |= {seal_key("plan"), seal_key("plan")}
    monkeypatch.setenv("WDSTOOLS_PACK_SECRET", "ours")
    keys |= {seal_key("plan"), seal_key("another")}
    assert len(keys) == 4


@pytest.mark.parametrize("size", [4096, 4097])
def test_a_mark_is_a_short_file(size: int, tmp_path: Path) -> None:
    mark = json.dumps({"owner": "wdstools", "id": ""})
    (tmp_path / MARK).write_text(mark.replace('""', f'"{"x" * (size - len(mark))}"'))
    assert os.path.getsize(tmp_path / MARK) == size
    assert is_marked(str(tmp_path)) is (size == 4096)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_claim_of_a_prefix_is_at_most_a_mebibyte(size: int) -> None:
    store = MemoryStore()
    claim = json.dumps({"owner": "wdstools", "plan": PLAN, "more": ""})
    store.put(PACK_CLAIM_PATH, claim.replace('""', f'"{"x" * (size - len(claim))}"').encode())
    refused = contextlib.nullcontext() if size == 1 << 20 else pytest.raises(WdsError)
    with refused, BucketSite(remote(store)) as site:
        assert site.begin(PLAN, [SHARD, INDEX], restart=False) == []


def test_marks_leave_no_file_open(tmp_path: Path) -> None:
    before = _open_files()
    for number in range(3):
        with Scratch(str(tmp_path / f"{number}"), "x"):
            pass
        assert is_marked(str(tmp_path / f"{number}"))
    (tmp_path / "0" / MARK).write_text("no JSON")
    assert not is_marked(str(tmp_path / "0"))
    assert _open_files() == before


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_place_that_is_refused_is_not_locked(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    refused = Scratch(str(tmp_path), "x")
    with pytest.raises(StoreError), refused:
        pass
    (tmp_path / "mine").unlink()
    with Scratch(str(tmp_path), "x"):
        pass
    del refused


def test_a_place_that_was_interrupted_is_not_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch, site = Scratch(str(tmp_path / "place"), "x"), PackSite(str(tmp_path / "out"))
    with monkeypatch.context() as patched:
        patched.setattr(scratch, "_mark", _interrupted)
        with pytest.raises(KeyboardInterrupt), scratch:
            pass
        patched.setattr(site._journal, "lines", _interrupted)
        with pytest.raises(KeyboardInterrupt), site:
            pass
    for place in (str(tmp_path / "place"), work_place(str(tmp_path / "out"))):
        with Scratch(place, "x"):
            pass


def test_a_destination_that_was_made_meanwhile_is_refused_and_nothing_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out"

    def act() -> None:
        dest.mkdir()
        (dest / "mine").touch()

    monkeypatch.setattr(Meddled, "act", act, raising=False)
    with monkeypatch.context() as patched:
        patched.setattr("wdstools.landing.site.Scratch", Meddled)
        site = PackSite(str(dest))
    with pytest.raises(StoreError) as caught, site:
        pass
    assert (caught.value.code, os.listdir(dest)) == ("destination-not-empty", ["mine"])
    with Scratch(work_place(str(dest)), "x"):
        pass
    del site


def test_a_destination_of_somebody_else_gets_nothing_beside_it(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "mine").touch()
    seen: list[list[str]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Scratch, "__enter__", lambda self: seen.append(os.listdir(tmp_path)))
        with pytest.raises(StoreError) as caught, PackSite(str(dest)):
            pass
    assert (caught.value.code, seen, os.listdir(tmp_path)) == ("destination-not-empty", [], ["out"])


def test_what_a_killed_run_unpacked_goes_when_the_next_begins(tmp_path: Path) -> None:
    site, _ = begun(tmp_path / "out")
    scratch = site._scratch
    folder = Path(scratch.path, "unpacked")
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    killed(site)
    with PackSite(str(tmp_path / "out")):
        assert not folder.exists()


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    site, _ = begun(tmp_path / "out")
    journal = Path(site._scratch.path, "journal.jsonl")
    journal.unlink()
    journal.mkdir()
    with pytest.raises(StoreError) as caught:
        site.record(LINE)
    assert caught.value.where == str(journal)
    journal.rmdir()
    site.__exit__(None, None, None)


def test_a_run_that_was_killed_before_its_folder_appeared_goes_on_over_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    site, _ = begun(dest)
    made(site)
    rename = os.rename
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", lambda a, b: _failing() if str(b) == str(dest) else rename(a, b))
        with pytest.raises(StoreError):
            site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    killed(site)
    assert site._journal.landing() is not None
    site, lines = begun(dest)
    assert [line["entry"] for line in lines] == [LINE["entry"]]
    site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    site.__exit__(None, None, None)
    assert contents(dest) == WHOLE


@pytest.mark.parametrize("lacks", ["mark", "landing"])
def test_only_a_place_of_ours_that_has_landed_is_forgotten(lacks: str, tmp_path: Path) -> None:
    site, _ = begun(tmp_path / "out")
    killed(site)
    place = Path(work_place(str(tmp_path / "out")))
    if lacks == "mark":
        with (place / "journal.jsonl").open("a") as journal:
            journal.write(json.dumps({"landing": {}, "shards": {}}) + "\n")
        (place / MARK).unlink()
    before = contents(place)
    forget_landed(str(tmp_path / "out"))
    assert contents(place) == before


def test_an_address_that_is_a_folder_here_too_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("s3:/bucket/city").mkdir(parents=True)
    with pytest.raises(UsageError):  # which of the two was meant?
        site_at("s3://bucket/city")


def test_a_stage_on_a_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scratch, "note", _failing)
    with pytest.raises(StoreError) as caught, staged(str(tmp_path), ["x"]):
        pass
    assert (caught.value.code, caught.value.where.startswith(str(tmp_path))) == ("disk-full", True)
