"""A scratch place is ours by its mark, and a file in it by a receipt: anything else is refused, named, and stays."""

from __future__ import annotations

import json
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support.outcome import contents
from wdstools.errors import BusyError, StoreError, UsageError, WdsError
from wdstools.landing.scratch import Scratch, files_below, is_marked, remove_empty, unpacked_folder
from wdstools.stores.local import LocalStore, temporary_name
from wdstools.stores.receipts import MARK, leave_receipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ["train/a.tar", "b.txt"]


def _made(scratch: Scratch) -> None:
    scratch.note(NAMES)
    for name in NAMES:
        LocalStore(scratch.new).put(name, name.encode())


def _refused(act: Callable[[], object], code: str) -> WdsError:
    with pytest.raises(WdsError) as caught:
        act()
    assert caught.value.code == code
    return caught.value


def _entered(path: Path) -> None:
    with Scratch(str(path), "it"):
        pass


def test_a_place_is_made_marked_and_gone_with_all_that_is_ours(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with Scratch(str(place), "it", ("own",)) as scratch:
        mark = json.loads((place / MARK).read_bytes())
        assert (mark["owner"], len(mark["id"])) == ("wdstools", 32)
        assert not (place / MARK).stat().st_mode & 0o111
        assert is_marked(str(place))
        _made(scratch)
        (place / "own").write_text("its owner's")
        assert scratch.noted() == set(NAMES)
        assert scratch.strangers(scratch.new) == []
        _refused(lambda: _entered(place), BusyError("").code)
    _entered(place)  # nobody holds it any more, and it is ours
    with Scratch(str(place), "it", ("own",)) as scratch:
        scratch.clear()
        assert not os.path.lexists(scratch.new)
        scratch.remove()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "kind", ["a file", "a link", "a link to nothing", "a full folder", "a linked mark", "another mark"]
)
def test_what_carries_no_mark_of_ours_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    place, other = tmp_path / "place", tmp_path / "other"
    other.mkdir()
    if kind == "a file":
        place.write_text("mine")
    elif kind == "a link":
        place.symlink_to(other)
    elif kind == "a link to nothing":
        place.symlink_to(tmp_path / "nothing")
    else:
        place.mkdir()
        if kind == "a linked mark":
            (other / "empty").write_bytes(b"")
            (place / MARK).symlink_to(other / "empty")
        else:
            (place / ("mine" if kind == "a full folder" else MARK)).write_text("mine")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    for _ in range(2):
        _refused(lambda: _entered(place), "destination-not-empty")
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before
    assert not is_marked(str(place))


def test_a_place_whose_maker_was_killed_before_its_mark_was_written_is_taken_over(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / MARK).write_bytes(b"")
    _entered(place)
    assert is_marked(str(place))


def test_only_a_plain_file_that_says_so_is_a_mark(tmp_path: Path) -> None:
    marked = tmp_path / "marked"
    _entered(marked)
    for kind in ("folder", "pipe", "link", "list", "no owner", "no JSON", "nothing"):
        place = tmp_path / kind
        place.mkdir()
        mark = place / MARK
        if kind == "folder":
            mark.mkdir()
        elif kind == "pipe":
            os.mkfifo(mark)
        elif kind == "link":
            mark.symlink_to(marked / MARK)
        elif kind != "nothing":
            mark.write_text({"list": "[]", "no owner": '{"owner": "me"}', "no JSON": "{"}[kind])
        assert not is_marked(str(place)), kind
    assert is_marked(str(marked))


def test_work_of_the_first_version_is_told_by_its_name(tmp_path: Path) -> None:
    for name, is_old in ((".wdstools/journal.jsonl", True), (".wdstools/other", False)):
        place = tmp_path / str(is_old)
        LocalStore(str(place)).put(name, b"")
        error = _refused(partial(_entered, place), "destination-not-empty")
        assert ("0.1" in error.hint) is is_old


def test_two_names_that_would_be_one_file_are_refused_before_any_is_written(tmp_path: Path) -> None:
    with Scratch(str(tmp_path / "place"), "it") as scratch:
        with pytest.raises(UsageError) as caught:
            scratch.note(["a", "a/b"])
        assert caught.value.code == "names-collide"
        assert scratch.noted() == set()
        scratch.remove()


