"""Folders of any depth are walked, made and removed; links are never followed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wdstools.errors import NotFoundError
from wdstools.stores import local
from wdstools.stores.folders import make_folders, remove_tree, walk
from wdstools.stores.local import LocalStore, translated
from wdstools.stores.open import BUCKETS, is_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEP = "y/" * 1_200 + "y"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "place").mkdir()
    yield tmp_path / "place"
    remove_tree(str(tmp_path / "place"), ignore_errors=True)
    assert not (tmp_path / "place").exists()


def test_a_tree_is_walked_as_os_walk_does(place: Path) -> None:
    for name in ("b/c/d", "b/e", "a"):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_text(name)
    (place / "a/up").symlink_to(place)
    (place / "a/itself").symlink_to("itself")
    (place / "a/nowhere").symlink_to("nothing")
    assert list(walk(str(place))) == list(os.walk(place))


def test_folders_that_the_caller_takes_out_are_not_walked(place: Path) -> None:
    (place / "a/b").mkdir(parents=True)
    (place / "c").mkdir()
    found = []
    for folder, folders, _ in walk(str(place)):
        found.append(os.path.basename(folder))
        folders[:] = [name for name in folders if name != "a"]
    assert found == ["place", "c"]


def test_a_folder_that_cannot_be_read_is_told(place: Path) -> None:
    told: list[OSError] = []
    assert list(walk(str(place / "none"), told.append)) == []
    assert [type(error) for error in told] == [FileNotFoundError]


def test_a_path_of_any_depth_is_made_walked_and_removed(place: Path) -> None:
    make_folders(f"{place}/{DEEP}")
    make_folders(f"{place}/{DEEP}")
    assert sum(1 for _ in walk(str(place))) == 1_202
    outside = place.parent / "outside"
    outside.mkdir()
    (outside / "mine").write_text("mine")
    for link in (f"{place}/{DEEP}/link", f"{place}/y/link"):
        os.symlink(outside, link)
    remove_tree(f"{place}/y")
    assert list(place.iterdir()) == []
    assert (outside / "mine").read_text() == "mine"


def test_a_file_in_the_way_of_a_folder_is_an_error(place: Path) -> None:
    (place / "x").write_text("")
    for path in ("x", "x/y"):
        with pytest.raises(OSError, match="x"):
            make_folders(str(place / path))
    with pytest.raises(OSError, match="none"):
        remove_tree(str(place / "none"))


def test_what_is_no_name_is_told_and_errors_of_the_caller_stay(place: Path) -> None:
    for name in ("a\0b", "\ud800"):
        with pytest.raises(NotFoundError, match="not a file name"):
            LocalStore(place).get(name)
    with pytest.raises(ValueError, match="theirs"), translated(str(place)):
        raise ValueError("theirs")


@pytest.mark.parametrize("scheme", BUCKETS)
def test_a_folder_that_is_called_as_a_bucket_begins_is_none(scheme: str) -> None:
    for path in (scheme, f"{scheme}/in", f"./{scheme}", Path(scheme)):
        assert not is_bucket(path)
    assert is_bucket(f"{scheme}://bucket/prefix")


def test_names_of_files_put_together_are_synced_once_all_are_there(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(local, "sync_folder", lambda path: synced.append((path, sorted(os.listdir(path)))))
    LocalStore(str(place)).put_all({"sums": b"1", ".meta/manifest": b"2", ".meta/history": b"3"})
    assert synced == [(str(place), [".meta", "sums"]), (f"{place}/.meta", ["history", "manifest"])]
    assert (place / ".meta/history").read_bytes() == b"3"
