"""Where record groups lie in a shard that is damaged, or cannot be read everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

import wdstools
from tests.support.city_pairs import write_city_pairs
from tests.support.damaged_dataset import flipped
from tests.support.golden_in_memory import Held, golden, golden_files
from tests.support.laws import SHORT_LAW
from wdstools.checks import salvage
from wdstools.checks.salvage import (
    Survey,
    SurveyTask,
    find_groups,
    is_group,
    mend_group,
    rows_of,
    survey_shard,
    undo_flip,
)
from wdstools.errors import StoreError
from wdstools.executors.open import open_executor
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


class _BadSector(MemoryStore):
    """A store of which one byte cannot be read."""

    bad = 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Fail where the byte is asked for."""
        if start <= self.bad < start + (length if length is not None else 1 << 60):
            raise StoreError("a bad sector", where=key)
        return super().get(key, start, length)


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_group_that_cannot_be_read_is_nowhere_and_hides_no_other(place: int, tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=5, val=0)
    dataset = wdstools.pack(source, tmp_path / "shards", executor=open_executor("serial")).dataset
    ((_, entry),) = dataset.manifest.shards
    rows = rows_of(dataset.index(entry))
    offsets = [row["offset"] for row in rows]
    store = _BadSector()
    store.put(entry.path, dataset.shards.get(entry.path))
    store.bad = offsets[place] + 100
    expected = [*offsets]
    expected[place] = -1
    assert find_groups(store, entry.path, rows).tolist() == expected


SPLIT, ENTRY = golden().manifest.shards[1]
DATA = golden_files()[ENTRY.path]
ROWS = rows_of(golden().index(ENTRY))
OFFSETS = [row["offset"] for row in ROWS]
THIRD, FOURTH = OFFSETS[2], OFFSETS[3]


def _found(data: bytes) -> list[int]:
    return [*map(int, find_groups(Held({"a": data}), "a", ROWS))]


def _shifted(first: int, by: int) -> list[int]:
    """Where the groups lie if all from one on have moved."""
    return [offset + by * (number >= first) for number, offset in enumerate(OFFSETS)]


#: What was done to the shard, where its groups are then.
MOVES: dict[str, tuple[bytes, list[int]]] = {
    "nothing": (DATA, OFFSETS),
    "bytes before all": (b"x" * 77 + DATA, _shifted(0, 77)),
    "bytes between two": (DATA[:FOURTH] + b"x" * 1000 + DATA[FOURTH:], _shifted(3, 1000)),
    "bytes as far as is looked": (DATA[:FOURTH] + b"x" * 65_536 + DATA[FOURTH:], _shifted(3, 65_536)),
    "bytes to the end of what is read": (
        DATA[:FOURTH] + bytes(131_072 - FOURTH) + DATA[FOURTH:],
        _shifted(3, 131_072 - FOURTH),
    ),
    "a byte more": (DATA[:FOURTH] + bytes(131_073 - FOURTH) + DATA[FOURTH:], [*OFFSETS[:3], -1, -1, -1]),
    "bytes in one": (
        DATA[: FOURTH + 700] + b"x" + DATA[FOURTH + 700 :],
        [*OFFSETS[:3], -1, *(offset + 1 for offset in OFFSETS[4:])],
    ),
    "the first is gone": (DATA[FOURTH:], [-1, -1, -1, *(offset - FOURTH for offset in OFFSETS[3:])]),
    "one is gone": (
        DATA[:THIRD] + DATA[FOURTH:],
        [*OFFSETS[:2], -1, *(offset - (FOURTH - THIRD) for offset in OFFSETS[3:])],
    ),
    "bytes in two places": (
        DATA[:THIRD] + b"x" * 9 + DATA[THIRD:FOURTH] + b"y" * 5 + DATA[FOURTH:],
        [*OFFSETS[:2], THIRD + 9, *(offset + 14 for offset in OFFSETS[3:])],
    ),
    "moved, and back again": (
        DATA[:THIRD] + b"x" * 9 + DATA[THIRD : FOURTH + 3584 - 9] + DATA[FOURTH + 3584 :],
        [*OFFSETS[:2], THIRD + 9, -1, *OFFSETS[4:]],
    ),
    "all but the first are gone": (DATA[: OFFSETS[1]], [0, -1, -1, -1, -1, -1]),
    "all are gone": (b"", [-1] * 6),
}


@pytest.mark.parametrize("what", MOVES)
def test_groups_are_found_where_they_lie_now(what: str) -> None:
    data, places = MOVES[what]
    assert _found(data) == places
    assert find_groups(Held(), "a", ROWS).tolist() == [-1] * 6


@pytest.mark.parametrize("number", range(6))
def test_a_group_of_which_a_bit_is_wrong_is_nowhere(number: int) -> None:
    expected = [-1 if at == number else offset for at, offset in enumerate(OFFSETS)]
    assert _found(flipped(DATA, OFFSETS[number] + ROWS[number]["length"] - 1, 0)) == expected


@pytest.mark.parametrize(("more", "found"), [(2048, True), (2049, False), (-2048, True), (-2049, False)])
def test_a_group_is_looked_for_so_far_and_no_further(more: int, found: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "_SHIFT_BYTES", 2048)
    data = DATA[:FOURTH] + b"x" * more + DATA[FOURTH:] if more > 0 else DATA[: FOURTH + more] + DATA[FOURTH:]
    assert find_groups(Held({"a": data}), "a", ROWS[3:4]).tolist() == [FOURTH + more if found else -1]


