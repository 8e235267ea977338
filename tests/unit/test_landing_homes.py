"""Where workers put shards in an object store, driven step by step over a store that fails as it is told to."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.pack_site import INDEX, PLAN, SHARD, WHOLE
from wdstools.errors import StoreError
from wdstools.formats.digest import sha256_hex, xxh3_128_hexdigest
from wdstools.landing.homes import BucketHome, DiskHome
from wdstools.landing.notes import BEGUN, DONE, is_sealed, note_path, read_note
from wdstools.stores.base import ANYTHING
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote
from wdstools.stores.wrapper import Wrapper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.landing.notes import Line
    from wdstools.stores.base import Body, ObjectInfo

KEY = b"of this user"
NOTE = note_path(PLAN, SHARD)
SUMS = "SHA256SUMS"


class Faulty(Wrapper):
    """A store that damages the first ``damaged`` uploads of a key, or refuses those of ``refused``; it counts what is read.

    ``etags``: whether answers to a PUT have one.
    """

    def __init__(self, key: str = "", damaged: int = 0, refused: str = "", *, etags: bool = True) -> None:
        super().__init__(remote(MemoryStore()))
        self.key, self.damaged, self.refused, self.etags = key, damaged, refused, etags
        self.read: list[str] = []

    def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store bytes, or others of the same length."""
        if key == self.refused:
            raise StoreError("no", code="denied")
        if key == self.key and self.damaged:
            self.damaged -= 1
            data = bytes(byte ^ 1 for byte in data)
        info = super().put_data(key, data, only_if=only_if)
        return info if self.etags else replace(info, etag="")

    def put_file(self, key: str, path: str, digests: Mapping[str, str], *, only_if: str = ANYTHING) -> ObjectInfo:
        """Store a file as bytes are."""
        del digests
        return self.put_data(key, Path(path).read_bytes(), only_if=only_if)

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Note what is read."""
        self.read.append(key)
        return super().open_body(key, start, length, etag=etag)

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Note what is read."""
        self.read.append(key)
        return super().get(key, start, length)


def _line() -> Line:
    data = WHOLE[SHARD]
    entry = {
        "path": SHARD,
        "bytes": len(data),
        "sha256": sha256_hex(data),
        "crc64nvme": "0" * 16,
        "crc32c": "0" * 8,
        "xxh3_128": xxh3_128_hexdigest(data),
    }
    return {"entry": entry, "index_sha256": sha256_hex(WHOLE[INDEX])}


def _landed(store: Faulty, folder: Path, *, conditions: bool = True) -> tuple[BucketHome, Line]:
    """A shard that was landed, and what is noted of it."""
    home = BucketHome(store, PLAN, KEY, conditions)
    made = folder / "made"
    made.write_bytes(WHOLE[SHARD])
    home.land(_line(), str(made), WHOLE[INDEX])
    done = home.noted(SHARD)
    assert done is not None
    return home, done


def test_a_landed_shard_is_noted_sealed_and_found_without_reading_it(tmp_path: Path) -> None:
    store = Faulty()
    home, done = _landed(store, tmp_path)
    assert {key: store.get(key) for key in (SHARD, INDEX)} == {key: WHOLE[key] for key in (SHARD, INDEX)}
    assert home.vouches_for(SHARD, done)
    assert is_sealed(KEY, SHARD, done)
    assert done["stored"] == {"shard": store.head(SHARD).etag, "index": store.head(INDEX).etag}
    store.read.clear()
    assert home.index_if_held(done) == WHOLE[INDEX]
    assert SHARD not in store.read


@pytest.mark.parametrize(
    ("data", "is_held"),
    [(WHOLE[SHARD], True), (WHOLE[SHARD].swapcase(), False), (WHOLE[SHARD] + b"x", False)],
    ids=["same", "other", "longer"],
)
def test_a_shard_that_was_stored_again_is_read_to_be_believed(tmp_path: Path, data: bytes, is_held: bool) -> None:
    store = Faulty()
    home, done = _landed(store, tmp_path)
    store.put_data(SHARD, data)
    done["stored"]["shard"] = '"of another upload"'
    assert home.index_if_held(done) == (WHOLE[INDEX] if is_held else None)
    done["stored"]["shard"] = store.head(SHARD).etag  # an ETag alone proves nothing about another length
    assert (home.index_if_held(done) is None) is (len(data) != len(WHOLE[SHARD]))
    store.put_data(SHARD, WHOLE[SHARD])
    store.put_data(INDEX, b"another")
    assert home.index_if_held(done) is None


@pytest.mark.parametrize("key", [SHARD, INDEX])
def test_an_object_damaged_on_the_way_is_sent_once_more(tmp_path: Path, key: str) -> None:
    store = Faulty(key, damaged=1)
    _landed(store, tmp_path)
    assert store.get(key) == WHOLE[key]


