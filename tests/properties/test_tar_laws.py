"""Laws of the tar layer: headers round-trip, and a shard has the bytes that Python's tarfile writes."""

from __future__ import annotations

import io
import tarfile
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.laws import LAW
from tests.support.rawtar import header
from tests.support.refusal import or_refused
from wdstools.errors import FormatError
from wdstools.formats.digest import sha256_digest, sha256_hex, xxh3_64_intdigest
from wdstools.formats.headers import render_headers
from wdstools.formats.tar import (
    BLOCK,
    MAX_MEMBER_BYTES,
    NAME_BYTES,
    RECORD,
    padding,
    parse_header,
    render_header,
    span,
    trailer_bytes,
)
from wdstools.writer.buffer import BLOCK_BYTES, TarBuffer

USTAR: Literal[0] = 0
GNU: Literal[1] = 1
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_/-%~."
names = st.text(_LETTERS, min_size=1, max_size=NAME_BYTES).map(str.encode)
sizes = st.integers(0, MAX_MEMBER_BYTES)
digests = st.integers(0, 2**64 - 1)
payloads = st.binary(max_size=3 * BLOCK)


def shard_bytes(members: list[tuple[bytes, bytes]]) -> bytes:
    """A shard as the writer lays it out."""
    parts = []
    for name, payload in members:
        parts += [render_header(name, len(payload), xxh3_64_intdigest(payload)), payload, bytes(padding(len(payload)))]
    body = b"".join(parts)
    return body + bytes(trailer_bytes(len(body)))


@LAW
@given(st.lists(st.tuples(names, sizes, digests), max_size=9))
@example([(b"a.jpg", MAX_MEMBER_BYTES, 2**64 - 1), (b"z" * NAME_BYTES, 0, 0), (b"~" * NAME_BYTES, 7, 2**63)])
def test_many_headers_at_once_are_those_of_one_by_one(members: list[tuple[bytes, int, int]]) -> None:
    sizes_of, digests_of = [size for _, size, _ in members], [digest for _, _, digest in members]
    made = render_headers(
        [name for name, _, _ in members], np.array(sizes_of, np.int64), np.array(digests_of, np.uint64)
    )
    assert made.tobytes() == b"".join(render_header(*member) for member in members)


USUAL = BLOCK_BYTES // 4096


class Kept:
    """Remembers what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, block: memoryview) -> None:
        self.data += block


@LAW
@given(
    st.lists(st.lists(st.tuples(names, payloads), min_size=1, max_size=3), max_size=9),
    st.sampled_from((4, 8, 64, USUAL)),
)
@example([[(b"a.jpg", b"x" * 20_000)], [(b"a.txt", b"y")], [(b"b.jpg", b"z" * 9_000)], [(b"b.txt", b"w" * 513)]], 4)
def test_a_shard_is_the_same_whatever_is_made_at_a_time(samples: list[list[tuple[bytes, bytes]]], pages: int) -> None:
    sink = Kept()
    buffer = TarBuffer(sink, pages * 4096, authenticated=True)
    for sample in samples:
        buffer.begin()
        buffer.add(b"refused", buffer.put(b"\xff" * 5_000))
        buffer.take_back()  # what it leaves in memory is no part of what follows
        for name, payload in sample:
            buffer.add(name, buffer.put(payload))
    digests_of_all = buffer.finish()
    expected = shard_bytes([member for sample in samples for member in sample])
    assert sink.data == expected
    assert digests_of_all.sha256 == sha256_hex(expected)
    starts, lengths = buffer.placed.offsets.tolist(), buffer.placed.lengths.tolist()
    groups = [expected[start : start + length] for start, length in zip(starts, lengths, strict=True)]
    assert b"".join(groups) == expected[: sum(lengths)]
    assert buffer.placed.sha256 == [sha256_digest(group) for group in groups]
    buffer.release()  # nor is what the shard before has left in it


def resum(block: bytes) -> bytes:
    """The header with the sum that it should have."""
    total = sum(block) - sum(block[148:156]) + 8 * 0x20
    return block[:148] + b"%06o\0 " % total + block[156:]


@LAW
@given(names, sizes, digests)
@example(b"a.jpg", MAX_MEMBER_BYTES, 2**64 - 1)
@example(b"z" * NAME_BYTES, 0, 0)
def test_a_header_gives_back_name_size_and_digest(name: bytes, size: int, digest: int) -> None:
    block = render_header(name, size, digest)
    header = parse_header(block)
    assert len(block) == BLOCK
    assert (header.name, header.size, header.payload_xxh3, header.sealed) == (name, size, digest, True)
    assert header.typeflag == b"0"


@LAW
@given(st.lists(st.tuples(names, payloads), max_size=6))
def test_a_shard_has_the_bytes_of_tarfile_in_ustar_format(members: list[tuple[bytes, bytes]]) -> None:
    ours = shard_bytes(members)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, payload in members:
            parsed = parse_header(render_header(name, len(payload), xxh3_64_intdigest(payload)))
            info = tarfile.TarInfo(parsed.name.decode())
            info.size, info.mode, info.mtime, info.uid, info.gid = len(payload), 0o444, 0, 0, 0
            info.uname = f"xxh3:{xxh3_64_intdigest(payload):016x}"
            info.gname = _gname(render_header(name, len(payload), xxh3_64_intdigest(payload)))
            tar.addfile(info, io.BytesIO(payload))
    assert ours == sink.getvalue()
    assert len(ours) % RECORD == 0


def _gname(block: bytes) -> str:
    """The seal, computed from FORMAT.md's rule: the header with chksum and gname as spaces."""
    blanked = block[:148] + b" " * 8 + block[156:297] + b" " * 32 + block[329:]
    return f"wds1:{xxh3_64_intdigest(blanked):016x}"


