"""What lies in an object store as a source of files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.city_pairs import tiny_jpeg
from tests.support.laws import SHORT_LAW
from wdstools.errors import NotFoundError, SourceChangedError
from wdstools.sources import bucket_listing, open_bucket
from wdstools.sources.base import NeedSpaceError, join_path
from wdstools.sources.bucket import BucketReader, BucketTree
from wdstools.sources.bucket_listing import BucketListing, list_in_parallel, object_entry
from wdstools.sources.open import open_source
from wdstools.sources.survey import walk_all
from wdstools.stores.base import ObjectInfo
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.plain import PlainRemote

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.stores.base import Body, RemoteStore

KEYS = st.lists(st.sampled_from(["a", "b", "c d", "é", "x.jpg"]), min_size=1, max_size=6).map("/".join)


@SHORT_LAW
@given(st.sets(KEYS, min_size=1, max_size=30))
def test_a_listing_by_folders_is_the_whole_listing(keys: set[str]) -> None:
    store = remote(MemoryStore())
    for key in keys:
        store.put_data(key, key.encode())
    assert sorted(list_in_parallel(store), key=lambda info: info.key) == list(store.list())


@SHORT_LAW
@given(st.lists(KEYS, min_size=1, max_size=30, unique=True), st.sampled_from([1, 70, 1 << 20]), st.booleans())
def test_a_tree_of_a_listing_holds_each_object_in_its_folder(keys: list[str], block: int, spilled: bool) -> None:
    """In whatever order the keys come, and however the listing is read."""
    store = remote(MemoryStore())
    for key in keys:
        store.put_data(key, key.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_listing, "_BLOCK", max(block, 1 + max(len(key.encode()) for key in keys) + 64))
        patch.setattr(bucket_listing, "_MOST_IN_MEMORY", 1 if spilled else 1 << 20)
        tree = BucketTree(BucketListing(store, [store.head(key) for key in keys]))
        held = {join_path(folder, name): held.entry(name) for folder, held in walk_all(tree) for name in held.files}
    assert held == {key: object_entry(store.head(key)) for key in keys}


def test_a_source_in_a_bucket_is_listed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryStore()
    for number in range(40):
        memory.put(f"{'train' if number % 4 else 'val'}/{number}.jpg", tiny_jpeg(number))
        memory.put(f"{'train' if number % 4 else 'val'}/{number}.txt", b"words")
    asked: list[str] = []

    class Asked(PlainRemote):
        def level(self, prefix: str = "") -> tuple[tuple[ObjectInfo, ...], tuple[str, ...]]:
            asked.append(prefix)
            return super().level(prefix)

    monkeypatch.setattr(open_bucket, "open_remote", lambda _: Asked(memory))
    listing = open_source("s3://bucket/photos").list()
    assert (listing.samples.num_rows, listing.account["samples"]) == (40, 80)
    assert sorted(asked) == ["", "train/", "val/"]


def test_files_come_as_they_were_listed_and_in_any_order() -> None:
    store = remote(MemoryStore())
    for number in range(200):
        store.put_data(f"{number}.jpg", bytes([number]) * number)
    files = [(info.key, object_entry(store.head(info.key))) for info in store.list()]
    reader = BucketReader(store)
    assert len(files) == 200
    reader.expect(files)
    view = memoryview(bytearray(300))
    for path, entry in [*files[::3], *files[1:20]]:
        size, _ = reader.read_into(path, entry, view)
        assert bytes(view[:size]) == store.get(path)
        assert reader.stat(path, entry)[0] == size
    with pytest.raises(NeedSpaceError):
        reader.read_into("199.jpg", object_entry(store.head("199.jpg")), view[:100])
    reader.close()


def test_another_version_of_a_file_is_refused(tmp_path: Path) -> None:
    store = remote(LocalStore(tmp_path))
    store.put_data("x", b"first")
    entry = object_entry(store.head("x"))
    store.put_data("x", b"other")
    with pytest.raises(SourceChangedError):
        BucketReader(store).read_into("x", entry, memoryview(bytearray(10)))


def test_several_files_are_on_their_way_at_once() -> None:
    store = remote(MemoryStore())
    for number in range(8):
        store.put_data(str(number), b"x")
    together = threading.Barrier(8, timeout=60)
    opened = store.open_body

    def wait(key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        together.wait()
        return opened(key, start, length, etag=etag)

    store.open_body = wait  # type: ignore[method-assign]
    files = [(info.key, None) for info in store.list()]
    assert len(files) == 8
    reader = BucketReader(store)
    reader.expect((path, object_entry(_head(store, path))) for path, _ in files)
    for path, _ in files:
        assert reader.read_into(path, object_entry(_head(store, path)), memoryview(bytearray(4)))[0] == 1
    reader.close()


def _head(store: RemoteStore, key: str) -> ObjectInfo:
    return store.head(key)


def test_an_empty_prefix_is_no_source() -> None:
    with pytest.raises(NotFoundError):
        BucketTree(BucketListing(remote(MemoryStore())))


def test_a_plan_is_the_same_bytes_in_every_process() -> None:
    """Sets of texts have another order in each; a pack that was stopped is known again by the bytes of its samples."""
    script = (
        "from wdstools.formats.arrow import to_ipc; from wdstools.sources.base import SamplesBuilder; import hashlib\n"
        "b = SamplesBuilder(); b.add({}, {'stem': ['a']}); own = dict.fromkeys({'stem', 'json', 'caption', 'key', 'cls'})\n"
        "b.add({}, {name: [7] if name == 'cls' else ['x'] for name in own}); print(hashlib.md5(to_ipc(b.table())).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = {
        subprocess.check_output([sys.executable, "-c", script], env={**environment, "PYTHONHASHSEED": str(seed)})
        for seed in range(3)
    }
    assert len(told) == 1


def test_a_listing_in_a_file_may_be_read_by_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_listing, "_MOST_IN_MEMORY", 1)
    monkeypatch.setattr(bucket_listing, "_BLOCK", 256)
    keys = [f"d/{at:04}.jpg" for at in range(2000)]
    listing = BucketListing(remote(MemoryStore()), [ObjectInfo(key, 1, "e") for key in keys])
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(lambda _: [key for key, _ in listing], range(8)))
    assert read == [keys] * 8