@pytest.mark.parametrize(("damaged", "etags", "conditions"), [(2, True, True), (1, False, True), (1, True, False)])
def test_it_is_sent_once_more_only_over_the_very_object_that_was_sent(
    tmp_path: Path, damaged: int, etags: bool, conditions: bool
) -> None:
    store = Faulty(SHARD, damaged, etags=etags)
    with pytest.raises(StoreError) as caught:
        _landed(store, tmp_path, conditions=conditions)
    assert caught.value.code == "upload-damaged"
    assert "delete this object" in caught.value.hint
    assert DONE not in read_note(store, NOTE)


def test_what_the_store_proves_is_kept_by_its_etag_and_nothing_else(tmp_path: Path) -> None:
    store = Faulty()
    store.remote_digests = lambda key: {}  # type: ignore[method-assign]
    _, done = _landed(store, tmp_path)
    assert done["stored"] == {}


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_file_beside_shards_is_noted_before_it_is_stored(is_copied: bool) -> None:
    store = Faulty(refused=SUMS)
    home = BucketHome(store, PLAN, KEY, conditions=True)

    def put(data: bytes) -> None:
        if is_copied:
            store.copy = lambda _, key: store.put_data(key, data)  # type: ignore[method-assign, assignment]
            home.copy_file("sums", SUMS, sha256_hex(data), store)
        else:
            home.put_file("sums", SUMS, data)

    with pytest.raises(StoreError):
        put(b"first")
    assert read_note(store, note_path(PLAN, "sums"))[BEGUN] == {SUMS: sha256_hex(b"first")}
    store.refused = ""
    for data in (b"first", b"first", b"second"):  # ours, so that other bytes may replace them
        put(data)
        assert store.get(SUMS) == data
    store.put_data(SUMS, b"of somebody")
    with pytest.raises(StoreError) as caught:
        put(b"third")
    assert (caught.value.code, store.get(SUMS)) == ("scratch-not-ours", b"of somebody")


@pytest.mark.parametrize("taken", [SHARD, INDEX])
def test_a_shard_is_not_copied_over_what_somebody_else_stored(taken: str) -> None:
    store, source = Faulty(), remote(MemoryStore())
    store.copy = lambda source, key: store.put_data(key, WHOLE[key])  # type: ignore[method-assign]
    home = BucketHome(store, PLAN, KEY, conditions=True)
    store.put_data(taken, b"of somebody")
    with pytest.raises(StoreError) as caught:
        home.copy(_line(), source)
    assert (caught.value.code, store.get(taken)) == ("scratch-not-ours", b"of somebody")
    store.delete(taken)
    home.copy(_line(), source)
    assert {key: store.get(key) for key in (SHARD, INDEX)} == {key: WHOLE[key] for key in (SHARD, INDEX)}


def test_a_second_try_that_is_refused_leaves_the_first_error(tmp_path: Path) -> None:
    class RefusesTwice(Faulty):
        def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
            if key == SHARD and not self.damaged:
                raise StoreError("no", code="denied")
            return super().put_data(key, data, only_if=only_if)

    with pytest.raises(StoreError) as caught:
        _landed(RefusesTwice(SHARD, damaged=1), tmp_path)
    assert caught.value.code == "upload-damaged"


def test_an_object_that_is_lost_at_once_is_damaged_on_the_way(tmp_path: Path) -> None:
    class Loses(Faulty):
        def put_data(self, key: str, data: bytes, *, only_if: str = ANYTHING) -> ObjectInfo:
            info = super().put_data(key, data, only_if=only_if)
            if key == SHARD:
                self.delete(key)
            return info

    with pytest.raises(StoreError) as caught:
        _landed(Loses(), tmp_path)
    assert caught.value.code == "upload-damaged"


@pytest.mark.parametrize("changed", ["", SHARD, INDEX])
def test_a_shard_in_a_folder_is_believed_by_its_bytes(changed: str, tmp_path: Path) -> None:
    for path in (SHARD, INDEX):
        LocalStore(str(tmp_path)).put(path, b"another" if path == changed else WHOLE[path])
    home = DiskHome(str(tmp_path), KEY, own=False)
    assert home.index_if_held(_line()) == (None if changed else WHOLE[INDEX])


def test_the_key_of_a_home_is_not_shown(tmp_path: Path) -> None:
    homes = (DiskHome(str(tmp_path), KEY, own=True), BucketHome(Faulty(), PLAN, KEY, conditions=True))
    assert [KEY.decode() in repr(home) for home in homes] == [False, False]


def test_a_disk_without_room_for_shards_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = BucketHome(Faulty(), PLAN, KEY, conditions=True)
    with home.making(SHARD) as shard, shard.filling() as file:
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            with pytest.raises(StoreError) as caught:
                replace(file, fd=full).write(memoryview(b"x"))
        finally:
            os.close(full)
    assert (caught.value.code, "TMPDIR" in caught.value.hint) == ("disk-full", True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(StoreError) as caught, home.making(SHARD):
        pass
    assert str(tmp_path / "gone") in caught.value.where
