"""Tars made to harm, as the source of a pack and as the argument of verify."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import stat
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import HANG_SECONDS, run_command
from tests.support.limited import assert_announced, run_limited
from tests.support.outcome import snapshot
from tests.support.rawtar import END, base256, header, long_name, member, pax
from tests.support.tools import need
from wdstools import WdsError, adopt, open_source
from wdstools.checks.stream import check_stream
from wdstools.errors import FormatError, StoreError, UsageError
from wdstools.formats.tar import render_header
from wdstools.ops.extract import extract
from wdstools.sources.tarscan import scan_tar

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.sources.tarscan import TarMember

IMAGE = tiny_jpeg(1)
GOOD = member(b"good.jpg", IMAGE) + member(b"good.txt", b"good")


def pair(name: bytes) -> bytes:
    """An image and its caption."""
    return member(name + b".jpg", IMAGE) + member(name + b".txt", name)


def negative_canonical() -> bytes:
    """A header in our own form whose size field reads as minus one."""
    return render_header(b"x.jpg", -1, 0)


ATTACKS = {
    "parent": member(b"../evil.jpg", IMAGE) + member(b"../evil.txt", b"x"),
    "absolute": member(b"/tmp/evil.jpg", IMAGE) + member(b"/tmp/evil.txt", b"x"),
    "drive letter": member(b"C:\\evil.jpg", IMAGE) + member(b"C:/evil.jpg", IMAGE) + member(b"c:evil.jpg", IMAGE),
    "names that differ in case": pair(b"Clash") + pair(b"clash") + pair(b"CLASH") + pair(b"Up/x") + pair(b"up/y"),
    "names composed and not": pair("caf\u00e9".encode())
    + pair("cafe\u0301".encode())
    + pair("\ufb01".encode())
    + pair(b"fi"),
    "one name twice": pair(b"twice") + pair(b"twice"),
    "folder with the name of a file": pair(b"x")
    + header(b"x.jpg/", 0, b"5")
    + pair(b"x.jpg/y")
    + header(b"good.jpg", 0, b"5"),
    "members out of order": member(b"a.jpg", IMAGE) + pair(b"b") + member(b"a.txt", b"a"),
    "set-user-id bits": header(b"root.jpg", len(IMAGE), mode=0o6777)
    + member(b"", IMAGE)[512:]
    + header(b"root.txt", mode=0o7777),
    "nul in pax name": pax({b"path": b"a\0b.jpg"}) + member(b"x", IMAGE),
    "newline": member(b"a\nb.jpg", IMAGE) + member(b"a\nb.txt", b"x"),
    "terminal escape": member(b"\x1b[2Jclear.jpg", b"no image") + member(b"\x1b[2Jclear.txt", b"x"),
    "long gnu name": long_name(b"n" * 60_000 + b".jpg") + member(b"x", IMAGE),
    "long pax name": pax({b"path": b"n" * 60_000 + b".jpg"}) + member(b"x", IMAGE),
    "name of some thousand folders": pax({b"path": b"d/" * 1_900 + b"x.jpg"}) + member(b"x", IMAGE),
    "name of many folders": pax({b"path": b"d/" * 5_000 + b"x.jpg"}) + member(b"x", IMAGE),
    "symbolic link": header(b"x.jpg", 0, b"2", b"/etc/passwd"),
    "hard link": header(b"x.jpg", 0, b"1", b"good.jpg") + header(b"y.jpg", 0, b"1", b"/etc/passwd"),
    "character device": header(b"x.jpg", 0, b"3"),
    "block device": header(b"x.jpg", 0, b"4"),
    "fifo": header(b"x.jpg", 0, b"6"),
    "folder with a payload size": header(b"x.jpg", 5, b"5"),
    "sparse by pax": pax(
        {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": b"../evil.jpg",
            b"GNU.sparse.realsize": b"9" * 18,
        }
    )
    + member(b"x.jpg", b"1\n0\n1\n" + bytes(506) + IMAGE),
    "huge gnu name": long_name(b"n" * (2 << 20)) + member(b"x.jpg", IMAGE),
    "huge gnu link name": member(b"././@LongLink", b"n" * (2 << 20), b"K") + header(b"x.jpg", 0, b"2"),
    "sparse": member(b"x.jpg", IMAGE, b"S"),
    "unknown kind": member(b"x.jpg", IMAGE, b"Z"),
    "size past the end": header(b"x.jpg", 1 << 30) + IMAGE,
    "size of eight gigabytes": header(b"x.jpg", 8**11 - 1),
    "base-256 size": header(b"x.jpg", base256(1 << 40)),
    "base-256 size beyond 64 bits": header(b"x.jpg", b"\x80" + b"\xff" * 11),
    "negative base-256 size": header(b"x.jpg", base256(-1)),
    "negative base-256 block": header(b"x.jpg", base256(-512)),
    "negative octal size": header(b"x.jpg", b"-0000000001\0"),
    "negative size in our own form": negative_canonical(),
    "size that is no number": header(b"x.jpg", b"12 34 5678\0"),
    "size with underscores": header(b"x.jpg", b"0000_0000_1\0"),
    "pax size past the end": pax({b"size": b"1" * 18}) + member(b"x.jpg", IMAGE),
    "pax size of thousands of digits": pax({b"size": b"9" * 6_000}) + member(b"x.jpg", IMAGE),
    "pax length of thousands of digits": member(b"pax", b"9" * 6_000 + b" path=x\n", b"x") + member(b"x.jpg", IMAGE),
    "pax record without end": member(b"pax", b"20 path=x", b"x") + member(b"x.jpg", IMAGE),
    "pax length zero": member(b"pax", b"0 path=x\n", b"x") + member(b"x.jpg", IMAGE),
    "huge pax record": pax({b"comment": b"c" * (2 << 20)}) + member(b"x.jpg", IMAGE),
    "global pax": pax({b"path": b"all.jpg", b"size": b"3"}, b"g") + member(b"x.jpg", IMAGE),
    "name that is not utf-8": member(b"\xf0\x9f\x98\x80\xff.jpg", IMAGE) + member(b"\xf0\x9f\x98\x80\xff.txt", b"x"),
    "empty name": member(b"", IMAGE) + member(b".jpg", IMAGE) + member(b"/", b"") + member(b"//.jpg", IMAGE),
    "name and prefix of 255 bytes": header(b"n" * 95 + b".jpg", len(IMAGE), prefix=b"p" * 155)
    + member(b"", IMAGE)[512:],
    "checksum fields that lie": header(b"x.jpg", 3, uname=b"xxh3:" + b"0" * 16, gname=b"wds1:" + b"0" * 16)
    + b"abc"
    + bytes(509),
}
MILLION = 1_000_000
#: A loop without end fails its own test, and leaves the others alone.
pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")
CASES = pytest.mark.parametrize("attack", ATTACKS)
ENDS = pytest.mark.parametrize("end", [END + bytes(9216), b""], ids=["ended", "cut"])


@CASES
@ENDS
def test_scanning_raises_nothing_but_its_own_errors(attack: str, end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(GOOD + ATTACKS[attack] + end)
    members: list[TarMember] = []
    with contextlib.suppress(WdsError):
        members.extend(scan_tar(str(path)))
    size = path.stat().st_size
    assert members, "the good members before the attack are found"
    assert all(m.size >= 0 and m.offset >= 0 and m.offset + m.size <= size for m in members)


@pytest.mark.timeout(HANG_SECONDS, method="signal")
@CASES
@ENDS
def test_checking_the_stream_ends_with_findings_or_not_but_ends(attack: str, end: bytes) -> None:
    data = GOOD + ATTACKS[attack] + end
    result = check_stream([data], "x.tar")
    assert result.bytes <= len(data)
    assert all(f.start is None or f.start >= 0 for f in result.findings)


@CASES
@pytest.mark.parametrize("recipe", [None, "pairs"])
def test_listing_it_as_a_source_is_an_answer_or_one_error(attack: str, recipe: str | None, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(GOOD + ATTACKS[attack] + END)
    listing = None
    with contextlib.suppress(WdsError):
        listing = open_source(str(tmp_path / "x.tar"), recipe=recipe).list()
    assert listing is None or listing.samples.num_rows >= 1


@CASES
def test_adopting_and_extracting_it_makes_plain_files_inside_or_is_refused(attack: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"user/thesis": b"years of work", "user/in/x.tar": GOOD + ATTACKS[attack] + END})
    outside = snapshot(tmp_path)
    with contextlib.suppress(UsageError, StoreError, FormatError):
        dataset = adopt(str(tmp_path / "user/in"), str(tmp_path / "user/adopted")).dataset
        extract(dataset, str(tmp_path / "user/out/files"))
    shutil.rmtree(tmp_path / "user/adopted", ignore_errors=True)
    made = tmp_path / "user/out"
    for path in made.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or (stat.S_ISREG(mode) and not mode & 0o7111), path
    assert {path.name for path in made.glob("*")} <= {"files"}
    shutil.rmtree(made, ignore_errors=True)
    after = snapshot(tmp_path)
    assert {path: value[3] for path, value in after.items()} == {path: value[3] for path, value in outside.items()}
    assert not os.path.exists("/tmp/evil.jpg")


#: All of them through the command line would take minutes: each of these ends in another part of the code.
THROUGH_THE_COMMAND = (
    "parent", "names that differ in case", "folder with the name of a file", "members out of order", "newline", "terminal escape", "name of many folders", "hard link", "sparse", "size past the end",
    "base-256 size beyond 64 bits", "negative size in our own form", "pax size of thousands of digits", "huge pax record",
    "name that is not utf-8",
)  # fmt: skip


@pytest.mark.parametrize("attack", THROUGH_THE_COMMAND)
def test_packing_it_writes_nothing_outside_and_never_falls_over(attack: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.tar").write_bytes(GOOD + ATTACKS[attack] + END)
    before = snapshot(tmp_path)
    ran = run_limited("pack", "in/x.tar", "out", cwd=tmp_path)
    assert_announced(ran, 0, 3, 4, 5)
    after = {
        path: value for path, value in snapshot(tmp_path).items() if path.split("/")[0] not in ("out", "out.partial")
    }
    assert after == before
    assert not os.path.exists("/tmp/evil.jpg")
    if ran.code in (0, 3):
        listed = tmp_path / "out/.wdstools/skipped.jsonl"
        reasons = [json.loads(line)["reason"] for line in listed.read_text().splitlines()] if listed.exists() else []
        assert bool(reasons) == (ran.code == 3)


@pytest.mark.parametrize("attack", THROUGH_THE_COMMAND)
def test_verifying_it_gives_findings_or_says_that_nothing_is_proved(attack: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(GOOD + ATTACKS[attack] + END)
    assert_announced(run_limited("verify", tmp_path / "x.tar"), 1, 4, 5)


@pytest.mark.timeout(HANG_SECONDS, method="signal")
def test_headers_that_nearly_hold_do_not_keep_the_check_for_hours() -> None:
    whole = bytearray(render_header(b"xx.jpg", 0, 0))
    whole[0] += 1  # two bytes wrong, and the sum off as by one flipped bit: every such bit has to be tried
    whole[1] += 1
    result = check_stream([bytes(whole) * 10_000 + END], "x.tar")
    assert next((f.kind, f.start, f.length) for f in result.findings) == ("header", 0, 10_000 * 512)


@pytest.mark.slow
@pytest.mark.timeout(400, method="signal")
def test_a_million_empty_members_are_no_trouble(tmp_path: Path) -> None:
    sink = io.BytesIO()
    for number in range(MILLION):
        sink.write(header(b"%d.jpg" % number))
    (tmp_path / "x.tar").write_bytes(GOOD + sink.getvalue() + END)
    assert_announced(run_limited("verify", tmp_path / "x.tar"), 1, 4)
    ran = run_limited("pack", tmp_path / "x.tar", tmp_path / "out", "--json")
    assert_announced(ran, 3)
    assert sum(ran.summary["samples"].values()) == 1
    assert sum(ran.summary["skipped"].values()) == MILLION


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_a_name_in_a_tar_is_no_option_of_the_program_that_is_asked_to_read_it(program: str, tmp_path: Path) -> None:
    need(program)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with tarfile.open(theirs / "x.tar", "w") as tar:
        for name in ("--to-command=touch pwned; #", "--use-compress-program=touch pwned; #"):
            member = tarfile.TarInfo(f"{name}.txt")
            member.size = 2
            tar.addfile(member, io.BytesIO(b"hi"))
    assert run_command("adopt", theirs).code in (0, 3)
    ran = run_command("doctor", theirs, "--for", program, "--json", cwd=tmp_path)
    assert "Traceback" not in ran.err
    assert not list(tmp_path.rglob("pwned"))
    (told,) = [line for line in ran.lines if line["type"] == "diagnosis" and line["consumer"] == program]
    assert (told["status"], told["equal"]) == ("works", 2)
