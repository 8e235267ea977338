"""A list of emitted files that a stranger wrote: nothing of the user's is deleted, replaced or published for it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import assert_clean_failure, run_command
from tests.support.foreign_tars import pairs, tar_bytes, write
from tests.support.outcome import contents
from wdstools.ops.emit import plan_emit, plan_emit_removal
from wdstools.plan import apply
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIST = ".wdstools/emitted.json"
MINE = "mine/thesis.txt"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset, with a file of the user's in it."""
    folder = tmp_path_factory.mktemp("lists")
    write_city_pairs(folder / "in")
    wt.pack(str(folder / "in"), str(folder / "out"), shard_samples=16)
    write(folder / "out", {MINE: b"years of work"})
    return folder / "out"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    """One to write into."""
    shutil.copytree(packed, tmp_path / "ds")
    return tmp_path / "ds"


def _list(folder: Path, files: dict[str, str], *, root: str | None = None, **more: object) -> None:
    """Write a list that names files, each with its consumer and its true digest."""
    known = {
        path: [consumer, hashlib.sha256((folder / path).read_bytes()).hexdigest()] for path, consumer in files.items()
    }
    document = {"root": root or wt.open_dataset(str(folder)).root, "files": known, "card_keys": [], "new_card": False}
    (folder / LIST).write_text(json.dumps(document | {"links": []} | more))


def _all_that_deletes(folder: Path) -> tuple[tuple[str | Path, ...], ...]:
    key = next(iter(wt.open_dataset(str(folder))["train"].keys()))
    keys = folder.parent / "keys.txt"
    keys.write_text(f"{key}\n")
    write_city_pairs(folder.parent / "more")
    return (
        ("emit", folder, "--for", "timm", "-y"),
        ("emit", folder, "--remove", "-y"),
        ("mirror", folder, folder.parent / "mirror", "--emitted", "-y"),
        ("remove", folder, "--keys", keys, "--in-place", "-y"),
        ("append", folder, folder.parent / "more", "--in-place", "-y", "--removed", "take"),
    )


@pytest.mark.parametrize("named", [MINE, "SHA256SUMS", "README.md", "a shard", "an index"])
def test_a_list_that_names_other_files_is_refused(copy: Path, named: str) -> None:
    entry = wt.open_dataset(str(copy)).manifest.splits["train"][0]
    path = {"a shard": entry.path, "an index": entry.index_path}.get(named, named)
    _list(copy, {path: "timm"})
    before = contents(copy)
    for command in _all_that_deletes(copy)[:3]:
        ran = run_command(*command)
        assert_clean_failure(ran, 5)
        assert path in ran.err
        assert contents(copy) == before
    assert not (copy.parent / "mirror").exists()


def test_what_a_list_of_another_version_names_stays_and_is_named(copy: Path) -> None:
    shard = wt.open_dataset(str(copy)).manifest.splits["train"][0].path
    named = {MINE: "timm", shard: "timm", "SHA256SUMS": "dali"}
    before = contents(copy)
    for command in came(_all_that_deletes(copy)[:2]):
        _list(copy, named, root="0" * 64)
        ran = run_command(*command, "--json")
        kept = {line["path"] for line in ran.lines if line["type"] == "step" and line["action"] == "keep"}
        assert (ran.code, kept) == (0, set(named)), ran.err
        assert {path: contents(copy)[path] for path in named} == {path: before[path] for path in named}


@pytest.mark.parametrize("root", [None, "0" * 64])
def test_the_next_version_leaves_them_too_and_names_the_list(copy: Path, root: str | None) -> None:
    for verb in (3, 4):
        _list(copy, {MINE: "timm", "SHA256SUMS": "dali"}, root=root)
        ran = run_command(*_all_that_deletes(copy)[verb], "--json")
        assert ran.code == 0, ran.err
        assert (copy / MINE).read_bytes() == b"years of work"
        assert (LIST if root is None else MINE) in str(ran.summary["elsewhere"])
        assert (copy / "SHA256SUMS").exists()


def test_keys_of_the_card_that_emit_never_writes_stay(copy: Path) -> None:
    text = (copy / "README.md").read_text().replace("---\n", "---\ntags:\n- cities\n", 1)
    (copy / "README.md").write_text(text)
    _list(copy, {}, card_keys=["tags"])
    assert_clean_failure(run_command("emit", copy, "--remove", "-y"), 5)
    assert (copy / "README.md").read_text() == text


def test_a_link_of_the_users_is_not_deleted(copy: Path, tmp_path: Path) -> None:
    (copy / "mylink").symlink_to(tmp_path)
    _list(copy, {}, links=["mylink"])
    for command in came(_all_that_deletes(copy)[:2]):
        assert_clean_failure(run_command(*command), 5)
        assert (copy / "mylink").is_symlink()


