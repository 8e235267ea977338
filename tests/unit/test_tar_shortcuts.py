"""What reads most headers quickly says what the slow way says, or nothing: every byte of a header, changed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.came import came
from tests.support.rawtar import END, base256, header, member, pax
from wdstools.errors import FormatError
from wdstools.formats import tarhop
from wdstools.formats.tar import BLOCK, parse_header, render_header
from wdstools.formats.tarhop import HopNotes, TarEntry, hop
from wdstools.formats.tarrun import read_run

_PLAIN = member(b"a/name.jpg", b"x" * 700)[:BLOCK]
_LONGEST = member(b"n" * 100, b"")[:BLOCK]


def _summed(block: bytes) -> bytes:
    total = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    return block[:148] + b"%06o\0 " % total + block[156:]


def _changed(block: bytes, *, is_summed: bool) -> list[tuple[int, int, bytes]]:
    """The block with another byte at each place."""
    found = []
    for at in range(BLOCK):
        for byte in (0, 0x20, 0xFF, *b"18x_+-"):
            other = block[:at] + bytes([byte]) + block[at + 1 :]
            if other != block:
                found.append((at, byte, _summed(other) if is_summed and not 148 <= at < 156 else other))
    return found


def _slow(block: bytes) -> TarEntry | None:
    try:
        return tarhop._any_entry(block, 0, HopNotes())
    except FormatError:
        return None


@pytest.mark.parametrize(("block", "is_summed"), [(_PLAIN, True), (_LONGEST, True), (_PLAIN, False)])
def test_a_plain_entry_is_the_same_entry(block: bytes, is_summed: bool) -> None:
    assert tarhop._plain_entry(block, 0) == _slow(block)
    quick = 0
    for at, byte, other in came(_changed(block, is_summed=is_summed)):
        entry = tarhop._plain_entry(other, 0)
        slow = _slow(other)
        if entry is not None:
            quick += 1
            assert slow is not None, (at, byte)
            assert entry[:5] == slow[:5], (at, byte)
    assert quick > 0 or not is_summed


def test_only_plain_entries_take_the_short_way() -> None:
    for kind in (ord("0"), 0, ord("7"), ord("x")):
        assert tarhop._plain_entry(_summed(_PLAIN[:156] + bytes([kind]) + _PLAIN[157:]), 0) is not None
    for at, byte in [
        (156, ord("5")),
        (156, ord("L")),
        (345, ord("p")),
        (135, ord("7")),
        (135, ord("!")),
        (5, 0x80),
        (257, ord("U")),
        (124, ord("9")),
    ]:
        assert tarhop._plain_entry(_summed(_PLAIN[:at] + bytes([byte]) + _PLAIN[at + 1 :]), 0) is None
    blank = _summed(_PLAIN[:135] + b" " + _PLAIN[136:])  # behind the digits of the size
    assert tarhop._plain_entry(blank, 0) is not None
    other = blank[:154] + b"!" + blank[155:]  # behind the digits of the sum
    assert tarhop._plain_entry(other, 0) is _slow(other) is None
    assert read_run(memoryview((other + bytes(1024)) * 16), 0, payloads=True) is None
    blank = blank[:154] + b" " + blank[155:]
    assert tarhop._plain_entry(blank, 0) == _slow(blank) is not None
    data = blank + bytes(1024)
    assert len(_run(data * 16, payloads=False)) == len(_run(data * 16, payloads=True)) == 16
    assert read_run(memoryview(data * 15), 0, payloads=True) is None  # too few to be worth it


def test_runs_are_asked_for_before_each_entry_and_not_inside_one() -> None:
    data = member(b"a", b"1") + pax({b"path": b"c"}) + member(b"b", b"2") + member(b"d", b"3") + END
    asked: list[int] = []

    def runs(at: int) -> int:
        asked.append(at)
        return at

    entries = list(hop(lambda at, count: data[at : at + count], HopNotes(), len(data), runs))
    assert [entry[0] for entry in entries] == [b"a", b"c", b"d"]
    assert asked == [0, 1024, 3072, 4096]


def test_our_own_header_is_read_the_short_way_and_any_other_as_the_long_way_reads_it() -> None:
    ours = render_header(b"a/name.jpg", 700, 0x0123456789ABCDEF)
    read = parse_header(ours)
    assert (read.name, read.size, read.payload_xxh3, read.sealed) == (b"a/name.jpg", 700, 0x0123456789ABCDEF, True)
    for at, byte, other in came(_changed(ours, is_summed=True)):
        try:
            found = parse_header(other)
        except FormatError:
            continue
        assert found.sealed is not True, (at, byte)


def _tar(changed: bytes | None, records: bytes = b"") -> bytes:
    members = [member(b"%03d.jpg" % number, b"y" * (number * 40)) for number in range(40)]
    if changed is not None:
        members[30] = changed + members[30][BLOCK:]
    return b"".join([*members[:30], records, *members[30:]]) + END


def _hopped(data: bytes) -> list[tuple[bytes, int, int]]:
    found = hop(lambda at, count: data[at : at + count], HopNotes(), len(data))
    return [(entry[0], entry[3], entry[4]) for entry in found]


def _run(data: bytes, *, payloads: bool) -> list[tuple[bytes, int, int]]:
    run = read_run(memoryview(data), 0, payloads=payloads, total=None if payloads else len(data))
    assert run is not None
    names = [bytes(row).rstrip(b"\0") for row in run.names]
    return list(zip(names, run.offset.tolist(), run.size.tolist(), strict=True))


@pytest.mark.parametrize("payloads", [True, False])
def test_entries_that_are_read_together_are_those_of_one_after_the_other(payloads: bool) -> None:
    plain = _tar(None)
    assert _run(plain, payloads=payloads) == _hopped(plain)
    block = member(b"030.jpg", b"y" * 1200)[:BLOCK]
    others = np.random.default_rng(3).permutation(len(changed := _changed(block, is_summed=True)))[:100]
    no_octal = _summed(block[:124] + b"00000002258" + block[135:])  # 1,200 only if an eight is a digit
    no_end = _summed(block[:135] + b"!" + block[136:])
    for at, byte, other in [
        *(changed[number] for number in others),
        (134, ord("8"), no_octal),
        (135, ord("!"), no_end),
    ]:
        data = _tar(other)
        together, each = _run(data, payloads=payloads), _hopped(data)
        assert together == each[: len(together)], (at, byte)
        assert len(together) >= 30, (at, byte)
    for kind, count in ((b"\0", 40), (b"7", 40), (b"\1", 30), (b"1", 30)):
        assert len(_run(_tar(_summed(block[:156] + kind + block[157:])), payloads=payloads)) == count


@pytest.mark.parametrize("payloads", [True, False])
@pytest.mark.parametrize(
    "records",
    [
        pax({b"mtime": b"1.5"}),
        pax({b"path": b"other.jpg"}),
        pax({b"size": b"3"}),
        pax({b"comment": b"path and size"}),
        pax({b"comment": b"xpath=1"}),
        pax({b"mtime": b"1.5"}) * 2,
        pax({b"comment": b"c" * 499}),  # a block
        pax({b"comment": b"c" * 500}),
        pax({}),
    ],
)
def test_records_that_say_where_something_lies_are_not_passed_over(records: bytes, payloads: bool) -> None:
    data = _tar(None, records)
    together, each = _run(data, payloads=payloads), _hopped(data)
    assert together == each[: len(together)]
    assert len(together) in (30, 40)
    says_nothing = len(records) <= 1024 and b"path=" not in records and b"size=" not in records
    assert (len(together) == 40) is says_nothing


@pytest.mark.parametrize("digits", [b"-0000000001", b"-0000001000", b"-7777777777", b"+0000000001", b" 0000000001"])
def test_a_run_ends_before_a_size_with_a_sign_and_whatever_it_is(digits: bytes) -> None:
    block = member(b"030.jpg", b"y" * 1200)[:BLOCK]
    data = _tar(_summed(block[:124] + digits + block[135:]))
    for payloads in (True, False):
        assert _run(data, payloads=payloads) == _hopped(_tar(None))[:30]


@pytest.mark.parametrize("cut", [0, 1])
def test_the_last_entry_counts_if_it_ends_where_the_tar_ends(cut: int) -> None:
    data = b"".join(member(b"%03d.jpg" % number, b"y" * 512) for number in range(40))
    data = data[: len(data) - cut]
    for payloads in (True, False):
        assert len(_run(data, payloads=payloads)) == 40 - cut
    assert len(_hopped(data)) == 40 - cut
    assert cut or len(_run(data + header(b"empty"), payloads=False)) == 41
    buffer = memoryview(bytearray(len(data)))

    def fill(at: int) -> None:
        buffer[at : at + 2 * BLOCK] = data[at : at + 2 * BLOCK]

    run = read_run(buffer, 0, payloads=False, total=len(data), fill=fill if not cut else None)
    assert (run is None) is bool(cut)
    assert run is None or run.offset.tolist() == [offset for _, offset, _ in _hopped(data)]


@pytest.mark.parametrize("before", [b"", member(b"a.jpg", b"1"), member(b"a.jpg", b"1") * 20])
@pytest.mark.parametrize("record", [b"", pax({b"path": b"name"})])
def test_a_tar_is_cut_where_the_member_begins_that_is_not_whole(before: bytes, record: bytes) -> None:
    entries, notes = _ended(before + record + header(b"b.jpg", 600) + bytes(512))
    assert (len(entries), notes.end, notes.end_at) == (len(before) // 1024, "cut", len(before))


@pytest.mark.parametrize("zeros", [1, 2, 3, 20, 127, 128, 129, 200])
@pytest.mark.parametrize("shift", [0, 1, 511])
def test_a_member_behind_zeros_is_found_where_it_begins(zeros: int, shift: int) -> None:
    first, second = member(b"a.jpg", b"1"), member(b"b.jpg", b"2")
    data = first + bytes(zeros * BLOCK) + second + END
    notes = HopNotes()
    entries = list(hop(lambda at, count: data[at : at + count], notes, len(data)))
    assert [entry[0] for entry in entries] == [b"a.jpg", b"b.jpg"]
    assert (notes.resumed, notes.resumed_at, notes.end) == (1, len(first), "archive")
    # what no header begins is what tools leave behind an archive
    rest = b"\1" * (BLOCK - shift) + bytes(3)
    data = first + bytes(zeros * BLOCK + shift) + rest
    notes = HopNotes()
    assert len(list(hop(lambda at, count: data[at : at + count], notes, len(data)))) == 1
    assert (notes.end, notes.end_at, notes.trailing) == ("archive", len(first), len(rest) + shift)
    # and a header that comes after it stands where something was
    data += bytes(-len(data) % BLOCK) + second
    notes = HopNotes()
    assert len(list(hop(lambda at, count: data[at : at + count], notes, len(data)))) == 1
    assert (notes.end, notes.why) == ("damaged", "a hole of zeros")


@pytest.mark.parametrize(
    "before", [b"ustar", b"ustar" * 200, b"\1" * 257 + b"ustar", b"\1" * 300 + b"ustar", b"\1" * 65_536]
)
def test_a_header_is_found_behind_what_only_looks_like_one(before: bytes) -> None:
    lead = member(b"a.jpg", b"1") + bytes(2 * BLOCK) + before.ljust(-(-len(before) // BLOCK) * BLOCK, b"\1")
    _, notes = _ended(lead + END)
    assert (notes.end, notes.trailing) == ("archive", len(lead) - 2 * BLOCK)
    _, notes = _ended(lead + member(b"b.jpg", b"2") + END)
    assert (notes.end, notes.why) == ("damaged", "a hole of zeros")


def _ended(data: bytes) -> tuple[list[TarEntry], HopNotes]:
    notes = HopNotes()
    return list(hop(lambda at, count: data[at : at + count], notes, len(data))), notes


def test_a_header_from_before_ustar_is_read_as_one_of_ustar() -> None:
    link = header(b"a.jpg", 0, b"2", b"target", uname=b"me")
    for magic in (bytes(8), b"ustar  \0", b"somebody"):
        old = _summed(link[:257] + magic + link[265:345] + b"continued".ljust(167, b"\0"))
        entry = _slow(old)
        assert entry is not None
        assert entry[:2] == (b"a.jpg", ord("2"))
        assert entry[4:] == (0, b"target")
        assert parse_header(link).typeflag == b"2"
        large = _summed(b"\xff" * 100 + old[100:157] + b"\xff" * 100 + old[257:])
        assert large[148:149] != b"0"  # a sum of six digits
        assert _slow(large) is not None
        assert _slow(old[:148] + b"%06o\0 " % 1 + old[156:]) is None
        assert _slow(old[:148] + b"x" * 8 + old[156:]) is None


def test_sizes_in_base_256_are_counted() -> None:
    large = header(b"a", base256(9))
    entries, notes = _ended(large + bytes(512) + header(b"b", 0) + END)
    assert [(entry[0], entry[4]) for entry in entries] == [(b"a", 9), (b"b", 0)]
    assert notes.binary_sizes == 1
    data, notes = header(b"\xff", 8**10), HopNotes()  # its first digit is odd, as the mark's byte may be
    assert [entry[4] for entry in hop(lambda at, count: data[at : at + count], notes)] == [8**10]
    assert notes.binary_sizes == 0


def test_a_file_is_neither_a_folder_nor_a_link() -> None:
    entries, _ = _ended(b"".join(header(name, 0, kind) for name, kind in _KINDS) + END)
    assert [tarhop.is_file(entry) for entry in entries] == [True, True, True, False, False, False]


_KINDS = [(b"a", b"0"), (b"a", b"\0"), (b"a", b"7"), (b"a", b"2"), (b"a/", b"0"), (b"a/", b"5")]


def test_what_a_record_says_is_that_of_the_next_entry() -> None:
    first, second = header(b"short", 0, b"2", b"x"), member(b"b.jpg", b"2")
    entries, notes = _ended(
        member(b"link", b"l" * 120 + b"\0", b"K") + member(b"name", b"n" * 120 + b"\0", b"L") + first + second + END
    )
    assert [(entry[0], entry[5]) for entry in entries] == [(b"n" * 120, b"l" * 120), (b"b.jpg", b"")]
    assert (notes.gnu_names, notes.pax_names) == (1, 0)
    entries, _ = _ended(header(b"a.jpg", 0, b"2", b"t" * 100) + END)
    assert [entry[5] for entry in entries] == [b"t" * 100]
    entries, notes = _ended(pax({b"path": b"p", b"linkpath": b"q"}) + first + second + END)
    assert [(entry[0], entry[5]) for entry in entries] == [(b"p", b"q"), (b"b.jpg", b"")]
    assert (notes.gnu_names, notes.pax_names, notes.end) == (0, 1, "archive")


def test_a_record_that_says_nothing_of_names_and_sizes_may_say_anything() -> None:
    entries, notes = _ended(member(b"pax", b"99 mtime", b"x") + member(b"b.jpg", b"2") + END)
    assert ([entry[0] for entry in entries], notes.end) == ([b"b.jpg"], "archive")


@pytest.mark.parametrize(("digits", "size"), [(b"3", 3), (b"3".zfill(19), 3), (b"3".zfill(20), 700), (b"", 700)])
def test_a_size_of_more_digits_than_any_file_has_is_passed_over(digits: bytes, size: int) -> None:
    entries, notes = _ended(
        pax({b"size": digits}) + member(b"a.jpg", b"x" * 700)[: 512 + (1024 if size > 512 else 512)] + END
    )
    assert [entry[4] for entry in entries] == [size]
    assert notes.pax_sizes == (size == 3)


@pytest.mark.parametrize("more", [0, 1, 511, 512])
def test_a_sparse_map_that_is_cut_is_no_entry(more: int) -> None:
    block = bytearray(header(b"a.jpg", 0, b"S"))
    block[482] = 1  # the map goes on in the next block
    entries, notes = _ended(_summed(bytes(block)) + bytes(more))
    assert (len(entries), notes.end) == ((1, "missing") if more == 512 else (0, "cut"))


def test_a_record_that_is_not_whole_is_cut_or_damaged() -> None:
    good = member(b"a.jpg", b"1")
    _, notes = _ended(good + header(b"pax", 600, b"x") + b"y" * 512)
    assert (notes.end, notes.end_at) == ("cut", len(good))
    for size, end in ((1 << 23, "archive"), ((1 << 23) + 1, "damaged")):
        _, notes = _ended(good + member(b"pax", b"\1" * size, b"x") + END)
        assert (notes.end, notes.end_at) == (end, len(good) + (512 + size if end == "archive" else 0)), size


@pytest.mark.parametrize(
    ("body", "is_understood"),
    [
        (b"9 path=a\n", True),
        (b"9 path=a\n\0\0\0", True),
        (b"9 path=a\n9 path=b\n", True),
        (b"9 path=a\nx", False),
        (b"8 path=a\n", False),
        (b"11 path=a\n", False),
        (b"0 path=a\n", False),
        (b"1 path=a\n", False),
        (b"8 mtime\n9 path=a\n", False),
        (b"-9 path=a\n", False),
    ],
)
def test_a_pax_record_is_a_length_a_key_and_a_value(body: bytes, is_understood: bool) -> None:
    entries, notes = _ended(member(b"pax", body, b"x") + member(b"b.jpg", b"2") + END)
    assert notes.end == ("archive" if is_understood else "damaged")
    assert [entry[0] for entry in entries] == ([b"b" if b"path=b" in body else b"a"] if is_understood else [])
