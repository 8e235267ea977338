"""What every remote store does beyond a store: puts under conditions, ranges of one version, digests, streams."""

from __future__ import annotations

import contextlib
import hashlib
import pickle
import threading
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import xxhash
from awscrt import checksums

from tests.support.stores import ALL_KINDS, make_remote
from wdstools.errors import NotFoundError, SourceChangedError, StoreError, UsageError
from wdstools.formats.digest import sha256_hex
from wdstools.landing.notes import create
from wdstools.stores.base import ABSENT

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.stores.base import ObjectInfo, RemoteStore

DIGESTS: dict[str, Any] = {
    "sha256": hashlib.sha256,
    "sha1": hashlib.sha1,
    "md5": hashlib.md5,
    "xxh3_128": xxhash.xxh3_128,
}


@pytest.fixture(params=ALL_KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    return make_remote(kind, tmp_path / "store", request, monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(Random(3).randbytes(300_000))  # the same each time: one byte in 256 is any that a test writes
    return path


def test_a_put_tells_size_and_version_and_head_agrees(store: RemoteStore) -> None:
    first = store.put_data("a/b", b"one")
    assert (first.key, first.bytes) == ("a/b", 3)
    assert first.etag
    assert store.head("a/b").etag == first.etag
    second = store.put_data("a/b", b"another")
    assert second.etag != first.etag
    assert store.head("a/b").etag == second.etag


def test_what_is_there_is_not_replaced_by_a_put_that_wants_nothing_there(store: RemoteStore) -> None:
    store.put_data("x", b"first", only_if=ABSENT)
    with pytest.raises(StoreError) as caught:
        store.put_data("x", b"second", only_if=ABSENT)
    assert caught.value.code == "object-exists"
    assert store.get("x") == b"first"


def test_of_many_that_create_an_object_at_once_one_does(store: RemoteStore, kind: str) -> None:
    """Swift looks before it takes the bytes, so of some that come at the same moment the last one's object stays."""
    refused: list[str] = []

    def create(number: int) -> None:
        try:
            store.put_data("x", bytes([number]) * 1000, only_if=ABSENT)
        except StoreError as error:
            refused.append(error.code)

    crew = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert refused == ["object-exists"] * (len(refused) if kind == "swift" else 7)
    assert len(set(store.get("x"))) == 1


def put_if(store: RemoteStore, key: str, data: bytes, only_if: str) -> ObjectInfo:
    return store.put_data(key, data, only_if=only_if)


def test_what_is_created_is_there_or_something_else_stays(store: RemoteStore) -> None:
    for conditions in (True, False):
        for key, data in (("new", b"ours"), ("new", b"ours"), ("taken", b"ours")):
            if key == "taken":
                store.put_data(key, b"their")
            put = partial(put_if, store, key, data)
            with pytest.raises(StoreError) if key == "taken" else contextlib.nullcontext() as caught:
                create(store, key, sha256_hex(data), put, conditions=conditions)
            if caught is not None:
                assert caught.value.code == "scratch-not-ours"
        assert (store.get("new"), store.get("taken")) == (b"ours", b"their")
        store.delete("new")


def test_a_put_on_another_version_changes_nothing(store: RemoteStore) -> None:
    """Stores that know no If-Match on PUT say so."""
    old = store.put_data("x", b"old").etag
    store.put_data("x", b"new")
    with pytest.raises(StoreError) as caught:
        store.put_data("x", b"newest", only_if=old)
    assert caught.value.code in ("object-changed", "store-cannot")
    assert store.get("x") == b"new"


def test_a_file_is_stored_whole(store: RemoteStore, file: Path) -> None:
    data = file.read_bytes()
    info = store.put_file("shards/x.tar", str(file), {"sha256": hashlib.sha256(data).hexdigest()})
    assert info.bytes == len(data)
    assert store.get("shards/x.tar") == data
    store.put_file("y", str(file), {"xxh3_128": xxhash.xxh3_128_hexdigest(data)}, only_if=ABSENT)
    assert store.get("y") == data
    with pytest.raises(StoreError) as caught:
        store.put_file("y", str(file), {"xxh3_128": xxhash.xxh3_128_hexdigest(data)}, only_if=ABSENT)
    assert caught.value.code == "object-exists"


@pytest.mark.parametrize("name", ["sha256", "xxh3_128"])
def test_a_file_that_is_not_what_its_digest_says_is_not_stored(store: RemoteStore, file: Path, name: str) -> None:
    digest = DIGESTS[name](file.read_bytes()).hexdigest()
    with file.open("r+b") as changed:
        changed.seek(200_000)
        changed.write(b"!")
    with pytest.raises(SourceChangedError):
        store.put_file("x", str(file), {name: digest})
    with pytest.raises(NotFoundError):
        store.head("x")
    assert list(store.list()) == []


def test_a_file_without_a_digest_is_not_sent(store: RemoteStore, file: Path) -> None:
    with pytest.raises(UsageError):
        store.put_file("x", str(file), {"crc32c": "00000000"})


def test_a_range_is_fetched_whole_or_not_at_all(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_data("x", b"0123456789")
    assert store.fetch("x", 2, 3) == b"234"
    assert store.fetch("x", 0, 10) == b"0123456789"
    assert store.fetch("x", 9, 0) == b""
    without_waiting(store, monkeypatch)
    for start, length in ((5, 6), (10, 1), (100, 5)):
        with pytest.raises(StoreError):
            store.fetch("x", start, length)


def test_a_range_of_a_version_that_was_replaced_is_refused(store: RemoteStore) -> None:
    etag = store.put_data("x", b"0123456789").etag
    assert store.fetch("x", 2, 3, etag=etag) == b"234"
    store.put_data("x", b"abcdefghij")
    with pytest.raises(StoreError) as caught:
        store.fetch("x", 2, 3, etag=etag)
    assert caught.value.code == "object-changed"
    with pytest.raises(StoreError) as caught:
        list(store.stream("x", etag=etag))
    assert caught.value.code == "object-changed"


def test_a_stream_is_the_object(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("web", "plain"):
        monkeypatch.setattr(f"wdstools.stores.{module}.STREAM_BLOCK", 30_000)
    data = Random(4).randbytes(400_001)
    store.put_data("x", data)
    store.put_data("empty", b"")
    assert b"".join(store.stream("x")) == data
    assert b"".join(store.stream("x", 50_000)) == data[50_000:]
    assert b"".join(store.stream("x", 1, 100_000)) == data[1:100_001]
    assert b"".join(store.stream("empty")) == b""
    with pytest.raises(NotFoundError):
        list(store.stream("missing"))
    blocks = store.stream("x")
    next(blocks)  # a stream may be left at any point


def test_remote_digests_are_those_of_the_object(store: RemoteStore, kind: str, file: Path) -> None:
    data = file.read_bytes()
    store.put_file("x", str(file), {"sha256": hashlib.sha256(data).hexdigest()})
    found = store.remote_digests("x")
    known = {name: make(data).hexdigest() for name, make in DIGESTS.items()}
    known["crc32c"] = f"{checksums.crc32c(data):08x}"
    assert {name: value for name, value in found.items() if name in known} == {name: known[name] for name in found}
    assert set(found) >= {
        "swift": {"md5"},
        "localstack": {"sha256", "md5"},
        "azurite": {"md5"},
        "google": {"crc32c", "md5"},
    }.get(kind, {"xxh3_128"})
    with pytest.raises(NotFoundError):
        store.remote_digests("missing")


def test_nothing_unfinished_is_there(store: RemoteStore) -> None:
    store.put_data("x", b"1")
    assert store.unfinished() == ()


def test_a_store_pickles_as_where_it_is(store: RemoteStore, kind: str) -> None:
    if kind == "memory":
        pytest.skip("what is in memory cannot be opened twice")
    store.put_data("x", b"1")
    assert pickle.loads(pickle.dumps(store)).get("x") == b"1"  # noqa: S301  # what was pickled on the line itself


def without_waiting(store: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.0)