@LAW
@given(st.integers(0, 1 << 40))
def test_padding_and_trailer_end_on_their_boundaries(position: int) -> None:
    assert (position + padding(position)) % BLOCK == 0
    assert 0 <= padding(position) < BLOCK
    assert span(position) == BLOCK + position + padding(position)
    aligned = position - position % BLOCK
    assert (aligned + trailer_bytes(aligned)) % RECORD == 0
    assert 2 * BLOCK <= trailer_bytes(aligned) < 2 * BLOCK + RECORD


@LAW
@given(names, st.integers(0, 1 << 30), digests, st.integers(0, BLOCK - 1), st.integers(1, 255))
def test_no_changed_byte_of_a_header_goes_unseen(name: bytes, size: int, digest: int, at: int, flip: int) -> None:
    block = bytearray(render_header(name, size, digest))
    block[at] ^= flip
    with or_refused("tar-header"):
        assert parse_header(bytes(block)).sealed is not True


@pytest.mark.parametrize("at", [*range(148, 156), *range(297, 329)])
def test_a_changed_byte_in_what_a_seal_takes_as_blank_is_seen(at: int) -> None:
    block = bytearray(render_header(b"a/b.jpg", 1234, 5))
    block[at] ^= 2
    with or_refused("tar-header"):
        assert parse_header(bytes(block)).sealed is not True


def test_bytes_behind_a_seal_that_keep_the_sum_are_seen() -> None:
    block = bytearray(render_header(b"a/b.jpg", 1234, 5))
    block[327], block[155] = 1, 0  # the field of the sum does not count in it
    block[148:154] = b"%06o" % (int(block[148:154], 8) + 1)
    assert parse_header(bytes(block)).sealed is not True


@LAW
@given(names, st.integers(0, 1 << 30), digests, st.data())
def test_two_swapped_bytes_are_seen_though_the_ustar_sum_is_not_changed(
    name: bytes, size: int, digest: int, data: st.DataObject
) -> None:
    block = render_header(name, size, digest)
    # most neighbours are zeros, and swapping them changes nothing
    unlike = [at for at in range(BLOCK - 1) if block[at] != block[at + 1] and not 148 <= at + 1 < 157]
    at = data.draw(st.sampled_from(unlike))
    swapped = block[:at] + block[at + 1 : at + 2] + block[at : at + 1] + block[at + 2 :]
    with or_refused("tar-header"):
        assert parse_header(swapped).sealed is not True


@pytest.mark.parametrize(("size", "digest"), [(-1, 5), (-(8**9), 5)])
def test_a_header_with_a_negative_size_is_refused(size: int, digest: int) -> None:
    with pytest.raises(FormatError, match=r"."):
        parse_header(render_header(b"a.jpg", size, digest))


def test_a_header_whose_digest_has_a_sign_promises_no_digest() -> None:
    header = parse_header(render_header(b"a.jpg", 1, -5))
    assert header.payload_xxh3 is None


