"""Laws of the header hop: what it gives is what Python's ``tarfile`` lists, and whatever the bytes are, it ends."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st

from tests.support.foreign_tars import tar_bytes
from tests.support.laws import LAW
from tests.support.rawtar import END, base256, header, long_name, member, pax
from wdstools.formats.tarextension import Extension
from wdstools.formats.tarhop import HopNotes, TarEntry, hop, is_file

_PARTS = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40)
_NAMES = st.lists(_PARTS, min_size=1, max_size=6).map("/".join).filter(lambda name: not name.endswith("/"))
_FORMS = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])


def _hop(data: bytes) -> tuple[list[TarEntry], HopNotes]:
    notes = HopNotes()
    return list(hop(lambda at, count: data[at : at + count], notes, len(data))), notes


@LAW
@given(st.lists(st.tuples(_NAMES, st.binary(max_size=1500)), max_size=5), _FORMS, st.sampled_from([0, 1.5, 8**12]))
@example([("n" * 300 + ".jpg", b"x")], tarfile.PAX_FORMAT, 0)
@example([("n" * 300 + ".jpg", b"x")], tarfile.GNU_FORMAT, 0)
@example([("a/" * 60 + "x.jpg", b"x")], tarfile.USTAR_FORMAT, 0)
# its prefix reaches to where GNU says that the map of a sparse file goes on
@example([("a/" * 120 + "x.jpg", b"x")], tarfile.USTAR_FORMAT, 0)
def test_the_entries_are_those_of_tarfile(members: list[tuple[str, bytes]], form: int, mtime: float) -> None:
    try:
        data = tar_bytes(members, form, mtime=mtime)
    except ValueError:  # a name or time that ustar does not hold
        reject()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        theirs = [(info.name, info.offset_data, info.size) for info in tar]
    entries, notes = _hop(data)
    assert [(e[0].decode(), e[3], e[4]) for e in entries] == theirs
    assert [data[e[3] : e[3] + e[4]] for e in entries] == [payload for _, payload in members]
    assert all(is_file(e) for e in entries)
    assert notes.end == "archive"


@LAW
@given(st.binary(max_size=2048), st.integers(0, 3 * 512), st.integers(0, 255))
def test_whatever_the_bytes_are_it_ends_and_stays_inside(junk: bytes, at: int, byte: int) -> None:
    data = bytearray(member(b"x.jpg", b"payload") + pax({b"path": b"y.jpg"}) + member(b"y", b"z") + junk)
    data[at] = byte
    entries, notes = _hop(bytes(data))
    assert all(0 <= e[2] < e[3] <= e[3] + e[4] <= len(data) for e in entries)
    assert notes.end in ("archive", "missing", "cut", "damaged")


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_a_header_is_seen(bit: int) -> None:
    good = member(b"x.jpg", b"payload") + END
    for at in range(512):
        if 257 <= at < 265:
            continue  # the magic: without it the tar may be one from before ustar
        data = bytearray(good)
        data[at] ^= 1 << bit
        _, notes = _hop(bytes(data))
        assert notes.end == "damaged" or (148 <= at < 156 and notes.end == "archive"), at


def test_sizes_in_base_256_and_in_pax_records_are_read() -> None:
    data = (
        member(b"a.jpg", b"12345", size=base256(5)) + pax({b"size": b"3"}) + header(b"b.jpg", 9) + b"abc" + bytes(509)
    )
    entries, notes = _hop(data + END)
    assert [(e[0], e[4]) for e in entries] == [(b"a.jpg", 5), (b"b.jpg", 3)]
    assert (notes.binary_sizes, notes.pax_sizes, notes.end) == (1, 1, "archive")


def test_a_tar_from_before_ustar_is_read() -> None:
    block = bytearray(header(b"old.jpg", 3))
    total = sum(block) - sum(block[148:156]) + 8 * 32 - sum(block[257:265])
    block[257:265] = bytes(8)
    block[148:156] = b"%06o\0 " % total
    entries, notes = _hop(bytes(block) + b"abc" + bytes(509) + END)
    assert [(e[0], e[4]) for e in entries] == [(b"old.jpg", 3)]
    assert notes.end == "archive"


def test_the_start_of_an_entry_is_that_of_its_extension_record() -> None:
    entries, _ = _hop(member(b"a.jpg", b"x") + long_name(b"b" * 150) + member(b"b", b"y") + END)
    assert [e[2] for e in entries] == [0, 1024]
    assert entries[1][0] == b"b" * 150


@pytest.mark.parametrize(
    "data", [b"x path=a\n", b" path=a\n", b"-9 path=a\n", b"0 path=a\n", b"1 path=a\n", b"99 path=a\n"]
)
def test_records_of_a_length_that_is_none_are_not_understood(data: bytes) -> None:
    said = Extension(0)
    assert not said.read(ord("x"), data, HopNotes())
    assert (said.name, said.size) == (None, None)