@pytest.mark.parametrize("name", ["mine.txt", "train/a.tar", "train/mine/deep.txt"])
def test_a_file_of_somebody_else_is_named_and_nothing_is_removed(name: str, tmp_path: Path) -> None:
    with Scratch(str(tmp_path / "place"), "it") as scratch:
        _made(scratch)
        path = tmp_path / "place/new" / name
        path.parent.mkdir(exist_ok=True)
        (tmp_path / "written elsewhere").write_text("mine")
        os.replace(tmp_path / "written elsewhere", path)  # also in the place of one of ours
        for receipt in path.parent.iterdir():
            if name in NAMES and receipt != path:
                receipt.unlink()
        before = contents(tmp_path / "place/new")
        for act in (scratch.clear, scratch.gather_receipts, scratch.remove):
            error = _refused(act, "scratch-not-ours")
            assert os.path.basename(name) in (error.got or "")
            assert contents(tmp_path / "place/new") == before
        assert scratch.strangers(scratch.new) == [name]


def test_receipts_are_gathered_and_known_afterwards(tmp_path: Path) -> None:
    with Scratch(str(tmp_path / "place"), "it") as scratch:
        _made(scratch)
        assert len(files_below(scratch.new)) > len(NAMES)
        scratch.gather_receipts()
        assert files_below(scratch.new) == sorted(NAMES)
        os.rename(scratch.new, tmp_path / "out")
        places = {name: str(tmp_path / "out" / name) for name in NAMES}
        assert scratch.are_ours(places)
        (tmp_path / "other").write_text("b.txt")
        os.replace(tmp_path / "other", tmp_path / "out/b.txt")
        assert not scratch.are_ours(places)
        assert not scratch.are_ours({"b.txt": str(tmp_path / "nothing")})
        scratch.remove()
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_what_was_unpacked_goes_and_nothing_through_a_link(tmp_path: Path) -> None:
    place = tmp_path / "place"
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "0.tar").write_text("mine")
    with Scratch(str(place), "it") as scratch:
        LocalStore(str(place)).put("unpacked.names", b"'0.tar'\n")
        LocalStore(unpacked_folder(str(place))).put("0.tar", b"a tar")
        leave_receipt(str(place / "unpacked/0.tar"), (place / "unpacked/0.tar").lstat())
        scratch.clear_unpacked()
        assert not {"unpacked", "unpacked.names"} & set(os.listdir(place))
        os.symlink(folder, unpacked_folder(str(place)))
        LocalStore(str(place)).put("unpacked.names", b"'0.tar'\n")
        for _ in range(2):
            for act in (scratch.clear_unpacked, scratch.remove):
                _refused(act, "scratch-not-ours")
            if (folder / "0.tar").exists():
                (folder / "0.tar").rename(tmp_path / "0.tar")  # an empty folder is somebody's too
        os.unlink(unpacked_folder(str(place)))
        scratch.remove()
    assert folder.is_dir()


def test_half_written_files_are_ours_where_their_names_were_noted(tmp_path: Path) -> None:
    with Scratch(str(tmp_path / "place"), "it") as scratch:
        _made(scratch)
        for name in ("b.txt", "mine.txt"):
            (tmp_path / "place/new" / temporary_name(name)).write_bytes(b"half of it")
        (stranger,) = scratch.strangers(scratch.new)
        assert stranger.startswith("mine.txt")
        (tmp_path / "place/new" / stranger).unlink()
        scratch.remove()
    assert os.listdir(tmp_path) == []


def test_what_lies_beside_is_named_and_the_mark_is_the_last_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "place"
    with Scratch(str(place), "it", ("own",)) as scratch:
        _made(scratch)
        (place / "own").write_text("its owner's")
        (place / "mine").write_text("mine")
        error = _refused(scratch.remove, "scratch-not-ours")
        assert (error.got, (place / "own").exists(), is_marked(str(place))) == ("mine", True, True)
        (place / "mine").unlink()
        gone: list[str] = []
        real = os.unlink

        def unlink(path: str) -> None:
            gone.append(os.path.basename(path))
            real(path)

        monkeypatch.setattr(os, "unlink", unlink)
        scratch.remove()
        assert gone[-1] == MARK
        assert gone.index("own") > gone.index("names")


def test_empty_folders_go_and_full_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "a/b/c").mkdir(parents=True)
    (tmp_path / "d").mkdir()
    (tmp_path / "d/file").write_text("x")
    remove_empty(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["d"]


def test_a_place_that_cannot_be_made_is_told_and_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "no room")

    with monkeypatch.context() as patch:
        patch.setattr("wdstools.landing.scratch.sync_file", full)
        with pytest.raises(StoreError):
            _entered(tmp_path / "place")
    assert stat.S_ISDIR((tmp_path / "place").stat().st_mode)
    with monkeypatch.context() as patch:
        patch.setattr("wdstools.landing.scratch.ask_new_names", full)
        with pytest.raises(StoreError):
            _entered(tmp_path / "other")
    _entered(tmp_path / "other")
