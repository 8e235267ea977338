"""Where a result may lie, and what may be handed on: nothing through a link that leads out, nothing into its own source."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, UsageError
from wdstools.landing.inside import (
    lies,
    read_inside,
    refuse_elsewhere,
    refuse_in_the_way,
    refuse_inside,
    refuse_own_place,
    refuse_read_only,
    require_here,
    require_inside,
    taken,
)
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from wdstools.dataset import Dataset

GOLDEN = Path(__file__).parents[1] / "golden/v2/dataset"


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """A dataset's folder with links that stay in it, and links that do not."""
    root = tmp_path / "set"
    for folder in (root / "train", tmp_path / "set-2", tmp_path / "outside"):
        folder.mkdir(parents=True)
    (root / "train/own").write_text("own")
    (tmp_path / "set-2/secret").write_text("secret")
    (root / "inner").symlink_to(root / "train")
    (root / "leads-out").symlink_to(tmp_path / "set-2")
    (root / "train/link").symlink_to(tmp_path / "set-2/secret")
    (root / "train/nowhere").symlink_to(tmp_path / "absent")
    return root


def test_nothing_is_written_or_handed_on_through_a_link_that_leads_out(root: Path) -> None:
    require_inside(str(root), ["train/new", "inner/new", "absent/new", "new", "train/link"])
    for path in ("leads-out/new", "leads-out/deeper/new", "../set-2/new"):
        with pytest.raises(StoreError) as caught:
            require_inside(str(root), ["train/new", path])
        assert caught.value.code == "path-unsafe"
    store = LocalStore(str(root))
    assert read_inside(store, "train/own") == read_inside(store, "inner/own") == b"own"
    for path in ("train/link", "leads-out/secret", "train/nowhere"):
        with pytest.raises(StoreError) as caught:
            read_inside(store, path)
        assert caught.value.code == "path-unsafe"
    memory = MemoryStore()
    memory.put("train/own", b"in memory")
    assert read_inside(memory, "train/own") == b"in memory"


def test_what_lies_somewhere_is_seen_also_where_a_link_leads_nowhere(root: Path) -> None:
    store, memory = LocalStore(str(root)), MemoryStore()
    memory.put("a", b"")
    assert [lies(store, key) for key in ("train/own", "train/nowhere", "train", "absent")] == [True, True, True, False]
    assert [lies(memory, key) for key in ("a", "b")] == [True, False]
    refuse_in_the_way(str(root), ["absent", "train/absent"], "no", "")
    with pytest.raises(StoreError) as caught:
        refuse_in_the_way(str(root), ["absent", "train/nowhere"], "no", "")
    assert (caught.value.code, caught.value.got) == ("file-in-the-way", "train/nowhere")


@pytest.mark.parametrize(
    ("source", "dest", "is_inside"),
    [
        ("set", "set/new", True),
        ("set/", "set/train/deeper/new", True),
        ("set", "set-2/new", False),
        ("set", "set", False),  # which is in the way, and refused for that
        ("set/train", "set", False),
        ("set", "set-2/../set/new", True),
        ("set/train/own", "set/train/own/new", False),  # of a file nothing is scanned again
        ("s3://b/a", "s3://b/a/new", True),
        ("s3://b/a/", "s3://b/a", True),
        ("s3://b/a", "s3://b/ab", False),
        ("s3://b/a", "new", False),
        ("set", "s3://b/set", False),
        (".", "s3://b/set", False),
        (".", "new", True),
    ],
)
def test_a_destination_inside_its_source_is_refused(
    source: str, dest: str, is_inside: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    refuse_inside(source, MemoryStore())
    code = ""
    try:
        refuse_inside(source, dest)
    except UsageError as error:
        code = error.code
    assert code == ("destination-in-source" if is_inside else "")


def _own(dataset: Dataset, dest: str) -> str:
    """What a destination is refused for."""
    try:
        refuse_own_place(dataset, dest)
    except UsageError as error:
        return error.message
    return ""


def test_nothing_is_made_of_a_dataset_in_its_own_place(tmp_path: Path) -> None:
    place = shutil.copytree(GOLDEN, tmp_path / "set")
    dataset = open_dataset(str(place))
    (tmp_path / "link").symlink_to(place)
    for dest in (f"{place}", f"{place}/", f"{place}/.", f"{tmp_path}/link"):
        assert "itself" in _own(dataset, dest)
    assert "inside" in _own(dataset, f"{place}/train/new")
    for dest in (f"{tmp_path}/set-2", str(tmp_path), "s3://bucket/set"):
        assert _own(dataset, dest) == ""
    # where only the manifest lies there, or it lies in memory, nothing is in the way
    assert _own(replace(dataset, manifest_key="other.json"), str(place)) == ""
    assert _own(replace(dataset, metadata=MemoryStore()), "memory:") == ""


class _Bucket(Wrapper):
    """A store that says it is a bucket."""

    @property
    def url(self) -> str:
        """Its address."""
        return "s3://bucket/set"


def test_nor_in_the_prefix_of_a_dataset_in_a_bucket() -> None:
    dataset = replace(open_dataset(str(GOLDEN)), metadata=_Bucket(remote(MemoryStore())))
    for dest in ("s3://bucket/set", "s3://bucket/set/", "s3://bucket/set/new"):
        assert _own(dataset, dest) != ""
    for dest in ("s3://bucket/set-2", "s3://bucket", "set"):
        assert _own(dataset, dest) == ""


@pytest.mark.parametrize(("source", "dest"), [("a\0b", "c"), ("a", "b\0c")])
def test_a_name_with_a_zero_byte_is_none(source: str, dest: str) -> None:
    with pytest.raises(UsageError):
        refuse_inside(source, dest)


def test_a_link_into_the_source_is_inside_of_it(root: Path) -> None:
    (root.parent / "way").symlink_to(root / "train")
    with pytest.raises(UsageError):
        refuse_inside(str(root), str(root.parent / "way/new"))
    refuse_inside(str(root), str(root / "leads-out/new"))


@pytest.mark.parametrize("dest", ["", "s3://b/a", "https://x/a", "file:///x", "a\0b"])
def test_a_destination_is_a_folder_of_this_machine(dest: str) -> None:
    refuse_elsewhere("some/folder")
    with pytest.raises(UsageError):
        refuse_elsewhere(dest)


def test_a_place_that_can_only_be_read_or_is_elsewhere_is_refused_before_it_is_asked(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("s3://b/a", "set", root, MemoryStore(), "https:"):
        refuse_read_only(place, "")
    for address in ("https://host/a", "http://host/a", "hf://datasets/a/b"):
        with pytest.raises(UsageError) as caught:
            refuse_read_only(address, "")
        assert caught.value.code == "read-only"
    monkeypatch.chdir(root.parent)
    os.makedirs("s3:/b/a")  # a folder of that name is meant
    for place in ("set", root, root.as_uri(), "s3://b/a", MemoryStore()):
        require_here(place, "no", "")
    for address in ("s3://b/c", "https://host/a"):
        with pytest.raises(UsageError):
            require_here(address, "no", "")


def test_a_destination_that_is_taken_is_told_what_to_do() -> None:
    there = taken("my set", ["a", "b"], is_dataset=True, choose="choose a new folder")
    assert there.code == "destination-not-empty"
    assert there.hint == "choose a new folder, or check the dataset that is here: wdstools verify 'my set'"
    other = taken("my set", ["a", "b"], is_dataset=False, choose="choose a new folder")
    assert other.hint == "choose a new folder; nothing was changed"
    assert "dataset" in there.message
    assert "dataset" not in other.message
