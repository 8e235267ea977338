"""Files that are extracted together: which names clash, on file systems that keep names apart and on those that do not."""

from __future__ import annotations

import errno
import json
import os
import unicodedata
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools.errors import FormatError, StoreError, UsageError
from wdstools.formats.manifest import PROVENANCE_PATH
from wdstools.landing.names import PROBE, fold, name_folding, refuse_clashes
from wdstools.ops.extract import extract
from wdstools.ops.extract import write as module
from wdstools.stores.abilities import TEMP_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPOSED, TAKEN_APART = "caf\u00e9", "cafe\u0301"
CLASHES = [
    pytest.param(["a/Ab.jpg", "a/aB.jpg"], "a/Ab.jpg", id="case"),
    pytest.param([f"a/{COMPOSED}.jpg", f"a/{TAKEN_APART}.jpg"], COMPOSED, id="composition"),
    pytest.param([f"a/{COMPOSED.upper()}.jpg", f"a/{TAKEN_APART}.jpg"], COMPOSED.upper(), id="both"),
    pytest.param(["Oslo/1.jpg", "oslo/2.jpg"], "Oslo", id="folders, which are labels"),
    pytest.param(["x/Oslo/a/1.jpg", "x/oslo/b/2.jpg"], "x/Oslo", id="folders above"),
    pytest.param(["a/x", "a/X/y.jpg"], "a/x", id="a file and a folder"),
]


@pytest.mark.parametrize(("paths", "named"), CLASHES)
def test_names_that_are_one_where_case_and_composition_are_ignored_are_refused_there(
    paths: list[str], named: str
) -> None:
    refuse_clashes(paths, None)
    for given_order in (paths, paths[::-1]):
        with pytest.raises(UsageError) as caught:
            refuse_clashes(given_order, fold)
        assert caught.value.code == "names-collide"
        assert ascii(named)[1:-1] in caught.value.where + caught.value.got


@pytest.mark.parametrize("paths", [["a/x.jpg", "a/x.jpg"], ["a/x", "a/x/y.jpg"], ["a/x/y.jpg", "a/x"]])
def test_names_that_are_one_everywhere_are_refused_everywhere(paths: list[str]) -> None:
    for folding in (None, fold):
        with pytest.raises(UsageError):
            refuse_clashes(paths, folding)