def test_a_link_beside_a_manifest_is_ours_only_if_it_leads_to_the_shard(tmp_path: Path) -> None:
    write(tmp_path / "theirs", {"x-000.tar": tar_bytes(pairs(0, 2))})
    write(tmp_path, {"mine.tar": tar_bytes(pairs(0, 2))})
    meta = tmp_path / "meta"
    dataset = wt.adopt(str(tmp_path / "theirs"), str(meta)).dataset
    (meta / "x-000.tar").symlink_to(tmp_path / "mine.tar")
    _list(meta, {}, links=["x-000.tar"])
    with pytest.raises(wt.StoreError, match="in the way"):
        plan_emit(dataset, ("timm",))
    apply(plan_emit_removal(dataset, ("all",)))
    assert (meta / "x-000.tar").resolve() == tmp_path / "mine.tar"


@pytest.mark.parametrize("remove", [False, True])
def test_an_emitted_file_that_was_edited_stays(copy: Path, remove: bool) -> None:
    run_command("emit", copy, "--for", "timm", "-y")
    (copy / "_info.json").write_text("mine now")
    how = ("--remove",) if remove else ("--for", "all")
    ran = run_command("emit", copy, *how, "-y", "--json")
    assert (ran.code, ran.error["code"]) == (4, "emitted-changed")
    assert (copy / "_info.json").read_text() == "mine now"


class _Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def _killed_at(monkeypatch: pytest.MonkeyPatch, where: str) -> Iterator[None]:
    """End whatever is about to write this file."""
    put = LocalStore.put

    def killed(self: LocalStore, key: str, data: bytes) -> None:
        if key == where:
            raise _Killed
        put(self, key, data)

    with monkeypatch.context() as patch, contextlib.suppress(_Killed):
        patch.setattr(LocalStore, "put", killed)
        yield
        pytest.fail(f"{where} was not written")


def test_after_a_kill_a_file_of_the_users_is_not_taken_for_ours(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_emit(str(copy), ("timm",))
    with _killed_at(monkeypatch, "_info.json"):
        apply(plan)
    assert "_info.json" in json.loads((copy / LIST).read_text())["files"]
    (copy / "_info.json").write_text("mine")
    with pytest.raises(wt.StoreError) as caught:
        plan_emit(str(copy), ("timm",))
    assert caught.value.code == "emitted-changed"
    with pytest.raises(wt.StoreError) as caught:
        plan_emit_removal(str(copy), ("all",))
    assert caught.value.code == "emitted-changed"
    assert (copy / "_info.json").read_text() == "mine"


@pytest.mark.parametrize("then", ["the same", "another", "remove"])
def test_after_a_kill_what_was_being_replaced_is_still_ours(
    copy: Path, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(copy)
    apply(plan_emit(str(copy), ("croissant",)))
    plan = plan_emit(str(copy), ("croissant",), license_name="mit")
    with _killed_at(monkeypatch, "croissant.json"):
        apply(plan)
    if then == "remove":
        apply(plan_emit_removal(str(copy), ("all",)))
        assert contents(copy) == before
        return
    apply(plan_emit(str(copy), ("timm",)))
    apply(plan_emit(str(copy), ("croissant",), license_name="mit" if then == "the same" else "cc0-1.0"))
    assert wt.verify(str(copy)).ok
    assert "earlier" not in json.loads((copy / LIST).read_text())


def test_what_came_between_the_plan_and_its_application_stays(copy: Path) -> None:
    plan = plan_emit(str(copy), ("timm",))
    (copy / "_info.json").write_text("mine")
    with pytest.raises(wt.StoreError, match="in the way"):
        apply(plan)
    (copy / "_info.json").unlink()
    apply(plan_emit(str(copy), ("timm",)))
    removal = plan_emit_removal(str(copy), ("all",))
    (copy / "_info.json").write_text("mine")
    with pytest.raises(wt.StoreError, match="changed"):
        apply(removal)
    assert (copy / "_info.json").read_text() == "mine"


def test_what_a_killed_emit_left_half_written_goes_and_what_is_named_like_it_stays(copy: Path) -> None:
    paths = {*copy.rglob("*")}
    apply(plan_emit(str(copy), ("energon",)))
    offsets = next((copy / "train").glob("*.idx"))
    data = offsets.read_bytes()
    offsets.unlink()
    torn, mine = (offsets.with_name(f"{offsets.name}.{16 * digit}.wdstools-tmp") for digit in "ab")
    mine.write_bytes(b"mine")
    torn.write_bytes(data[:20])
    ran = run_command("emit", copy, "--for", "energon", "-y", "--json")
    assert (ran.code, ran.summary["deleted"]) == (0, 1), ran.err
    assert not torn.exists()
    torn.write_bytes(data)
    apply(plan_emit_removal(str(copy), ("all",)))
    assert {*copy.rglob("*")} - paths == {mine}
