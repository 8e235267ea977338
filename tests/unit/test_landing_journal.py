"""What is noted of finished shards, in a journal or in notes of a bucket: read back, cut where it is torn, believed where it is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wdstools.errors import StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.landing import journal as module
from wdstools.landing.journal import Journal
from wdstools.landing.notes import (
    BEGUN,
    DONE,
    SEAL,
    clear_begun,
    create,
    is_note,
    is_sealed,
    note_path,
    read_note,
    seal,
    write_note,
)
from wdstools.stores.base import ABSENT, ANYTHING
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.stores.base import ObjectInfo, RemoteStore

PLAN = "0" * 32
SHARD, INDEX = "train/train-000000.tar", ".wdstools/index/train-000000.parquet"


@pytest.fixture(name="journal")
def _journal(tmp_path: Path) -> Journal:
    journal = Journal(str(tmp_path / "journal.jsonl"))
    assert journal.lines() == []
    assert not journal.is_own
    for number in range(2):
        journal.append({"shard": number, "é": "é"})
    return journal


def _again(tmp_path: Path) -> Journal:
    return Journal(str(tmp_path / "journal.jsonl"))


def test_a_line_of_a_journal_is_durable_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "journal.jsonl", list[bytes]()
    monkeypatch.setattr(module, "sync_file", lambda _: synced.append(path.read_bytes()))
    journal = Journal(str(path))
    for number in range(2):
        journal.append({"é": "é", "a": number})
    lines = ['{"a": 0, "é": "é"}\n'.encode(), '{"a": 1, "é": "é"}\n'.encode()]
    assert synced == [lines[0], lines[0] + lines[1]]


def test_lines_of_a_journal_are_read_back_in_their_order(journal: Journal, tmp_path: Path) -> None:
    assert journal.lines() == [{"shard": 0, "é": "é"}, {"shard": 1, "é": "é"}]
    assert journal.is_own
    assert journal.landing() is None
    (tmp_path / "journal.jsonl").chmod(0o666)  # others may write to it from now on
    again = _again(tmp_path)
    again.lines()
    assert not again.is_own


@pytest.mark.parametrize(
    "tail",
    [b"{", b'{"shard": 2}', b"[1]\n", b"5\n", b"no JSON\n", b"\xff\n", b"[" * 100_000 + b"\n", b'[1]\n{"shard": 3}\n'],
)
def test_what_is_behind_the_last_whole_line_is_written_over(tail: bytes, journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    again = _again(tmp_path)
    assert again.lines() == journal.lines() == [{"shard": 0, "é": "é"}, {"shard": 1, "é": "é"}]
    for number in (5, 6):
        again.append({"shard": number})
    assert path.read_bytes() == whole + b'{"shard": 5}\n{"shard": 6}\n'


def test_the_last_landing_counts_and_a_new_journal_begins_with_nothing(journal: Journal, tmp_path: Path) -> None:
    for number in (1, 2):
        journal.append({"landing": {"a": str(number)}})
    journal.append({"shard": 9})
    assert journal.landing() == {"landing": {"a": "2"}}
    journal.remove()
    journal.remove()
    assert journal.lines() == []
    journal.append({"shard": 7})
    assert (tmp_path / "journal.jsonl").read_bytes() == b'{"shard": 7}\n'


@pytest.mark.parametrize(
    ("key", "is_one"),
    [
        (note_path(PLAN, SHARD), True),
        (note_path(PLAN, "files"), True),
        (f".wdstools/packing/{PLAN}/a/b.json", False),
        (f".wdstools/packing/{PLAN[1:]}/a.json", False),
        (f"x/.wdstools/packing/{PLAN}/a.json", False),
        (f".wdstools/packing/{PLAN}/a.json~", False),
        (f".wdstools/packing/{PLAN}/.json", False),
    ],
)
def test_a_note_is_known_by_its_name(key: str, is_one: bool) -> None:
    assert is_note(key) is is_one


def test_notes_of_the_same_name_in_two_splits_lie_apart_and_say_what_was_noted() -> None:
    store = remote(MemoryStore())
    first, second = note_path(PLAN, SHARD), note_path(PLAN, "test/test-000000.tar")
    assert first != second
    assert read_note(store, first) == {}
    write_note(store, first, {SHARD: "a" * 64})
    assert read_note(store, first) == {BEGUN: {SHARD: "a" * 64}}
    write_note(store, second, {"é": "b", "a": "c"})
    assert store.get(second) == '{"begun": {"a": "c", "é": "b"}}\n'.encode()
    write_note(store, first, {}, {"entry": {}})
    assert read_note(store, first) == {BEGUN: {}, DONE: {"entry": {}}}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"begun": []}',
        b'{"begun": {"cv.pdf": "%s"}}' % (b"a" * 64),
        b'{"begun": {"%s": "%s"}}' % (SHARD.encode(), b"a" * 63),
        b'{"begun": {"%s": "%s"}}' % (SHARD.encode(), b"a" * 65),
        b'{"begun": {"%s": 5}}' % SHARD.encode(),
        b'{"begun": {}, "done": 5}',
        b"[" * 100_000,
    ],
)
def test_a_note_that_nobody_of_us_has_written_is_refused(document: bytes) -> None:
    store = remote(MemoryStore())
    store.put_data(note_path(PLAN, SHARD), document)
    with pytest.raises(StoreError) as caught:
        read_note(store, note_path(PLAN, SHARD))
    assert caught.value.code == "scratch-not-ours"


def test_a_seal_is_of_one_path_one_key_and_everything_that_is_noted() -> None:
    done: dict[str, Any] = {"entry": {"path": SHARD, "bytes": 5}, "index_sha256": "b"}
    sealed = {**done, SEAL: seal(b"key", SHARD, done)}
    assert is_sealed(b"key", SHARD, sealed)
    assert is_sealed(b"key", SHARD, dict(reversed(sealed.items())))
    for key, path, line in [
        (b"other", SHARD, sealed),
        (b"key", INDEX, sealed),
        (b"key", SHARD, {**sealed, "index_sha256": "c"}),
        (b"key", SHARD, {**sealed, "more": 1}),
        (b"key", SHARD, done),
        (b"key", SHARD, {**sealed, SEAL: "é"}),
        (b"key", SHARD, {**sealed, SEAL: 5}),
        (b"key", SHARD, {**sealed, SEAL: ""}),
    ]:
        assert not is_sealed(key, path, line)


def test_what_an_earlier_run_stored_goes_where_this_one_makes_something_else_and_it_is_as_noted() -> None:
    store = remote(MemoryStore())
    held = {SHARD: b"of the other run", INDEX: b"the same", "test/test-000000.tar": b"changed since"}
    for path, data in held.items():
        store.put_data(path, data)
    noted = {path: sha256_hex(data) for path, data in held.items()}
    noted["test/test-000000.tar"] = sha256_hex(b"as it was")
    noted["test/test-000001.tar"] = sha256_hex(b"gone")
    clear_begun(store, {BEGUN: noted}, {SHARD: sha256_hex(b"mine"), INDEX: noted[INDEX]})
    assert sorted(info.key for info in store.list()) == sorted(held.keys() - {SHARD})
    clear_begun(store, {}, {})
    assert len(list(store.list())) == 2


class _Puts:
    """A PUT that notes its condition, and raises an error of some code the first time."""

    def __init__(self, store: RemoteStore, code: str = "") -> None:
        self._store, self._code = store, code
        self.conditions: list[str] = []

    def __call__(self, only_if: str) -> ObjectInfo:
        self.conditions.append(only_if)
        if self._code and len(self.conditions) == 1:
            raise StoreError("no", code=self._code)
        return self._store.put_data(INDEX, b"mine", only_if=only_if)


def test_an_object_is_stored_where_nothing_is_with_a_condition_or_after_a_look() -> None:
    for conditions, code, asked in [
        (True, "", [ABSENT]),
        (False, "", [ANYTHING]),
        (True, "store-cannot", [ABSENT, ANYTHING]),
    ]:
        store = remote(MemoryStore())
        put = _Puts(store, code)
        assert create(store, INDEX, sha256_hex(b"mine"), put, conditions=conditions).key == INDEX
        assert put.conditions == asked
        # the same is there: as good; other bytes: they stay
        for held, is_good in ((b"mine", True), (b"of somebody", False)):
            store.put_data(INDEX, held)
            if is_good:
                assert create(store, INDEX, sha256_hex(b"mine"), _Puts(store), conditions=conditions).bytes == 4
                continue
            with pytest.raises(StoreError) as caught:
                create(store, INDEX, sha256_hex(b"mine"), _Puts(store), conditions=conditions)
            assert caught.value.code == "scratch-not-ours"
            assert store.get(INDEX) == held
    store = remote(MemoryStore())
    with pytest.raises(StoreError) as caught:
        create(store, INDEX, sha256_hex(b"mine"), _Puts(store, "denied"), conditions=True)
    assert caught.value.code == "denied"
    assert list(store.list()) == []