@given(st.text(max_size=8), st.sampled_from(["NFC", "NFD"]))
def test_a_folded_name_is_the_same_whatever_its_case_and_composition(name: str, form: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert fold(unicodedata.normalize(form, name)) == fold(name)  # type: ignore[arg-type]  # one of the four forms
    assert fold(unicodedata.normalize("NFD", name).casefold()) == fold(name)


def test_names_are_folded_only_as_far_as_it_is_asked_for() -> None:
    name = f"A{COMPOSED.upper()}"
    assert fold(name, composition=False) == name.casefold()
    assert fold(name, case=False) == unicodedata.normalize("NFD", name)
    assert fold(name, case=False, composition=False) == name
    assert (fold("Ab"), fold("Ab", case=False)) == ("ab", "Ab")


@pytest.mark.parametrize(("case", "composition"), [(True, True), (True, False), (False, True), (False, False)])
def test_a_folder_is_asked_what_it_makes_of_names(
    case: bool, composition: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda path: case if path.endswith(TEMP_SUFFIX.upper()) else composition)
    folding = name_folding(str(tmp_path))
    assert os.listdir(tmp_path) == []
    for name in ("Ab", COMPOSED, TAKEN_APART.upper()):
        expected = fold(name, case=case, composition=composition)
        assert (name if folding is None else folding(name)) == expected
    assert (folding is None) is not (case or composition)


def test_a_clash_is_told_by_what_it_is() -> None:
    for paths, word in ((["a", "a"], "same file name"), (["a", "A"], "the same on this file system")):
        with pytest.raises(UsageError, match=word):
            refuse_clashes(paths, fold)


def _packed(folder: Path) -> tuple[dict[str, bytes], wt.Dataset]:
    stems = ("Clash", "cLASH", COMPOSED, TAKEN_APART)
    files = {
        f"{stem}.{ext}": data for n, stem in enumerate(stems) for ext, data in (("jpg", tiny_jpeg(n)), ("txt", b"x"))
    }
    return files, wt.pack(str(write_files(folder / "source", files)), str(folder / "packed"), name="n").dataset


def test_where_names_are_kept_apart_they_come_back_and_pack_to_the_same_root(tmp_path: Path) -> None:
    files, dataset = _packed(tmp_path)
    if name_folding(str(tmp_path)) is not None:
        pytest.skip("this file system makes one name of two")
    extract(dataset, str(tmp_path / "files"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()} == files
    assert wt.pack(str(tmp_path / "files"), str(tmp_path / "again"), name="n").root == dataset.root


def test_where_they_are_not_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, dataset = _packed(tmp_path)
    monkeypatch.setattr(module, "name_folding", lambda _: fold)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="the same on this file system"):
        extract(dataset, str(tmp_path / "files"))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("place", ["top", "new"])
def test_a_disk_that_fails_while_it_is_asked_about_names_is_not_in_the_way_afterwards(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, dataset = _packed(tmp_path)
    unlink = os.unlink
    failed: list[str] = []

    def fail_once(path: str) -> None:
        if not failed and os.path.basename(path).startswith(PROBE):
            failed.append(path)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path)

    if place == "top":  # where names that could clash are noted
        monkeypatch.setattr(module, "name_folding", lambda _: None)
    monkeypatch.setattr(os, "unlink", fail_once)
    with pytest.raises(StoreError, match="input/output error"):
        extract(dataset, str(tmp_path / "files"))
    assert failed
    extract(dataset, str(tmp_path / "files"))
    assert {path.name for path in (tmp_path / "files").iterdir()} == set(files)


@pytest.mark.parametrize("folder", ["d/" * 200, "\u00fc" * 130 + "/"], ids=["deep", "long"])
def test_names_that_no_file_system_takes_are_refused_before_anything_is_written(folder: str, tmp_path: Path) -> None:
    write_files(tmp_path / "source", {"train/1.jpg": tiny_jpeg(1), "train/1.txt": b"x"})
    source = wt.FolderSource(str(tmp_path / "source"), image="{split}/{id}.jpg", caption="{split}/{id}.txt")
    dataset = wt.pack(source, str(tmp_path / "packed")).dataset
    provenance = tmp_path / "packed" / PROVENANCE_PATH
    document = json.loads(provenance.read_text("utf-8"))
    document["template"]["image"] = folder + document["template"]["image"]
    provenance.write_text(json.dumps(document), "utf-8")
    with pytest.raises(FormatError) as caught:
        extract(dataset, str(tmp_path / "files"))
    assert caught.value.code == "name-too-long"
    assert not list(tmp_path.glob("files*"))


def test_splits_that_differ_in_case_only_do_not_overwrite_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{number}" for number in range(6)]
    files = {f"{name}.{ext}": data for name in names for ext, data in (("jpg", tiny_jpeg(int(name))), ("txt", b"x"))}
    source = str(write_files(tmp_path / "source", files))
    rule = []
    for split, part in (("Kept", names[:3]), ("kept", names[3:])):
        (tmp_path / f"{split}-list.txt").write_text("\n".join(part))
        rule.append(f"{split}={tmp_path / f'{split}-list.txt'}")
    dataset = wt.pack(source, str(tmp_path / "data"), splits=rule).dataset
    assert set(dataset.splits) == {"Kept", "kept"}
    keys = wt.Selection(keys=frozenset([next(iter(dataset["kept"].keys()))]))
    monkeypatch.setattr("wdstools.landing.names.name_folding", lambda _: fold)
    ways: list[Callable[[str], object]] = [
        lambda to: wt.pack(source, to, splits=rule),
        lambda to: wt.pull(dataset, to),
        lambda to: wt.mirror(dataset, to),
        lambda to: wt.remove(dataset, keys, output=to),
    ]
    for number, make in enumerate(ways):
        with pytest.raises(UsageError) as caught:
            make(str(tmp_path / f"new{number}"))
        assert caught.value.code == "names-collide"
        assert not list((tmp_path / f"new{number}").rglob("*.tar"))
