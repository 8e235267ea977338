"""A source's images as a plan asks for them: their bytes, their digests and fingerprints, whatever a file turns out to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tests.support.city_pairs import tiny_jpeg
from tests.support.lookalikes import jpeg, scene
from wdstools.dedup.groups import group
from wdstools.dedup.levels import LEVELS
from wdstools.executors.local import Serial
from wdstools.formats.arrow import to_ipc
from wdstools.formats.digest import xxh3_64_intdigest, xxh3_128_digest
from wdstools.images.rules import ImageRules
from wdstools.images.whole import CUT
from wdstools.planning import alike, compiling, identical
from wdstools.planning.alike import (
    AlikeTask,
    Pictures,
    by_preference,
    fingerprint,
    group_alike,
    images_as_packed,
    told_fingerprints,
)
from wdstools.planning.identical import count_identical, group_identical, hash_images, image_digests
from wdstools.progress import Silent
from wdstools.sources.base import DamagedEntryError, NeedSpaceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: The first buffer and the longest file, in the tests below.
FIRST, MOST = 8, 40


@dataclass
class Files:
    """A source of some files, of which None cannot be read; it notes what is still open, and asks for space as readers do."""

    files: Mapping[str, bytes | None]
    opened: list[Files] = field(default_factory=list)

    def open(self) -> Any:
        self.opened.append(self)
        return self

    def close(self) -> None:
        self.opened.remove(self)

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        raise AssertionError

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        assert entry == path.encode()
        data = self.files[path]
        if path == "grows" and len(view) == FIRST:
            raise NeedSpaceError(FIRST + 1)
        if data is None:
            raise DamagedEntryError("archive-damaged", "cut")
        if len(data) > len(view):
            raise NeedSpaceError(len(data))
        view[: len(data)] = data
        return len(data), 0


class Told(Silent):
    """Notes the tasks, and how many units of them are done."""

    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, str]] = []
        self.done = 0

    def start(self, task: str, total: int, unit: str) -> None:
        """A task begins."""
        self.tasks.append((task, total, unit))

    def advance(self, count: int) -> None:
        """Some more."""
        self.done += count


def _rows(names: Sequence[str]) -> pa.Table:
    columns = {"stem": names, "image_suffix": [""] * len(names), "image_entry": [name.encode() for name in names]}
    return pa.table(columns)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small buffers, and a low limit of a file's size."""
    monkeypatch.setattr(alike, "_FIRST_BUFFER", FIRST)
    monkeypatch.setattr(alike, "MAX_FILE_BYTES", MOST)


#: What an image may turn out to be, and whether it is got.
FILES = {
    "empty": (b"", True),
    "small": (b"abc", True),
    "fits": (b"x" * FIRST, True),
    "damaged": (None, False),
    "larger": (b"y" * (FIRST + 1), True),
    "grows": (b"g" * (FIRST + 3), True),
    "longest": (b"z" * MOST, True),
    "too long": (b"w" * (MOST + 1), False),
    "again": (b"abc", True),
}


@pytest.mark.usefixtures("short")
def test_the_bytes_of_every_image_that_can_be_had_come_in_order() -> None:
    source = Files({name: data for name, (data, _) in FILES.items()})
    task = AlikeTask(Pictures(source, as_they_lie=True), to_ipc(_rows(list(FILES))))
    assert list(images_as_packed(task)) == [data if is_had else b"" for data, is_had in FILES.values()]
    assert source.opened == []


@pytest.mark.usefixtures("short")
def test_byte_identical_images_have_one_digest_and_those_that_cannot_be_had_have_none() -> None:
    source, told = Files({name: data for name, (data, _) in FILES.items()}), list[int]()
    found = hash_images(AlikeTask(Pictures(source), to_ipc(_rows(list(FILES)))), told.append)
    assert found == b"".join(
        xxh3_128_digest(data) if data is not None and is_had else bytes(16) for data, is_had in FILES.values()
    )
    assert (told, source.opened) == ([len(FILES)], [])


def test_what_is_cut_off_makes_no_difference_and_what_cannot_be_packed_is_like_nothing() -> None:
    image = tiny_jpeg(1)
    files = {"1": image, "2": image + b"more", "3": tiny_jpeg(2), "4": b"none", "5": b""}
    task, told = AlikeTask(Pictures(Files(files), ImageRules(trailing=CUT)), to_ipc(_rows(list(files)))), list[int]()
    one, other = xxh3_128_digest(image), xxh3_128_digest(files["3"])
    assert hash_images(task, told.append) == one + one + other + bytes(32)
    assert told == [5]
    kept = AlikeTask(Pictures(Files(files)), to_ipc(_rows(list(files))))
    assert hash_images(kept, told.append)[16:32] == xxh3_128_digest(files["2"])


def test_images_are_numbered_by_their_bytes_however_many_go_to_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {str(number): bytes([number % 3]) for number in range(7)}
    monkeypatch.setattr(identical, "_ROWS_A_TASK", 2)
    told = Told()
    numbers = group_identical(_rows(list(files)), Pictures(Files(files)), Serial(), told)
    assert (numbers.dtype.name, len(set(numbers.tolist()))) == ("int64", 3)
    assert all((numbers[a] == numbers[b]) == (a % 3 == b % 3) for a in range(7) for b in range(7))
    assert (told.tasks, told.done) == ([("compare images", 7, "images")], 7)
    assert len(image_digests(_rows([]), Pictures(Files({})), Serial(), told.advance)) == 0


