"""What every store does, whatever it keeps its objects in."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.laws import SHORT_LAW
from tests.support.stores import ALL_KINDS, NEAR_KINDS, make_store
from wdstools.errors import NotFoundError, StoreError
from wdstools.stores.base import ObjectInfo, Store
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(params=ALL_KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return make_store(request.param, tmp_path, request, monkeypatch)


@pytest.fixture(params=NEAR_KINDS)
def near_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    return make_store(request.param, tmp_path, request, monkeypatch)


def listed(store: Store, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


@SHORT_LAW
@given(data=st.binary(max_size=100), start=st.integers(0, 120), length=st.none() | st.integers(0, 120))
def test_a_range_is_what_a_slice_of_the_object_is(store: Store, data: bytes, start: int, length: int | None) -> None:
    store.put("a/b.bin", data)
    assert store.get("a/b.bin") == data
    assert store.get("a/b.bin", start, length) == data[start : None if length is None else start + length]
    assert store.head("a/b.bin") == ObjectInfo("a/b.bin", len(data))


def test_putting_again_replaces_the_object(store: Store) -> None:
    store.put("x", b"long old content")
    store.put("x", b"new")
    assert store.get("x") == b"new"
    assert list(store.list()) == [ObjectInfo("x", 3)]


def test_a_stored_object_is_not_changed_by_its_giver(store: Store) -> None:
    data = bytearray(b"before")
    store.put("x", data)  # type: ignore[arg-type]  # what a careless caller does
    data[:] = b"after!"
    assert store.get("x") == b"before"


def test_listing_is_sorted_by_key_and_bounded_by_the_prefix(store: Store) -> None:
    keys = ["b", "a/1", "a/10", "a/2", "a-b/1", "a.x", "ab/c/d", ".hidden/x", "Z", "é/ü"]
    for number, key in enumerate(keys):
        store.put(key, bytes(number))
    assert listed(store) == sorted(keys)
    for prefix in ("a", "a/", "a/1", "ab/c", "z", ".hidden", "é/"):
        assert listed(store, prefix) == sorted(key for key in keys if key.startswith(prefix))
    assert {found.key: found.bytes for found in store.list()} == {key: n for n, key in enumerate(keys)}


def test_a_store_with_nothing_in_it_lists_nothing(store: Store) -> None:
    assert listed(store) == []
    assert listed(store, "a/") == []


@pytest.mark.parametrize("method", ["head", "get", "delete"])
@pytest.mark.parametrize("key", ["missing", "folder/missing", "x/below-an-object", "folder", "folder/"])
def test_what_is_not_there_is_not_found(store: Store, method: str, key: str) -> None:
    """A prefix of keys is no object, even where it is a folder."""
    store.put("x", b"1")
    store.put("folder/y", b"2")
    with pytest.raises(NotFoundError) as caught:
        getattr(store, method)(key)
    assert caught.value.code == "not-found"
    assert key.rstrip("/") in caught.value.where
    assert listed(store) == ["folder/y", "x"]


def test_a_deleted_object_is_gone_and_others_are_not(store: Store) -> None:
    for key in ("a/1", "a/2", "b"):
        store.put(key, key.encode())
    store.delete("a/1")
    assert listed(store) == ["a/2", "b"]
    with pytest.raises(NotFoundError):
        store.get("a/1")
    assert store.get("a/2") == b"a/2"


def test_every_object_can_be_deleted_while_listing(store: Store) -> None:
    for key in ("a/1", "a/2", "b"):
        store.put(key, b"")
    for found in store.list():
        store.delete(found.key)
    assert listed(store) == []


def test_an_object_that_goes_away_during_a_listing_is_passed_over(near_store: Store) -> None:
    """Where the listing is made as it is read. A bucket's pages tell what was there."""
    store = near_store
    for key in ("a", "b", "c"):
        store.put(key, b"")
    listing = store.list()
    assert next(listing).key == "a"
    store.delete("b")
    assert [found.key for found in listing] == ["c"]


def test_readers_see_a_whole_object_while_it_is_replaced(store: Store) -> None:
    """Each read of a changing object gives one of the versions, never a mixture or a part."""
    versions = [bytes([number]) * (50_000 + number) for number in range(40)]
    store.put("x", versions[0])
    seen: list[bytes] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(store.get("x"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for version in versions:
            store.put("x", version)
    finally:
        stop.set()
        reader.join()
    assert set(seen) <= set(versions)
    assert store.get("x") == versions[-1]


def test_a_failed_read_is_a_store_error_that_says_where(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.get("no/such")
    assert "no/such" in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_store_says_where_it_is(store: Store, tmp_path: Path) -> None:
    assert store.url in ("memory:", str(tmp_path)) or store.url.partition("://")[0] in ("s3", "az", "gs")


def test_a_local_store_leaves_nothing_beside_its_objects(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("a/b/c", b"1")
    store.put("a/b/c", b"2")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["c"]


def test_a_local_store_passes_over_what_another_writer_has_not_finished(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put("x", b"1")
    (tmp_path / "y.123.wdstools-tmp").write_bytes(b"half")
    assert listed(store) == ["x"]


def test_a_put_that_fails_keeps_the_old_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStore(tmp_path)
    store.put("x", b"old")

    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(StoreError) as caught:
            store.put("x", b"new")
    assert caught.value.code == "disk-full"
    assert store.get("x") == b"old"
    assert os.listdir(tmp_path) == ["x"]
