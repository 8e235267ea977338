"""A change of a dataset that is staged and moved in: cut short anywhere it goes on, and nothing is believed that is not ours."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.killed import KilledError
from tests.support.outcome import contents
from wdstools.dataset import STAGED_MARK
from wdstools.errors import FormatError, IntegrityError, StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH
from wdstools.landing import staging as module
from wdstools.landing.staging import (
    clear_left_over,
    commit,
    digest_of_manifest,
    finish,
    is_left_over,
    plan_finish,
    refuse_replaced,
    staged,
    staged_root,
)
from wdstools.stores.abilities import replace
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE = {MANIFEST_PATH: b"old", "train/a.tar": b"old a", "train/b.tar": b"old b", "README.md": b"a card"}
NEW = {MANIFEST_PATH: b"new", "train/a.tar": b"new a", "val/c.tar": b"new c"}
AFTER = {**BEFORE, **NEW}
del AFTER["train/b.tar"]


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    store = LocalStore(str(tmp_path / "set"))
    for path, data in BEFORE.items():
        store.put(path, data)
    return tmp_path / "set"


def _stage(root: Path) -> None:
    with staged(str(root), NEW) as folder:
        for path, data in NEW.items():
            LocalStore(folder).put(path, data)


def _committed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that is noted and not begun."""
    _stage(root)
    with monkeypatch.context() as patch:
        patch.setattr(module, "finish", lambda _: None)
        commit(str(root), list(NEW), ["train/b.tar", "train/gone.tar"])


def _lies(root: Path) -> dict[str, bytes]:
    return {path: data for path, data in contents(root).items() if not path.startswith(".wdstools/staged/")}


def test_a_change_is_moved_in_whole_and_leaves_nothing(root: Path) -> None:
    _stage(root)
    assert is_left_over(str(root))
    assert _lies(root) == BEFORE
    commit(str(root), list(NEW), ["train/b.tar"])
    assert contents(root) == AFTER
    assert not is_left_over(str(root))


def test_a_change_that_was_never_committed_is_cleared(root: Path) -> None:
    clear_left_over(str(root))
    _stage(root)
    with staged(str(root), ["train/d.tar"]) as folder:
        assert os.listdir(folder) == []
    clear_left_over(str(root))
    assert contents(root) == BEFORE
    with pytest.raises(KilledError), staged(str(root), NEW):
        raise KilledError
    assert contents(root) == BEFORE


