"""A dataset that had just appeared when its packer died: taken back and made again, if all of it is as it was."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.killed import KilledError
from tests.support.outcome import contents
from tests.support.pack_site import (
    FILES,
    INDEX,
    LINE,
    SHARD,
    WHOLE,
    begun,
    destination,
    killed,
    made,
    published,
    visible,
)
from wdstools.errors import StoreError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.landing import site as module
from wdstools.landing.site import work_place

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=["new", "link"], name="dest")
def _dest(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return destination(request.param, tmp_path)


def test_a_file_has_one_name_also_where_a_killed_run_left_it_two(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "deep/other"
    one.write_text("ours")
    other.parent.mkdir()
    os.link(one, other)
    module._move(str(one), str(other))
    assert (one.exists(), other.read_text()) == (False, "ours")
    one.write_text("another")
    with pytest.raises(FileExistsError):
        module._move(str(one), str(other))
    assert (one.read_text(), other.read_text()) == ("another", "ours")


def test_a_publication_that_nobody_saw_is_taken_back_and_made_again(dest: Path) -> None:
    killed(published(dest))
    assert visible(dest) == WHOLE
    again, lines = begun(dest)
    assert [line["entry"] for line in lines] == [LINE["entry"]]
    assert MANIFEST_PATH not in (visible(dest) if dest.is_dir() else {})
    again.publish(FILES, {SHARD: len(WHOLE[SHARD])})
    again.__exit__(None, None, None)
    assert contents(dest) == WHOLE


@pytest.mark.parametrize("changed", [SHARD, INDEX, MANIFEST_PATH, "README.md", "train/mine.txt", "mine.txt"])
def test_a_publication_in_which_somebody_changed_anything_is_not_taken_back(changed: str, dest: Path) -> None:
    killed(published(dest))
    path = dest / changed
    if path.exists():
        path.unlink()  # as an editor saves it
    path.write_bytes(b"somebody wrote this")
    before = visible(dest)
    with pytest.raises(StoreError) as caught:
        begun(dest)
    assert caught.value.code in ("destination-not-empty", "scratch-not-ours")
    assert visible(dest) == before
    # elsewhere the dataset is there, and what is left of the work only said so
    assert os.path.lexists(work_place(str(dest))) is dest.is_symlink()


def test_nor_is_one_whose_card_was_changed_in_its_place(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    killed(published(dest))
    card, was = dest / "README.md", (dest / "README.md").stat()
    card.write_bytes(FILES["README.md"].upper())
    os.utime(card, ns=(was.st_atime_ns, was.st_mtime_ns))
    with pytest.raises(StoreError):
        begun(dest)
    assert card.read_bytes() == FILES["README.md"].upper()


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
    site, _ = begun(dest)
    made(site)
    for after in range(3 if dest.is_symlink() else 1):
        with monkeypatch.context() as patch:
            place, name = (module, "_move") if dest.is_symlink() else (os, "rename")
            _dying(place, name, patch, after=after)
            with pytest.raises(KilledError):
                site.publish(FILES, {SHARD: len(WHOLE[SHARD])})
        assert MANIFEST_PATH not in (visible(dest) if dest.is_dir() else {})
        killed(site)
        if not dest.exists():
            dest.mkdir()  # an empty folder is as good as none
        site, lines = begun(dest)
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
    killed(published(dest))
    os.unlink(f"{work_place(str(dest))}/names")  # stopped while it took its marks away
    _dying(module, "_move", monkeypatch, after=1)
    with pytest.raises(KilledError):
        begun(dest)
    assert visible(dest) == {path: data for path, data in WHOLE.items() if path != MANIFEST_PATH}


def test_a_name_is_durable_before_it_is_said_to_be_there(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(module, "sync_folder", synced.append)
    published(dest).__exit__(None, None, None)
    folders = {"", "train", ".wdstools", ".wdstools/index"}
    expected = {os.path.join(dest, folder) for folder in folders} if dest.is_symlink() else {str(dest.parent)}
    assert set(synced) == expected


def test_a_publication_of_which_a_file_is_gone_is_not_taken_for_whole(tmp_path: Path) -> None:
    for lost in (SHARD, INDEX, "README.md"):
        dest = tmp_path / lost.replace("/", "-")
        killed(published(dest))
        (dest / lost).unlink()
        with pytest.raises(StoreError):
            begun(dest)
        assert contents(dest) == {path: data for path, data in WHOLE.items() if path != lost}
