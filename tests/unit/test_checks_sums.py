"""One line of a list and its file: where the file may lie, what is said of it, and how far it is read."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import xxhash

from tests.support.golden_in_memory import Held
from wdstools.checks.sums import SumCheck, SumCheckTask, check_sum, is_there
from wdstools.errors import StoreError
from wdstools.formats.sums import SumLine
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = b"some bytes of a file"
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
DENIED = StoreError("not allowed", code="denied")
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1\n"


def _line(path: str = "a", algorithm: str = "md5", digest: str = MD5, *others: str) -> SumLine:
    return SumLine(path, algorithm, digest, others)


def _check(store: Held, line: SumLine) -> tuple[SumCheck, int]:
    ticks: list[int] = []
    return check_sum(SumCheckTask(store, line), ticks.append), sum(ticks)


HASHES: dict[str, Callable[[bytes], str]] = {
    "crc32": lambda data: f"{zlib.crc32(data):08x}",
    "xxh32": lambda data: xxhash.xxh32(data).hexdigest(),
    "xxh64": lambda data: xxhash.xxh64(data).hexdigest(),
    "xxh3_64": lambda data: xxhash.xxh3_64(data).hexdigest(),
    "xxh3_128": lambda data: xxhash.xxh3_128(data).hexdigest(),
    "blake2b": lambda data: hashlib.blake2b(data).hexdigest(),
    "blake2b-256": lambda data: hashlib.blake2b(data, digest_size=32).hexdigest(),
    "blake2b-384": lambda data: hashlib.blake2b(data, digest_size=48).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
    "sha3_224": lambda data: hashlib.sha3_224(data).hexdigest(),
}


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("data", [DATA, b"", bytes((1 << 20) + 1)], ids=["short", "empty", "two blocks"])
def test_a_file_that_is_what_its_line_says_is_read_once(algorithm: str, data: bytes) -> None:
    line = _line("a", algorithm, HASHES[algorithm](data), "sha1")
    store = Held({"a": data})
    assert _check(store, line) == (SumCheck(len(data)), len(data))
    assert store.asked == ["a"]


def test_a_system_that_allows_old_hashes_only_against_accidents_is_told_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def careful(make: Callable[..., Any]) -> Callable[..., Any]:
        def made(*given: Any, usedforsecurity: bool = True, **named: Any) -> Any:
            assert not usedforsecurity
            return make(*given, **named)

        return made

    lines = [_line("a", name, HASHES[name](DATA)) for name in ("blake2b-256", "sha256")]
    monkeypatch.setattr(hashlib, "new", careful(hashlib.new))
    monkeypatch.setattr(hashlib, "blake2b", careful(hashlib.blake2b))
    assert [_check(Held({"a": DATA}), line)[0].finding for line in lines] == [None, None]


def test_the_algorithms_that_a_line_may_mean_are_tried_in_turn_and_counted_once() -> None:
    store = Held({"a": DATA})
    right = HASHES["xxh3_128"](DATA)
    assert _check(store, _line("a", "md5", right, "xxh3_128")) == (SumCheck(len(DATA)), len(DATA))
    said = Finding(
        "file",
        "a",
        "a file does not match the list",
        expected=f"md5:{'0' * 32}",
        got=f"md5:{MD5}",
        cause="bytes-differ",
    )
    assert _check(store, _line("a", "md5", "0" * 32, "xxh3_128")) == (SumCheck(len(DATA), said), len(DATA))


def test_a_file_that_is_not_there_or_cannot_be_read_says_so() -> None:
    said = Finding("missing", "a", "a listed file is missing", expected=f"md5:{MD5}", cause="file-missing")
    assert _check(Held(), _line()) == (SumCheck(0, said), 0)
    said = Finding("unreadable", "a", "not allowed", got="denied", cause="denied")
    assert _check(Held({"a": DATA}, {"a": DENIED}), _line()) == (SumCheck(0, said), 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (LFS, "git lfs pull"),
        (b"", ": this is an empty file"),
        (b"<!DOCTYPE html><html>", "this is a web page"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey", "this is an"),
        (b"PK\3\4", ""),
        (DATA, ""),
    ],
)
def test_what_stands_in_the_place_of_a_file_is_named(data: bytes, words: str) -> None:
    check, _ = _check(Held({"a": data}), _line("a", "md5", "0" * 32))
    assert check.finding is not None
    message = check.finding.message
    assert message.startswith("a file does not match the list")
    assert words in message
    assert (message == "a file does not match the list") == (not words)


PLACES = [
    ("a/b", "a/b"),
    (r"a\b", "a/b"),
    (r"C:\photos\a\b", "photos/a/b"),
    (r"C:\photos\a\b", "a/b"),
    (r"C:\photos\a\b", "b"),
    ("C:/photos//a/./b", "a/./b"),
    ("//server/share/b", "b"),
    ("/home/../b", "b"),
    ("/b", "b"),
    ("z:/" + "d/" * 100 + "b", "d/" * 63 + "b"),
]


@pytest.mark.parametrize(("path", "place"), PLACES)
def test_a_file_lies_at_its_path_or_where_the_end_of_it_is(path: str, place: str) -> None:
    store = Held({place: DATA})
    assert _check(store, _line(path)) == (SumCheck(len(DATA)), len(DATA))
    assert is_there(store, _line(path))
    # what cannot be read is there
    store.fails = {place: DENIED}
    assert is_there(store, _line(path))
    check, _ = _check(store, _line(path))
    assert check.finding == Finding("unreadable", path, "not allowed", got="denied", cause="denied")


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("a/b", "b"),  # it is of no other machine
        (r"a\b", "b"),
        (r"C:\a\b", "C:/a"),
        ("C:x/b", "b"),
        ("/a/..", ".."),
        ("z:/" + "d/" * 100 + "b", "d/" * 64 + "b"),
    ],
)
def test_and_nowhere_else(path: str, place: str) -> None:
    store = Held({place: DATA})
    assert not is_there(store, _line(path))
    check, _ = _check(store, _line(path))
    assert check.finding is not None
    assert (check.finding.cause, check.finding.path) == ("file-missing", path)


def test_of_several_places_the_nearest_to_its_path_is_taken() -> None:
    store = Held({"C:/a/b": b"", r"C:\a\b": DATA, "a/b": b"", "b": b""})
    for place in (r"C:\a\b", "C:/a/b", "a/b", "b"):
        store.put(place, DATA)
        assert _check(store, _line(r"C:\a\b"))[0].finding is None
        store.delete(place)
    assert not is_there(store, _line(r"C:\a\b"))