@pytest.mark.parametrize("name", ["replace", "_unlink"])
def test_cut_short_anywhere_it_goes_on_and_no_manifest_lies_beside_other_files(
    name: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _committed(root, monkeypatch)
    real = getattr(module, name)
    for step in range(4):
        calls = itertools.count()

        def die(*given: Any, stop: int = step, calls: Any = calls) -> Any:
            if next(calls) == stop:
                raise KilledError
            return real(*given)

        copy = root.parent / f"copy-{step}"
        os.rename(root, copy)
        with monkeypatch.context() as patch:
            patch.setattr(module, name, die)
            try:
                finish(str(copy))
            except KilledError:
                there = _lies(copy)
                assert MANIFEST_PATH not in there or there == BEFORE
                assert not is_left_over(str(copy))
                patch.undo()
                finish(str(copy))
        assert contents(copy) == AFTER
        shutil.rmtree(copy)
        for path, data in BEFORE.items():
            LocalStore(str(root)).put(path, data)
        _committed(root, monkeypatch)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"[]",
        lambda _: b"{}",
        lambda _: b"[" * 100_000,
        lambda said: {**said, "moved": []},
        lambda said: {**said, "moved": {"a": [1, 2]}},
        lambda said: {**said, "moved": {"a": [1, 2, True]}},
        lambda said: {**said, "moved": {"a": [1, 2, 3.0]}},
        lambda said: {**said, "moved": {"a": None}},
        lambda said: {**said, "deleted": {"../b": None}},
        lambda said: {**said, "deleted": {"/b": None}},
        lambda said: {**said, "deleted": {"a\0b": None}},
        lambda said: {**said, "moved": {"train/../../b": [1, 2, 3]}},
    ],
)
def test_a_mark_that_nobody_of_us_has_written_is_refused(
    change: Callable[[dict[str, Any]], Any], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _committed(root, monkeypatch)
    mark = root / STAGED_MARK
    changed = change(json.loads(mark.read_bytes()))
    mark.write_bytes(changed if isinstance(changed, bytes) else json.dumps(changed).encode())
    with pytest.raises(FormatError) as caught:
        finish(str(root))
    assert caught.value.code == "stage-damaged"
    assert _lies(root) == BEFORE


def test_a_change_that_was_copied_here_is_not_made(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _committed(root, monkeypatch)
    copy = root.parent / "copy"
    shutil.copytree(root, copy)
    for place in (copy, root):
        if place is root:  # ours, but for a file that somebody put in the place of one that is to go
            (root / "train/b.tar").unlink()
            (root.parent / "other").write_bytes(b"of somebody else")
            os.rename(root.parent / "other", root / "train/b.tar")
        before = _lies(place)
        with pytest.raises(FormatError) as caught:
            finish(str(place))
        assert caught.value.code == "stage-not-ours"
        assert _lies(place) == before


def test_the_root_that_will_be_is_known_before(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_finish(str(root)) is None
    assert staged_root(str(root)) is None
    _committed(root, monkeypatch)
    assert staged_root(str(root)) == sha256_hex(b"new")
    plan = plan_finish(str(root), sha256_hex(b"new"))
    assert plan is not None
    assert "train/b.tar" in (plan.steps[0].detail or "")
    with pytest.raises(IntegrityError, match="another dataset"):
        plan_finish(str(root), sha256_hex(b"old"))


def test_a_manifest_that_was_replaced_meanwhile_is_seen(root: Path) -> None:
    store = LocalStore(str(root))
    seen = digest_of_manifest(store)
    assert seen == sha256_hex(b"old")
    refuse_replaced(store, seen)
    (root / MANIFEST_PATH).unlink()
    assert digest_of_manifest(store) == ""
    refuse_replaced(store, "")
    for was, is_now in ((seen, b""), ("", b"other")):
        if is_now:
            store.put(MANIFEST_PATH, is_now)
        with pytest.raises(StoreError) as caught:
            refuse_replaced(store, was)
        said = caught.value.expected, caught.value.got
        assert (caught.value.code, *said) == (
            "dataset-replaced",
            was or "no manifest",
            sha256_hex(is_now) if is_now else "no manifest",
        )


def test_a_change_that_is_made_is_only_tidied_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _committed(root, monkeypatch)
    real = os.unlink
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", lambda path: _die() if path.endswith(os.path.basename(STAGED_MARK)) else real(path))
        with pytest.raises(KilledError):
            finish(str(root))
    assert _lies(root) == AFTER
    (root / "train/b.tar").write_bytes(b"packed anew")  # which is no longer the one that was to go
    plan = plan_finish(str(root))
    assert plan is not None
    assert "train/b.tar" not in (plan.steps[0].detail or "")
    finish(str(root))
    assert contents(root) == {**AFTER, "train/b.tar": b"packed anew"}


def _die() -> None:
    raise KilledError


def test_the_list_of_columns_is_moved_last_and_goes_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, files = LocalStore(str(root)), (".wdstools/columns/a.json", "zz.txt")
    moved: list[str] = []
    for path in files:
        store.put(path, b"of a set")

    def move(one: str, other: str) -> None:
        moved.append(other)
        replace(one, other)

    monkeypatch.setattr(module, "replace", move)
    with staged(str(root), [COLUMNS_LIST, *files]) as folder:
        for path in (COLUMNS_LIST, *files):
            LocalStore(folder).put(path, b"new")
    commit(str(root), [COLUMNS_LIST, *files], [])
    assert moved == [str(root / path) for path in (*files, COLUMNS_LIST)]
    gone: list[str] = []
    monkeypatch.setattr(module, "_unlink", gone.append)
    with staged(str(root), ["new"]) as folder:
        LocalStore(folder).put("new", b"new")
    commit(str(root), ["new"], [*files, COLUMNS_LIST])
    assert gone == [str(root / path) for path in (COLUMNS_LIST, *files)]


def test_nothing_is_moved_through_a_link_that_leads_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _committed(root, monkeypatch)
    os.rename(root / "train", root.parent / "elsewhere")
    (root / "train").symlink_to(root.parent / "elsewhere")
    with pytest.raises(StoreError) as caught:
        finish(str(root))
    assert caught.value.code == "path-unsafe"
    assert contents(root.parent / "elsewhere") == {"a.tar": b"old a", "b.tar": b"old b"}


def test_a_folder_on_another_disk_is_refused_before_anything_is_changed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stage(root)
    monkeypatch.setattr(module, "_device", lambda folder: 2 if folder == str(root / "train") else 1)
    with pytest.raises(StoreError) as caught:
        commit(str(root), list(NEW), [])
    assert (caught.value.code, caught.value.where) == ("mounted-inside", str(root / "train"))
    assert _lies(root) == BEFORE


def test_names_are_durable_and_a_full_disk_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_folder", synced.append)
        _stage(root)
        commit(str(root), list(NEW), [])
    folders = [".wdstools", "train", "val", ".wdstools"]  # the manifest is gone first, and comes last
    assert synced == [str(root / folder) for folder in folders]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no room")

    _stage(root)
    monkeypatch.setattr(module, "replace", full)
    with pytest.raises(StoreError):
        commit(str(root), list(NEW), [])
    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(StoreError), staged(str(root.parent), NEW):
        pass
