"""A new folder appears whole or not at all, where nothing is; what a killed run left of it goes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.outcome import contents
from wdstools.errors import StoreError, UsageError
from wdstools.landing import new_folder as module
from wdstools.landing.new_folder import new_folder
from wdstools.landing.scratch import Scratch
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


def _made(dest: Path) -> None:
    with new_folder(str(dest)) as scratch:
        assert os.listdir(scratch.new) == []
        scratch.note(["a.txt"])
        LocalStore(scratch.new).put("a.txt", b"a")
        assert not os.path.lexists(dest)


def test_a_folder_appears_whole_and_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(module, "sync_folder", synced.append)
    _made(tmp_path / "out")
    assert (contents(tmp_path), synced) == ({"out/a.txt": b"a"}, [str(tmp_path)])


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> None:
        with new_folder(str(tmp_path / "out")) as scratch:
            scratch.note(["a.txt"])
            LocalStore(scratch.new).put("a.txt", b"a")
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert os.listdir(tmp_path) == []


def test_what_is_there_stays_also_where_it_came_meanwhile(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    dest.mkdir()
    with pytest.raises(StoreError) as caught:
        _made(dest)
    assert caught.value.code == "destination-not-empty"
    dest.rmdir()

    def overtaken() -> None:
        with new_folder(str(dest)):
            dest.mkdir()
            (dest / "mine").write_text("mine")

    with pytest.raises(StoreError):
        overtaken()
    assert contents(tmp_path) == {"out/mine": b"mine"}
    with pytest.raises(UsageError):
        _made("s3://bucket/out")  # type: ignore[arg-type]  # what a person may give


def test_what_a_killed_run_left_goes_and_its_folder_stays(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    place = f"{dest}{TEMP_SUFFIX}"
    with Scratch(place, "out") as scratch:  # killed while it was made
        scratch.note(["old.txt"])
        LocalStore(scratch.new).put("old.txt", b"old")
    _made(dest)
    assert contents(tmp_path) == {"out/a.txt": b"a"}
    with Scratch(place, "out"):  # killed when it had just appeared
        pass
    with pytest.raises(StoreError):
        _made(dest)
    assert contents(tmp_path) == {"out/a.txt": b"a"}
    assert os.listdir(tmp_path) == ["out"]
