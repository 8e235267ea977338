"""Laws of runs: plain headers looked at together give what they give one by one, whatever lies between them."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.city_pairs import tiny_jpeg
from tests.support.foreign_tars import tar_bytes
from tests.support.laws import LAW
from tests.support.rawtar import END, base256, header, long_name, member, pax
from wdstools.foreign import shard, window
from wdstools.formats import tarrun
from wdstools.formats.tarhop import HopNotes, hop
from wdstools.formats.tarrun import read_run
from wdstools.images.header import DimensionReader
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

_IMAGES = [tiny_jpeg(number) for number in range(4)]
_MTIME = pax({b"mtime": b"1764379138.25"})


def _sample(number: int, kind: int) -> bytes:
    """An image and a caption, as one of three writers puts them."""
    before = _MTIME if kind == 1 else b""
    key = b"%s%06d" % (b"./dir.of/" if kind == 2 else b"", number)
    image = _IMAGES[number % 4] + bytes(number * 37 % 700)
    text = (b"caption %d" % number, b"", b" ", b"\xff", "Zürich".encode())[number % 5 if kind != 1 else 0]
    return before + member(key + b".jpg", image) + before + member(key + b".txt", text)


_ODD = [
    member(b"a", b"no extension"),
    member(b".hidden.txt", b"x" * 600),
    member(b"__meta__/x.txt", b"x"),
    member(b"dir/", b"", b"5"),
    member(b"dir/", b""),
    member(b"a b.txt", b"with a space"),
    member(b"1.5.jpg", _IMAGES[0]),
    member(b"\xc3\xa9.txt", b"beyond ASCII"),
    member(b"x.TXT", b"upper case"),
    member(b"x.cls", b"7"),
    member(b"x.jpg", _IMAGES[1]),
    member(b"x.txt", b"again"),
    member(b"000003.jpg", b"a key that is there already"),
    member(b"000003.json", b"and another of its members"),
    member(b"link", b"", b"2"),
    member(b"big.txt", b"y" * 5000),
    member(b"y.jpg", b"12345", size=base256(5)),
    member(b"z.txt\0hidden", b"behind the zero"),
    pax({b"path": b"pax/name.jpg"}) + member(b"short", _IMAGES[2]),
    pax({b"size": b"3"}) + header(b"s.txt", 9) + b"abc" + bytes(509),
    pax({b"comment": b"path=x"}) + member(b"c.txt", b"not a path"),
    pax({b"comment": b"z" * 700}) + member(b"l.txt", b"a long record"),
    pax({b"mtime": b"1.5"}, b"g") + member(b"g.txt", b"global"),
    _MTIME + _MTIME + member(b"twice.txt", b"two records"),
    _MTIME + member(b"dir/", b"", b"5"),
    long_name(b"n" * 150 + b".txt") + member(b"short", b"long name"),
    header(b"tar.in.tar", 1536) + _sample(3, 0)[:1536],
    bytes(512) + member(b"behind.txt", b"a zero block"),
    b"junk" * 128,
    member(b"sum.txt", b"x")[:148] + b"000000\0 " + member(b"sum.txt", b"x")[156:],
]
_PARTS = st.lists(st.one_of(st.tuples(st.integers(0, 2), st.integers(1, 12)), st.sampled_from(_ODD)), max_size=12)


def _tar(parts: list[tuple[int, int] | bytes], cut: int) -> bytes:
    data, number = bytearray(), 0
    for part in parts:
        if isinstance(part, bytes):
            data += part
            continue
        for _ in range(part[1]):
            data += _sample(number, part[0])
            number += 1
    data += END
    return bytes(data[: len(data) - cut])


def _read(store: Any, digests: str) -> tuple[Any, ...]:
    rows, notes, found = shard.read_foreign(store, "x.tar", "train", "tar", digests)
    columns = rows.columns
    return (
        columns.table("train").to_pylist(), notes, found, rows.hazards.hazards(),
        columns.samples_with(), columns.key_hashes().tolist(),
    )  # fmt: skip


@LAW
@given(
    parts=_PARTS, cut=st.one_of(st.just(0), st.integers(0, 4000)), ahead=st.sampled_from([1 << 10, 1 << 13, 1 << 22])
)
def test_a_tar_gives_the_same_rows_and_hazards_with_runs_and_without(
    parts: list[tuple[int, int] | bytes], cut: int, ahead: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = _tar(parts, min(cut, 1024 * len(parts)))
    _assert_the_same(data, tmp_path_factory.mktemp("tar"), ahead)


@pytest.mark.parametrize("number", range(len(_ODD)))
def test_anything_between_and_inside_samples_gives_the_same_with_runs_and_without(number: int, tmp_path: Path) -> None:
    odd = _ODD[number]
    samples = [_sample(n, 0) for n in range(30)]
    inside = [member(b"i%d.%s" % (n, kind), b"x") + odd for n in range(3) for kind in (b"jpg", b"txt", b"cls")]
    data = b"".join((*samples[:12], odd, *samples[12:15], odd, odd, *samples[15:20], *inside, *samples[20:], odd))
    for cut in (0, 1, 513):
        _assert_the_same(data[: len(data) - cut], tmp_path, 1 << 22)


def _assert_the_same(data: bytes, folder: Path, ahead: int) -> None:
    (folder / "x.tar").write_bytes(data)
    memory = MemoryStore()
    memory.put("x.tar", data)
    for store in (LocalStore(folder), memory):
        for digests in ("none", "xxh3"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(window, "_AHEAD", ahead)
                patch.setattr(window, "_RANGE", ahead)
                patch.setattr(tarrun, "_FEWEST", 1)
                fast = _read(store, digests)
                patch.setattr(shard, "read_run", lambda *_arguments, **_options: None)
                slow = _read(store, digests)
            assert fast == slow


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("payloads", [True, False])
def test_a_whole_tar_of_each_format_is_one_run(payloads: bool, form: int) -> None:
    members = [(f"folder/{number:04d}.{kind}", bytes(number * 9)) for number in range(300) for kind in ("jpg", "txt")]
    data = tar_bytes(members, form, mtime=1.5 if form == tarfile.PAX_FORMAT else 1)
    run = read_run(memoryview(data), 0, payloads=payloads)
    notes = HopNotes()
    entries = list(hop(lambda at, count: data[at : at + count], notes, len(data)))
    assert run is not None
    names = [name.tobytes().rstrip(b"\0") for name in run.names]
    found = zip(names, run.start.tolist(), run.offset.tolist(), run.size.tolist(), strict=True)
    assert list(found) == [(name, start, offset, size) for name, _, start, offset, size, _ in entries]
    assert (run.headers, run.end) == (notes.headers, notes.end_at)


@pytest.mark.parametrize("bit", range(8))
def test_a_run_ends_before_a_header_with_a_flipped_bit(bit: int) -> None:
    data = bytearray().join(member(b"%04d.txt" % number, b"text") for number in range(40))
    for at in range(512):
        data[30 * 1024 + at] ^= 1 << bit
        run = read_run(memoryview(data), 0, payloads=True)
        assert run is not None
        assert len(run.size) == 30 or (148 <= at < 156 and at >= 154), at  # behind the sum's six digits
        data[30 * 1024 + at] ^= 1 << bit


@LAW
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 700), st.integers(0, 255), st.integers(0, 700)),
        min_size=1,
        max_size=8,
    )
)
@example([(0, 3, 0, 0), (1, 3, 0, 529)])  # the second is cut inside what follows the bytes that both share
def test_dimensions_are_the_same_whatever_was_read_before(changes: list[tuple[int, int, int, int]]) -> None:
    reader = DimensionReader()
    for number, at, byte, cut in changes:
        data = bytearray(_IMAGES[number])
        data[at % len(data)] = byte
        payload = memoryview(data)[: len(data) - cut]
        assert reader.read(payload) == DimensionReader().read(payload)
