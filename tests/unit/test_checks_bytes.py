"""One shard, damaged in one place: what is said of it from its own headers alone, and what with its index."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tests.support.damaged_dataset import HEADER_FIELDS, flipped
from tests.support.golden_in_memory import Held, golden, golden_files
from tests.support.laws import SHORT_LAW
from tests.support.rawtar import header, member
from wdstools.checks import localise
from wdstools.checks.localise import Localiser
from wdstools.checks.stream import StreamResult, check_stream

if TYPE_CHECKING:
    from wdstools.results import Finding

ENTRY = golden().manifest.splits["train"][1]
DATA = golden_files()[ENTRY.path]
TABLE = golden().index(ENTRY)
ROWS = TABLE.to_pylist()
#: Of six samples the third, and where the fourth begins; its caption; where members end.
THIRD, FOURTH, END = ROWS[2]["offset"], ROWS[3]["offset"], 21_504
CAPTION = ROWS[2]["members"][1]
AT, SIZE, HEADER = CAPTION["offset"], CAPTION["size"], CAPTION["offset"] - 512
FINAL = ROWS[5]["members"][-1]
FINAL_END = FINAL["offset"] + FINAL["size"]
KEY, NEXT, LAST = (ROWS[number]["key"] for number in (2, 3, 5))

Said = tuple[str, str, str | None, str | None, int, int | None]


def _told(findings: list[Finding]) -> list[Said]:
    return [(f.kind, f.cause, f.key, f.member, f.start or 0, f.length) for f in findings]


def _stream(data: bytes) -> StreamResult:
    return check_stream([data], ENTRY.path)


def _localised(data: bytes) -> list[Finding]:
    return Localiser(Held({ENTRY.path: data}), ENTRY.path, len(data), TABLE).run()


def _over(at: int, new: bytes) -> bytes:
    return DATA[:at] + new + DATA[at + len(new) :]


def _in(at: int, new: bytes) -> bytes:
    return DATA[:at] + new + DATA[at:]


def _missing(start: int, length: int) -> Said:
    return ("header", "header-missing", None, None, start, length)


def _follow(length: int, start: int = len(DATA)) -> Said:
    return ("trailer", "bytes-follow", None, None, start, length)


def _moved(key: str, name: str | None, start: int, length: int) -> Said:
    return ("payload", "sample-moved", key, name, start, length)


def _end(start: int, length: int | None) -> Said:
    return ("truncated", "archive-end-missing", None, None, start, length)


DIFFERS: Said = ("payload", "payload-differs", KEY, "txt", AT, SIZE)
GARBAGE = b"garbage!" * 64


def _both(data: bytes, said: Said) -> tuple[bytes, list[Said], list[Said]]:
    return data, [said], [said]


DAMAGES: dict[str, tuple[bytes, list[Said], list[Said]]] = {
    "nothing": (DATA, [], []),
    "a payload": (flipped(DATA, AT + 3, 0), [DIFFERS], [DIFFERS]),
    "three bytes of a header": (
        _over(HEADER + 4, b"???"),
        [_missing(HEADER, 1024)],
        [("header", "header-differs", KEY, "txt", HEADER + 4, 3)],
    ),
    "zeros for a header": (
        _over(HEADER, bytes(512)),
        [_missing(HEADER, 1024)],
        [("header", "header-differs", KEY, "txt", HEADER, 318)],
    ),
    "padding": _both(_over(AT + SIZE + 2, b"x y"), ("padding", "padding-not-zero", KEY, "txt", AT + SIZE + 2, 3)),
    "the first blocks of the end": (
        _over(END + 600, b"x y"),
        [_missing(END, 1024)],
        [("trailer", "archive-end-damaged", None, None, END + 600, 3)],
    ),
    "the other blocks of the end": _both(
        _over(END + 1100, b"x y"), ("trailer", "archive-end-damaged", None, None, END + 1100, 3)
    ),
    "bytes behind the end": (DATA + b"abc", [_follow(3)], [_follow(3)]),
    "padding of the last sample, and zeros behind the end": (
        _over(FINAL_END, b"x") + bytes(10_240),
        [("padding", "padding-not-zero", LAST, FINAL["ext"], FINAL_END, 1), _follow(10_240)],
        [("padding", "padding-not-zero", LAST, FINAL["ext"], FINAL_END, 1), _follow(10_240)],
    ),
    "cut in a payload": (
        DATA[: AT + 3],
        [("truncated", "payload-cut", KEY, "txt", AT + 3, SIZE - 3)],
        [("truncated", "payload-cut", KEY, None, AT + 3, FOURTH - AT - 3)],
    ),
    "cut in padding": (
        DATA[: AT + SIZE + 3],
        [("truncated", "payload-cut", KEY, "txt", AT + SIZE + 3, 512 - SIZE - 3)],
        [("truncated", "payload-cut", KEY, None, AT + SIZE + 3, FOURTH - AT - SIZE - 3)],
    ),
    "cut in a header": (
        DATA[: HEADER + 12],
        [_end(HEADER + 12, None)],
        [("truncated", "payload-cut", KEY, None, HEADER + 12, FOURTH - HEADER - 12)],
    ),
    "cut between samples": (
        DATA[:FOURTH],
        [_end(FOURTH, None)],
        [("truncated", "samples-lost", NEXT, None, FOURTH, 3584)],
    ),
    "cut before the end": (DATA[:END], [_end(END, None)], [_end(END, len(DATA) - END)]),
    "cut in the end": _both(DATA[: END + 700], _end(END + 700, len(DATA) - END - 700)),
    "a byte more": (
        _in(AT + 3, b"?"),
        [DIFFERS, ("padding", "padding-not-zero", KEY, "txt", AT + SIZE, 1), _missing(10_240, 11_264), _follow(1)],
        [_moved(KEY, "txt", THIRD, 3585)],
    ),
    "a payload that is gone": (
        DATA[:AT] + DATA[AT + 512 :],
        [
            DIFFERS,
            ("padding", "padding-not-zero", KEY, "txt", AT + SIZE, 302),
            _missing(10_240, 512),
            _end(len(DATA) - 512, 512),
        ],
        [_moved(KEY, "txt", THIRD, 3072)],
    ),
    "a sample twice": (_in(FOURTH, DATA[THIRD:FOURTH]), [_follow(3584)], [_moved(KEY, None, FOURTH, 3584)]),
    "a sample twice, once damaged": (
        _in(FOURTH, flipped(DATA, AT + 3, 0)[THIRD:FOURTH]),
        [("payload", "payload-differs", KEY, "txt", AT + 3584, SIZE), _follow(3584)],
        [_moved(NEXT, "jpg", FOURTH, 7168)],
    ),
    "samples that changed places": (
        DATA[:THIRD] + DATA[FOURTH : FOURTH + 3584] + DATA[THIRD:FOURTH] + DATA[FOURTH + 3584 :],
        [],
        [_moved(KEY, "jpg", THIRD, 0), _moved(KEY, None, FOURTH, 3584)],
    ),
    "without the first sample": (DATA[3584:], [_follow(6656, 20_480)], [_moved(ROWS[0]["key"], "jpg", 0, 0)]),
    "a block of zeros more": (
        _in(FOURTH, bytes(512)),
        [_missing(FOURTH, 512), _follow(512)],
        [_moved(NEXT, "jpg", FOURTH, 4096)],
    ),
    "an end in the middle": (
        _in(FOURTH, bytes(1024)),
        [_missing(FOURTH, 1024), _follow(1024)],
        [_moved(NEXT, "jpg", FOURTH, 4608)],
    ),
    "an end in the middle, and garbage": (
        _in(FOURTH, bytes(1024) + GARBAGE),
        [("trailer", "archive-end-damaged", None, None, FOURTH + 1024, 512), _missing(FOURTH, 1536), _follow(1536)],
        [_moved(NEXT, "jpg", FOURTH, 5120)],
    ),
    "a member of others": (_in(FOURTH, member(b"a.jpg", b"xyz")), [_follow(1024)], [_moved(NEXT, "jpg", FOURTH, 4608)]),
    "a member of others behind garbage": (
        _in(FOURTH, GARBAGE + member(b"a.jpg", b"xyz")),
        [_missing(FOURTH, 1536), _follow(1536)],
        [_moved(NEXT, "jpg", FOURTH, 5120)],
    ),
    "the last byte of padding": _both(_over(AT + 511, b"x"), ("padding", "padding-not-zero", KEY, "txt", AT + 511, 1)),
    "a block of zeros more, and a later payload": (
        flipped(_in(FOURTH, bytes(512)), 19_968 + 512, 0),
        [_missing(FOURTH, 512), ("payload", "payload-differs", LAST, "txt", 20_480, 10), _follow(512)],
        [_moved(NEXT, "jpg", FOURTH, 4096), ("payload", "payload-differs", LAST, "txt", 20_480, 10)],
    ),
    "a block of zeros more, and a bit of what follows": (
        flipped(_in(FOURTH, bytes(512)), FOURTH + 514, 0),
        [_missing(FOURTH, 512), ("header", "header-bit", NEXT, "jpg", FOURTH + 514, 1), _follow(512)],
        [_moved(NEXT, "jpg", FOURTH, 4096)],
    ),
    "garbage, and a bit of what follows": (
        flipped(_in(FOURTH, GARBAGE), FOURTH + 514, 0),
        [_missing(FOURTH, 512), ("header", "header-bit", NEXT, "jpg", FOURTH + 514, 1), _follow(512)],
        [_moved(NEXT, "jpg", FOURTH, 4096)],
    ),
    "an end in the middle, and a payload behind it": (
        flipped(_in(FOURTH, bytes(1024)), FOURTH + 1536, 0),
        [_missing(FOURTH, 1024), ("payload", "payload-differs", NEXT, "jpg", FOURTH + 1536, 805), _follow(1024)],
        [_moved(NEXT, "jpg", FOURTH, 4608)],
    ),
    "an end in the middle, and a member of others": (
        _in(FOURTH, bytes(1024) + member(b"a.jpg", b"")),
        [("trailer", "archive-end-damaged", None, None, FOURTH + 1024, 344), _missing(FOURTH, 1536), _follow(1536)],
        [_moved(NEXT, "jpg", FOURTH, 5120)],
    ),
    "blocks more in two places": (
        DATA[:FOURTH] + bytes(512) + DATA[FOURTH:16_896] + bytes(512) + DATA[16_896:],
        [_missing(FOURTH, 512), _missing(16_896 + 512, 512), _follow(1024)],
        [_moved(NEXT, "jpg", FOURTH, 4096), _moved(ROWS[4]["key"], "cls", 14_848 + 512, 3584)],
    ),
    "a sample that is gone, and the end": (
        DATA[:THIRD] + DATA[FOURTH : FOURTH + 3584],
        [_end(FOURTH, None)],
        [_moved(KEY, "jpg", THIRD, 0), ("truncated", "samples-lost", ROWS[4]["key"], None, FOURTH, 3072)],
    ),
    "three bytes of a header, and cut": (
        _over(HEADER + 4, b"???")[: HEADER + 700],
        [_missing(HEADER, 700), _end(HEADER + 700, None)],
        [("truncated", "payload-cut", KEY, None, HEADER + 700, FOURTH - HEADER - 700)],
    ),
    "nothing at all": (b"", [_end(0, None)], [("truncated", "samples-lost", ROWS[0]["key"], None, 0, 3584)]),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_where_it_is_and_of_its_kind(what: str) -> None:
    data, alone, with_index = DAMAGES[what]
    assert _told(_stream(data).findings) == alone
    assert _told(_localised(data)) == with_index


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_a_flipped_bit_of_a_header_is_told_by_its_field(field: str) -> None:
    first, end = HEADER_FIELDS[field]
    name = {"unused end": "the unused end"}.get(field, field)
    for at in (HEADER + first, HEADER + end - 1):
        (alone,), (found,) = _stream(flipped(DATA, at, 1)).findings, _localised(flipped(DATA, at, 1))
        assert (found.cause, found.key, found.member, found.start, found.length) == (
            "header-differs", KEY, "txt", at, 1,
        )  # fmt: skip
        assert found.message == f"a header differs in {name}"
        assert (alone.cause, alone.key, alone.member, alone.start, alone.length) == (
            "header-bit", KEY, "txt", at, 1,
        )  # fmt: skip


def _resealed(block: bytes) -> bytes:
    """A header with its own digest and its sum made anew."""
    blank = block[:148] + b" " * 8 + block[156:297] + b" " * 32 + block[329:]
    seal = b"wds1:%016x" % xxhash.xxh3_64(blank).intdigest()
    sealed = block[:148] + b" " * 8 + block[156:297] + seal + bytes(11) + block[329:]
    return sealed[:148] + b"%06o\0 " % sum(sealed) + sealed[156:]


@pytest.mark.parametrize(("at", "first"), [(100, 100), (146, 146), (511, 151)])  # the sum stands before the end
def test_a_header_is_as_headers_are_written_even_where_its_digest_holds(at: int, first: int) -> None:
    block = DATA[HEADER : HEADER + 512]
    assert _resealed(block) == block
    (found,) = _stream(_over(HEADER, _resealed(block[:at] + b"1" + block[at + 1 :]))).findings
    assert _told([found]) == [("header", "header-form", KEY, "txt", HEADER + first, 1)]


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_of_a_header_is_mended(bit: int) -> None:
    for at in (HEADER, HEADER + 99, HEADER + 132, HEADER + 151, HEADER + 500):
        (found,) = _stream(flipped(DATA, at, bit)).findings
        assert (found.cause, found.start) == ("header-bit", at)


def test_a_tar_of_others_goes_on_behind_garbage() -> None:
    one, two = member(b"a.jpg", b"xyz"), member(b"b.jpg", b"xyz")
    found = _stream(one + GARBAGE + two + bytes(20 * 512 - len(one) - len(two) - 512))
    assert (_told(found.findings), found.members, found.sealed) == ([_missing(1024, 512)], 2, 0)


@pytest.mark.parametrize("more", [b"abc", b"x" * 512])
def test_bytes_behind_the_last_payload_have_moved_the_end(more: bytes) -> None:
    (first, *_) = _localised(_in(FINAL_END, more))
    assert (first.cause, first.key) == ("sample-moved", LAST)
    assert first.message.startswith(f"{len(more)} bytes inserted")


@pytest.mark.parametrize(("more", "found"), [(1536, True), (1537, False), (-2048, True), (-2049, False)])
def test_what_has_moved_is_looked_for_so_far_and_no_further(
    more: int, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localise, "_SHIFT_BYTES", 2048)
    data = _in(FOURTH + 600, b"x" * more) if more > 0 else DATA[: FOURTH + 600] + DATA[FOURTH + 600 - more :]
    first, *_ = _localised(data)
    assert (first.cause, first.key) == ("sample-moved" if found else "payload-differs", NEXT)
    assert (first.length == 3584 + more) == found


def test_what_is_counted_is_said_in_words() -> None:
    def words(what: str) -> str:
        return _localised(DAMAGES[what][0])[0].message

    assert words("a byte more") == "1 byte inserted in this sample; everything after it has moved"
    assert words("a payload that is gone") == "512 bytes lost in this sample; everything after it has moved"
    assert words("cut between samples").endswith("from this one on: 3 samples")
    assert words("cut in a payload").endswith("from this one on: 4 samples")
    for data, after in (
        (DAMAGES["zeros for a header"][0], f" (after sample {KEY})"),
        (GARBAGE + DATA, ""),
        (DAMAGES["the first blocks of the end"][0], f" (after sample {LAST})"),
    ):
        assert _stream(data).findings[0].message == f"no header where one should be{after}"
    (cut,) = _stream(DATA[:END]).findings
    assert (_stream(b"").findings[0].message, cut.message != "the file is empty") == ("the file is empty", True)
    assert (cut.expected, cut.got) == ("a multiple of 10240 bytes", f"{END} bytes")


def test_a_payload_that_differs_gives_both_digests() -> None:
    data = flipped(DATA, AT + 3, 0)
    for (found,) in (_stream(data).findings, _localised(data)):
        assert (found.expected, found.got) == ("xxh3:687b77f577008241", "xxh3:9ceebb5cf3829a34")


def test_members_are_counted_and_those_with_checksums_of_their_own() -> None:
    marked = header(b"b.jpg", 0, uname=b"xxh3:2d06800538d394c2") + bytes(0)
    assert (_stream(marked).members, _stream(marked).sealed) == (1, 0)  # its header has no digest of its own
    names: list[tuple[str, str, int, bytes]] = []
    data = _in(FOURTH, member(b"a.jpg", b"xyz") + member(b"README", b"words"))
    found = check_stream([data], ENTRY.path, lambda *one: names.append(one))
    assert (found.samples, found.members, found.sealed, found.bytes) == (8, 20, 18, len(data))
    ours = [
        (row["key"], one["ext"], one["offset"] + 2048 * (row["offset"] >= FOURTH))
        for row in ROWS
        for one in row["members"]
    ]
    assert [one[:3] for one in names] == [*ours[:9], ("a", "jpg", FOURTH + 512), *ours[9:]]
    assert all(data[at : at + len(payload)] == payload for _, _, at, payload in names)
    assert sum(len(payload) for *_, payload in names) == sum(m["size"] for row in ROWS for m in row["members"]) + 3


@SHORT_LAW
@given(st.lists(st.integers(0, len(DATA)), max_size=8), st.sampled_from(sorted(DAMAGES)))
def test_what_is_found_does_not_depend_on_how_the_bytes_come(cuts: list[int], what: str) -> None:
    data = DAMAGES[what][0]
    ends = [0, *sorted(cuts), len(data)]
    pieces = [piece for a, b in itertools.pairwise(ends) if (piece := data[a:b])]
    assert check_stream(map(memoryview, pieces), ENTRY.path) == _stream(data)


@pytest.mark.parametrize("size", [512, 1023, 1024])
def test_an_archive_of_nothing_has_an_end(size: int) -> None:
    assert _told(_stream(bytes(size)).findings) == [_end(size, 10_240 - size)]
    assert _stream(bytes(10_240)).findings == []
    nothing = TABLE.slice(0, 0)
    for data, start in ((bytes(10_240), None), (b"x" + bytes(10_239), 0)):
        found = Localiser(Held({"a": data}), "a", len(data), nothing).run()
        assert [finding.start for finding in found] == ([] if start is None else [start])