@LAW
@given(
    st.binary(max_size=NAME_BYTES),
    st.integers(0, 1 << 40) | st.integers(0, 2**88 - 1),
    st.sampled_from([USTAR, GNU]),
    st.text(_LETTERS, max_size=31),
    st.integers(0, 2**31),
)
@example(b"a\0b.jpg", 3, USTAR, "xxh3:0000000000000005", 0)
@example(b"a.jpg", 1 << 80, GNU, "", 0)
def test_headers_of_other_writers_are_read_as_tarfile_reads_them(
    name: bytes, size: int, kind: Literal[0, 1], uname: str, mtime: int
) -> None:
    assume(size < 8**11 or kind == GNU)
    info = tarfile.TarInfo("x")
    info.size, info.uname, info.mtime = size, uname, mtime
    block = info.tobuf(kind)[-BLOCK:]
    block = resum(name.ljust(100, b"\0") + block[100:])
    header = parse_header(block)
    theirs = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    assert header.name.decode("utf-8", "surrogateescape").rstrip("/") == theirs.name.rstrip("/")
    assert (header.size, header.sealed) == (theirs.size, None)


@LAW
@given(st.binary(min_size=1, max_size=NAME_BYTES), st.integers(-2, 2).filter(bool))
@example(b"\x7e\x7f\x80\xff.jpg", 1)
def test_a_sum_of_signed_bytes_counts_as_that_of_unsigned_ones(name: bytes, off: int) -> None:
    block = name.ljust(100, b"\0") + _REST
    summed = block[:148] + b" " * 8 + block[156:]
    sums = sum(summed), sum(memoryview(summed).cast("b"))
    for total in sums:
        assert parse_header(block[:148] + b"%06o\0 " % total + block[156:]).name == name.partition(b"\0")[0]
    wrong = sums[1] + off
    if wrong not in sums:
        with pytest.raises(FormatError, match="wrong header sum"):
            parse_header(block[:148] + b"%06o\0 " % wrong + block[156:])


_REST = render_header(b"", 3, 5)[100:]


@pytest.mark.parametrize(
    ("at", "changed", "why"),
    [
        (124, b"\xff" * 12, "a member has a negative size"),
        (124, b"\xff" + bytes(11), "a member has a negative size"),  # the lowest
        (124, b"0\xff", "a numeric header field is not octal"),
        (257, b"Ustar", "no ustar magic"),
        (257, bytes(8), "no ustar magic"),
    ],
)
def test_a_header_is_refused_by_what_is_wrong_with_it(at: int, changed: bytes, why: str) -> None:
    block = render_header(b"a.jpg", 3, 5)
    with pytest.raises(FormatError, match=f"^{why}"):
        parse_header(resum(block[:at] + changed + block[at + len(changed) :]))


def test_a_prefix_stands_before_the_name_in_a_header_of_posix_and_of_nobody_else() -> None:
    block = header(b"a.jpg", 3)
    block = block[:345] + b"folder/of".ljust(155, b"\0") + block[500:]
    for magic, name in ((b"ustar\x0000", b"folder/of/a.jpg"), (b"ustar  \0", b"a.jpg"), (b"ustar\x0099", b"a.jpg")):
        assert parse_header(resum(block[:257] + magic + block[265:])).name == name


@LAW
@given(st.integers(0, 1 << 30), digests)
def test_a_name_ends_at_its_first_zero_byte_even_in_a_sealed_header(size: int, digest: int) -> None:
    block = render_header(b"a.jpg\0b.png", size, digest)
    assert parse_header(block).name == b"a.jpg"


@LAW
@given(st.binary(min_size=BLOCK, max_size=BLOCK), st.booleans())
def test_any_512_bytes_are_a_header_or_a_format_error(block: bytes, dressed: bool) -> None:
    if dressed:  # get past the magic and the sum, to the fields behind them
        block = resum(block[:257] + b"ustar\x0000" + block[265:])
    with or_refused("tar-header"):
        header = parse_header(block)
        assert dressed
        assert header.size >= 0


@LAW
@given(st.binary(max_size=2 * BLOCK).filter(lambda data: len(data) != BLOCK))
def test_a_block_of_another_length_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="a tar header is 512 bytes"):
        parse_header(data)