@pytest.mark.parametrize("alone", [False, True])
def test_groups_move_on_from_where_the_last_one_lay(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "_SHIFT_BYTES", 2048)
    edges = [*OFFSETS, len(DATA)]
    moves = [2000 * (number + 1 if alone else number // 2 + 1) for number in range(6)]  # each, or two at once
    gaps = [move - before for before, move in zip([0, *moves], moves, strict=False)]
    data = b"".join(b"x" * gap + DATA[edges[at] : edges[at + 1]] for at, gap in enumerate(gaps))
    assert _found(data) == [offset + move for offset, move in zip(OFFSETS, moves, strict=True)]


@pytest.mark.parametrize(("ahead", "reads"), [(1 << 20, 1), (8000, 3), (1, 6)])
def test_a_shard_that_is_whole_is_read_ahead(ahead: int, reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(salvage, "_AHEAD_BYTES", ahead)

    class Counting(Held):
        reads = 0

        def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            """Counts."""
            self.reads += 1
            return super().get(key, start, length)

    store = Counting({"a": DATA})
    assert find_groups(store, "a", ROWS).tolist() == OFFSETS
    assert store.reads == reads


def test_a_group_has_both_of_its_digests() -> None:
    row, data = ROWS[2], DATA[THIRD:FOURTH]
    assert is_group(row, data)
    assert is_group({**row, "sha256": None}, data)
    assert not is_group({**row, "sha256": bytes(32)}, data)
    assert not is_group({**row, "xxh3_128": bytes(16)}, data)
    assert not is_group({**row, "xxh3_128": bytes(16), "sha256": None}, data)


def _mended(at: int, new: bytes, *, search: bool = False, number: int = 2, **changed: object) -> bool:
    """Whether a group is mended that has other bytes there."""
    row, first = ROWS[number], OFFSETS[number]
    data = DATA[first : first + row["length"]]
    damaged = data[:at] + new + data[at + len(new) :]
    return mend_group({**row, **changed}, damaged, search=search) == data


IMAGE, CAPTION, LABEL = (member["offset"] - THIRD for member in ROWS[2]["members"])


def test_what_follows_from_the_index_is_mended() -> None:
    assert _mended(0, bytes(512))  # a header
    assert _mended(CAPTION + 16, b"x" * 496)  # padding
    assert _mended(CAPTION, b"x" * 16)
    assert _mended(LABEL, b"x")
    assert _mended(0, b"x", number=4)
    assert not _mended(CAPTION, b"x" * 16, caption=None)
    assert not _mended(CAPTION, b"x" * 16, caption="another caption")
    assert not _mended(LABEL, b"x", cls=None)
    assert not _mended(LABEL, b"x", cls=7)
    assert not _mended(IMAGE, b"xyz")
    assert not _mended(IMAGE, b"xyz", search=True)
    assert not _mended(0, b"x", xxh3_128=bytes(16))


def test_a_bit_of_an_image_is_mended_where_it_is_looked_for() -> None:
    at = IMAGE + 300
    wrong = flipped(DATA, THIRD + at, 3)[THIRD + at : THIRD + at + 1]
    assert _mended(at, wrong, search=True)
    assert not _mended(at, wrong)
    row = ROWS[2]
    assert mend_group(row, DATA[THIRD : THIRD + at], search=True) is None  # the rest of it is gone
    assert mend_group(row, b"", search=True) is None


@SHORT_LAW
@given(st.binary(min_size=1, max_size=40), st.integers(0, 39))
def test_one_flipped_bit_is_undone_wherever_it_is(data: bytes, at: int) -> None:
    digest = xxhash.xxh3_64_intdigest(data)
    for bit in range(8):
        assert undo_flip(flipped(data, at % len(data), bit), digest) == data
    assert undo_flip(data, xxhash.xxh3_64_intdigest(data + b"x")) is None


def test_a_flipped_bit_is_looked_for_in_payloads_of_some_size_only() -> None:
    for size, found in ((1 << 16, True), ((1 << 16) + 1, False)):
        digest = xxhash.xxh3_64_intdigest(bytes(size))
        assert (undo_flip(flipped(bytes(size), 0, 7), digest) == bytes(size)) == found


@pytest.mark.parametrize("strict", [False, True])
def test_a_survey_says_whether_a_shard_is_what_the_manifest_says(strict: bool) -> None:
    ticks: list[int] = []

    def surveyed(data: bytes | None, **fails: StoreError) -> Survey:
        store = Held({} if data is None else {ENTRY.path: data}, {ENTRY.path: fails["error"]} if fails else None)
        return survey_shard(SurveyTask(store, ENTRY, strict), ticks.append)

    whole = surveyed(DATA)
    assert whole == Survey(ENTRY.path, len(DATA), ENTRY.xxh3_128, ENTRY.sha256 if strict else None)
    assert whole.is_whole(ENTRY)
    assert not replace(whole, sha256="0" * 64).is_whole(ENTRY)
    assert not replace(whole, bytes=1).is_whole(ENTRY)
    assert not surveyed(flipped(DATA, 9, 1)).is_whole(ENTRY)
    gone = Survey(ENTRY.path, None, None)
    assert surveyed(None) == surveyed(DATA, error=StoreError("no", code="input-output")) == gone
    with pytest.raises(StoreError):  # it may be whole
        surveyed(DATA, error=StoreError("no", code="denied"))
    assert ticks == [ENTRY.bytes] * 5
    assert survey_shard(SurveyTask(Held({ENTRY.path: DATA}), ENTRY), ticks.append).sha256 is None
