"""Damage to one shard: the bytes that a sample gained or lost are counted, and only one wrong byte of a header is mended."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg
from tests.support.damaged_dataset import flipped
from tests.support.golden_in_memory import Held, golden, golden_files
from tests.support.laws import LAW
from wdstools.checks import stream
from wdstools.checks.localise import Localiser
from wdstools.checks.stream import check_stream, may_be_mended
from wdstools.dataset import open_dataset
from wdstools.results import Finding

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = golden().manifest.splits["train"][1]
DATA = golden_files()[ENTRY.path]
TABLE = golden().index(ENTRY)
ROWS = TABLE.to_pylist()
#: The bytes that every header has: the magic, and the names of the two digests.
CONSTANTS = (*range(257, 262), *range(265, 270), *range(297, 302))
GARBAGE = b"garbage!" * 64


def _localised(data: bytes) -> list[Finding]:
    return Localiser(Held({ENTRY.path: data}), ENTRY.path, len(data), TABLE).run()


@LAW
@example(number=5, at=0, count=1, gained=True)  # fewer than the zeros of its padding
@given(st.integers(0, 5), st.integers(0, 800), st.integers(1, 2000), st.booleans())
def test_bytes_that_a_sample_gained_or_lost_are_counted(number: int, at: int, count: int, gained: bool) -> None:
    row, member = ROWS[number], ROWS[number]["members"][0]
    place = member["offset"] + at % member["size"]
    count = count if gained else min(count, member["offset"] + member["size"] - place)
    data = DATA[:place] + b"x" * count + DATA[place:] if gained else DATA[:place] + DATA[place + count :]
    (found,) = _localised(data)
    assert (found.cause, found.key, found.member) == ("sample-moved", row["key"], member["ext"])
    assert (found.start, found.length) == (row["offset"], row["length"] + (count if gained else -count))
    assert found.message.startswith(
        f"{count:,} byte{'s' * (count > 1)} {'inserted' if gained else 'lost'} in this sample"
    )


def test_bytes_that_two_samples_gained_are_counted_in_each() -> None:
    first, last = ROWS[0]["members"][0]["offset"], ROWS[5]["members"][0]["offset"]
    found = _localised(DATA[:first] + b"x" * 100 + DATA[first:last] + b"x" * 7 + DATA[last:])
    assert [(one.cause, one.key, one.start, one.length) for one in found] == [
        ("sample-moved", ROWS[0]["key"], 0, ROWS[0]["length"] + 100),
        ("sample-moved", ROWS[5]["key"], ROWS[5]["offset"] + 100, ROWS[5]["length"] + 7),
    ]


@pytest.mark.parametrize(
    ("cause", "behind"),
    [("payload-differs", b""), ("payload-differs", b"abc"), ("payload-differs", bytes(512)), ("padding-not-zero", b"")],
)
def test_a_last_sample_that_has_not_moved_has_gained_nothing(cause: str, behind: bytes) -> None:
    member = ROWS[-1]["members"][-1]
    at = member["offset"] + (member["size"] if cause == "padding-not-zero" else 0)
    found = _localised(flipped(DATA, at, 0) + behind)
    assert [one.cause for one in found] == [cause, *(["bytes-follow"] if behind else [])]


@pytest.fixture(scope="module", name="zeros")
def _zeros(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose last image has many zeros in it, as many as end an archive and more."""
    place = tmp_path_factory.mktemp("zeros")
    (place / "source").mkdir()
    for number in range(2):
        jpeg = tiny_jpeg(number)
        (place / f"source/{number}.jpg").write_bytes(
            jpeg[:2] + b"\xff\xfe" + (20_002).to_bytes(2, "big") + bytes(20_000) + jpeg[2:]
        )
        (place / f"source/{number}.txt").write_text("a street")
    wt.pack(place / "source", place / "shards")
    return place / "shards"


@pytest.mark.parametrize(
    ("places", "cut", "expected"),
    [
        (("padding",), 0, ["padding-not-zero"]),
        (("payload", "end"), 0, ["payload-differs", "archive-end-damaged"]),
        (("payload",), 512, ["payload-differs", "archive-end-missing"]),
    ],
)
def test_zeros_in_the_last_sample_are_not_taken_for_the_end(
    zeros: Path, tmp_path: Path, places: tuple[str, ...], cut: int, expected: list[str]
) -> None:
    shutil.copytree(zeros, tmp_path / "shards")
    dataset = open_dataset(tmp_path / "shards")
    ((_, entry),) = dataset.manifest.shards
    row = dataset.index(entry).to_pylist()[-1]
    image, caption = row["members"]
    at = {
        "padding": caption["offset"] + caption["size"] + 5,
        "payload": image["offset"] + image["size"] - 20,
        "end": row["offset"] + row["length"] + 1030,
    }
    shard = tmp_path / "shards" / entry.path
    data = shard.read_bytes()
    for place in places:
        data = flipped(data, at[place], 0)
    shard.write_bytes(data[: len(data) - cut])
    assert [found.cause for found in wt.verify(tmp_path / "shards").findings] == expected


@pytest.mark.parametrize("at", CONSTANTS)
def test_a_header_with_one_wrong_byte_may_be_mended_and_with_two_not(at: int) -> None:
    block = DATA[:512]
    assert may_be_mended(flipped(block, at, 0))
    other = CONSTANTS[CONSTANTS.index(at) - 1]
    assert not may_be_mended(flipped(flipped(block, at, 0), other, 0))


@pytest.mark.parametrize("most", [1, 2, 3])
def test_after_so_many_lost_headers_no_other_is_mended(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_MAX_LOST_HEADERS", most)
    lost = DATA[:4] + b"???" + DATA[7:512]  # like a header, but not to be mended
    first, second, third = (ROWS[number]["offset"] for number in (1, 2, 3))
    one, other = first + 20, third + 1024 + 20
    data = flipped(DATA, one, 0)  # what is mended does not count
    data = data[:second] + lost + lost + data[second:]
    found = check_stream([flipped(data, other, 0)], ENTRY.path).findings
    assert [each.start for each in found if each.cause == "header-bit"] == ([one, other] if most > 2 else [one])


@pytest.mark.parametrize("more", [0, 512])
def test_a_sample_that_was_forged_is_told_by_its_other_digest(more: int) -> None:
    digest, third = bytes(32), ROWS[2]
    at = TABLE.schema.get_field_index("sha256")
    values = [digest if row is third else row["sha256"] for row in ROWS]
    table = TABLE.set_column(at, TABLE.schema.field(at), pa.array(values, TABLE.schema.field(at).type))
    data = bytes(more) + DATA
    *before, found = Localiser(Held({ENTRY.path: data}), ENTRY.path, len(data), table).run()
    assert [one.cause for one in before] == ["sample-moved"] * (more > 0)
    assert replace(found, message="", got=None) == Finding(
        "payload", ENTRY.path, "", third["key"], None, third["offset"] + more, third["length"],
        f"sha256:{digest.hex()}", cause="forged",
    )  # fmt: skip
    assert found.got == f"sha256:{third['sha256'].hex()}"