def test_copies_are_counted_in_pairs_of_splits_and_in_all() -> None:
    digests = {"b": [np.array([1, 1, 2]), np.array([3])], "a": [np.array([2, 3, 9, 9])], "c": [np.array([5, 3])]}
    assert count_identical(digests) == ({"a/b": 2, "a/c": 1, "b/c": 1}, 10 - 5)
    assert count_identical({"a": [np.array([4, 4])]}) == ({}, 1)


def test_a_fingerprint_is_that_of_the_bytes_and_says_what_is_no_picture() -> None:
    files = {"1": jpeg(scene(1)), "2": b"none", "3": jpeg(scene(2))}
    told: list[int] = []
    digests, hashes, spread = fingerprint(AlikeTask(Pictures(Files(files)), to_ipc(_rows(list(files)))), told.append)
    exact = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    assert exact.tolist() == [
        [xxh3_64_intdigest(files["1"]), len(files["1"])], [0, 0], [xxh3_64_intdigest(files["3"]), len(files["3"])],
    ]  # fmt: skip
    assert [reason is None for reason in hashes.unreadable] == [True, False, True]
    assert np.isnan(spread).tolist() == [False, True, False]
    assert (len(hashes.phash), hashes.luma.size, hashes.colour.size, sum(told)) == (3, 0, 0, 3)


def test_groups_name_rows_of_the_samples_and_the_first_in_order_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scene(5, 120, 120)
    files = {
        "0": jpeg(picture, 95),
        "1": b"none",
        "2": jpeg(scene(6)),
        "3": jpeg(picture, 70),
        "4": b"other",
        "5": b"none",
    }
    files |= {"6": jpeg(scene(6))}
    samples, order = _rows(list(files)), np.array([3, 6, 5, 4, 2, 1, 0])
    monkeypatch.setattr(alike, "_ROWS_A_TASK", 3)
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr(compiling, "compile_hashing", lambda _, images: asked.append((images, "hashing")))
    monkeypatch.setattr(
        compiling, "compile_search", lambda _, images, widest: asked.append((images, f"search {widest.name}"))
    )
    found = group_alike(samples, order, Pictures(Files(files)), "re-encode", Serial(), Silent())
    assert found.leader.tolist() == [3, 1, 6, 3, 4, 5, 6]  # what cannot be packed is like no other
    assert found.component.tolist() == found.leader.tolist()
    assert asked == [(7, "hashing"), (7, "search re-encode")]
    exact = group_alike(samples, order, Pictures(Files(files)), "exact", Serial(), Silent())
    assert exact.leader.tolist() == [0, 1, 6, 3, 4, 5, 6]
    assert asked[2:] == [(7, "hashing")]
    lying = group_alike(samples, order, Pictures(Files(files), as_they_lie=True), "exact", Serial(), Silent())
    assert lying.leader.tolist() == [0, 5, 6, 3, 4, 5, 6]


def test_fingerprints_in_parts_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {str(number): jpeg(scene(number % 3 + 9, 120, 120), 60 + number) for number in range(5)} | {"5": b"none"}
    order = np.array([4, 5, 2, 0, 1, 3])
    told = Told()
    whole, reasons = told_fingerprints(_rows(list(files)), order, Pictures(Files(files)), Serial(), told)
    assert [reason is None for reason in reasons] == [True, False, True, True, True, True]
    monkeypatch.setattr(alike, "_ROWS_A_TASK", 2)
    parts, again = told_fingerprints(_rows(list(files)), order, Pictures(Files(files)), Serial(), told)
    assert again == reasons
    for name in ("exact", "words", "mirrored"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name))
    assert np.array_equal(parts.deviation, whole.deviation, equal_nan=True)
    rows = np.array([5, 0, 3])
    assert np.array_equal(parts.looks(rows), whole.looks(rows))
    assert (told.tasks[-1], told.done) == (("compare images", 3, "images"), 6 + 6 + 3 + 3)
    assert parts.looks(np.zeros(0, np.int64)).shape == (0, 2048)
    assert [group(prints, LEVELS)[2].leader.tolist() for prints in (parts, whole)] == [[0, 1, 2, 3, 0, 3]] * 2


@pytest.mark.parametrize(
    ("splits", "order"),
    [
        (["train", "other", "val", "test"], [3, 2, 1, 0]),
        (["train", None, "valid", "dev", "validation", "val"], [2, 3, 4, 5, 1, 0]),
        (["b", None, "a", "train"], [0, 1, 2, 3]),
        (["test", "test", "test"], [0, 1, 2]),
    ],
)
def test_of_the_same_images_that_of_a_test_is_kept_before_that_of_training(
    splits: list[str | None], order: list[int]
) -> None:
    keys = [f"{number}".encode() for number in range(len(splits))]
    assert by_preference(pa.table({"split": splits, "key": keys})).tolist() == order
    backwards = by_preference(pa.table({"split": splits, "key": keys[::-1]})).tolist()
    ranks = [order.index(row) for row in order]
    assert sorted(backwards) == sorted(ranks)
    assert [splits[row] for row in backwards if splits[row] == "train"] == [name for name in splits if name == "train"]


@pytest.mark.parametrize("part", ["caption", "caption_suffix", "caption_entry"])
def test_of_the_same_images_one_with_a_caption_is_kept(part: str) -> None:
    of: dict[str, list[Any]] = {"split": ["train"] * 4, "key": [b"a", b"b", b"c", b"d"], part: [None, "x", None, "y"]}
    assert by_preference(pa.table(of)).tolist() == [1, 3, 0, 2]
    of["split"][2] = "test"
    assert by_preference(pa.table(of)).tolist() == [2, 1, 3, 0]
