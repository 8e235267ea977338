"""What every store does for its readers, those that cannot be written to among them: a web server, here nginx."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.laws import SHORT_LAW
from tests.support.stores import make_remote
from wdstools.errors import NotFoundError, StoreError
from wdstools.stores.base import ObjectInfo, RemoteStore
from wdstools.stores.open import open_remote
from wdstools.stores.reading import get_whole, read_blocks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Shelf:
    """A store to read from, and the way in which objects get there."""

    kind: str
    store: RemoteStore
    give: Callable[[str, bytes], object]


@pytest.fixture(params=["memory", "local", "nginx", "swift"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.001)
    if request.param != "nginx":
        store = make_remote(request.param, tmp_path / "store", request, monkeypatch)
        return Shelf(request.param, store, store.put)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = request.getfixturevalue("nginx")
    folder = server.root / tmp_path.name

    def give(key: str, data: bytes) -> None:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return Shelf("nginx", open_remote(f"{server.endpoint}/{tmp_path.name}"), give)


@SHORT_LAW
@given(data=st.binary(max_size=100), start=st.integers(0, 120), length=st.none() | st.integers(0, 120))
def test_a_range_is_what_a_slice_of_the_object_is(shelf: Shelf, data: bytes, start: int, length: int | None) -> None:
    shelf.give("a/b c%é.bin", data)
    assert shelf.store.head("a/b c%é.bin") == ObjectInfo("a/b c%é.bin", len(data))
    assert shelf.store.get("a/b c%é.bin") == data
    assert shelf.store.get("a/b c%é.bin", start, length) == data[start : None if length is None else start + length]


def test_an_object_is_read_whole_in_blocks_and_from_any_point_on(shelf: Shelf) -> None:
    data = os.urandom(3_400_001)
    shelf.give("x", data)
    shelf.give("empty", b"")
    assert get_whole(shelf.store, "x") == data
    assert b"".join(bytes(block) for block in read_blocks(shelf.store, "x")) == data
    assert b"".join(shelf.store.stream("x", 1_500_000)) == data[1_500_000:]
    assert b"".join(shelf.store.stream("x", 1, 2_000_000)) == data[1:2_000_001]
    assert b"".join(shelf.store.stream("empty")) == get_whole(shelf.store, "empty") == b""
    blocks = shelf.store.stream("x")
    next(blocks)  # a stream may be left at any point


def test_a_range_is_fetched_whole_or_not_at_all(shelf: Shelf) -> None:
    shelf.give("x", b"0123456789")
    assert shelf.store.fetch("x", 2, 3) == b"234"
    assert shelf.store.fetch("x", 0, 10) == b"0123456789"
    for start, length in ((5, 6), (10, 1), (100, 5)):
        with pytest.raises(StoreError):
            shelf.store.fetch("x", start, length)


def test_what_is_not_there_is_not_found(shelf: Shelf) -> None:
    shelf.give("folder/y", b"1")
    for key in ("missing", "folder/missing"):
        for read in (
            shelf.store.head,
            shelf.store.get,
            shelf.store.remote_digests,
            lambda key: list(shelf.store.stream(key)),
        ):
            with pytest.raises(NotFoundError):
                read(key)


def test_a_version_that_was_replaced_is_never_read_on(shelf: Shelf) -> None:
    shelf.give("x", b"0123456789")
    etag = shelf.store.head("x").etag
    assert etag
    assert shelf.store.fetch("x", 2, 3, etag=etag) == b"234"
    shelf.give("x", b"another and longer")
    for read in (lambda: shelf.store.fetch("x", 2, 3, etag=etag), lambda: list(shelf.store.stream("x", etag=etag))):
        with pytest.raises(StoreError) as caught:
            read()
        assert caught.value.code == "object-changed"


def test_a_store_that_is_read_only_says_so(shelf: Shelf) -> None:
    if shelf.kind != "nginx":
        pytest.skip("this store is written to: see test_store")
    for change in (
        lambda: shelf.store.put("x", b"1"),
        lambda: shelf.store.delete("x"),
        lambda: list(shelf.store.list()),
        lambda: shelf.store.put_wrong("x"),
    ):
        with pytest.raises(StoreError) as caught:
            change()
        assert caught.value.code == "store-cannot"


def test_a_store_pickles_as_where_it_is(shelf: Shelf) -> None:
    if shelf.kind == "memory":
        pytest.skip("what is in memory cannot be opened twice")
    shelf.give("x", b"1")
    assert pickle.loads(pickle.dumps(shelf.store)).get("x") == b"1"  # noqa: S301  # what was pickled on the line itself
