"""Lone tars that something else wrote: whole ones are not proved, and damage is said only where it shows."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.support.accounting import pack_all
from tests.support.command import environment, run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from tests.support.rawtar import END, header, member, pax
from wdstools import FormatError, adopt, open_source
from wdstools.formats.sniff import what_is
from wdstools.ops.verify.lone import verify_shard_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MEMBERS = pairs(0, 3)
ONE = member(b"a.jpg", b"x" * 700) + member(b"a.txt", b"words")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def v7(block: bytes) -> bytes:
    """A header as tars before ustar have it."""
    total = sum(block) - sum(block[148:156]) + 8 * 32 - sum(block[257:265])
    return block[:148] + b"%06o\0 " % total + block[156:257] + bytes(8) + block[265:]


def signed(block: bytes) -> bytes:
    """A header with the sum of its bytes as signed numbers, as old tars of Sun have it."""
    total = sum(byte - 256 * (byte > 127) for byte in block[:148] + block[156:]) + 8 * 32
    return block[:148] + b"%06o\0 " % total + block[156:]


def another_magic(block: bytes) -> bytes:
    """A header with a magic that nobody knows, as GNU tar and Python take it: by its sum."""
    total = sum(block) - sum(block[148:156]) + 8 * 32 - sum(block[257:265]) + sum(b"USTAR 00")
    return block[:148] + b"%06o\0 " % total + block[156:257] + b"USTAR 00" + block[265:]


WHOLE = {
    "ustar": tar_bytes(MEMBERS),
    "gnu": tar_bytes(MEMBERS, tarfile.GNU_FORMAT),
    "pax": tar_bytes(MEMBERS, tarfile.PAX_FORMAT, mtime=1.5),
    "two blocks of zeros, whatever the blocking": ONE + END,
    "one block": ONE + bytes(512),
    "more zeros": ONE + bytes(100 * 512),
    "no end at all": ONE,
    "v7": v7(header(b"a.jpg", 5)) + b"12345" + bytes(507) + END,
    "a global record first": pax({b"comment": b"x"}, b"g") + ONE + END,
    "two archives": ONE + END + ONE + END,
    "junk behind the end": ONE + END + b"junk" * 300,
    "empty": END,
    "a magic of its own": another_magic(header(b"a.jpg", 5)) + b"12345" + bytes(507) + END,
    "one block of zeros and nothing else": bytes(512),
    "signed sums": signed(header("é".encode() + b".jpg")) + END,
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_tar_of_others_is_not_damaged_but_not_proved(kind: str, tmp_path: Path) -> None:
    report = verify_shard_file(str(write(tmp_path, {"x.tar": WHOLE[kind]}) / "x.tar"))
    assert report.findings == ()
    assert report.unproved


def test_samples_of_a_tar_of_others_are_those_that_readers_see(tmp_path: Path) -> None:
    odd = member(b"label", b"", b"V") + member(b"./", b"", b"5") + member(b"._a.jpg", b"fork") + member(b"README", b"x")
    data = odd + tar_bytes(MEMBERS[:2]) + member(b"d/.x.jpg", b"x") + tar_bytes(MEMBERS[2:])
    assert verify_shard_file(str(write(tmp_path, {"x.tar": data}) / "x.tar")).checked["samples"] == len(MEMBERS) // 2


@pytest.mark.parametrize("name", ["x.taz", "x.tzst", "x.tb2", "X.TAR", "X.TAR.GZ", "X.TGZ"])
def test_every_usual_ending_of_a_tar_is_one(name: str, tmp_path: Path) -> None:
    pack: dict[str, Callable[[bytes], bytes]] = {"tzst": zstandard.compress, "tb2": bz2.compress, "TAR": bytes}
    write(tmp_path / "s", {name: pack.get(name[2:], gzip.compress)(tar_bytes(MEMBERS))})
    assert adopt(str(tmp_path / "s"), str(tmp_path / "a")).samples == {"train": 3}
    assert len(pack_all(tmp_path / "s", tmp_path / "out").samples()) == 3
    assert len(pack_all(tmp_path / "s" / name, tmp_path / "out2").samples()) == 3


DAMAGED = {
    "cut inside a payload": ONE[:900],
    "cut inside a header": ONE + header(b"b.jpg", 9)[:300],
    "no header": ONE + b"junk" * 128 + ONE + END,
    "a hole of zeros": ONE + bytes(2048) + b"rest of a payload".ljust(512) + ONE + END,
    "a name in a record without its end": ONE
    + pax({b"path": b"long/name.jpg"})[:-512]
    + b"22 path=long/name.jpg!".ljust(512, b"\0")
    + ONE
    + END,
    "a name in a record that says another length": ONE
    + pax({b"path": b"long/name.jpg"})[:-512]
    + b"12 path=long/name.jpg\n".ljust(512, b"\0")
    + ONE
    + END,
    "a flipped bit in a header": ONE[:1536] + bytes([ONE[1536] ^ 1]) + ONE[1537:] + END,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damage_that_shows_is_found(kind: str, tmp_path: Path) -> None:
    report = verify_shard_file(str(write(tmp_path, {"x.tar": DAMAGED[kind]}) / "x.tar"))
    assert len(report.findings) == 1


def test_the_command_answers_4_for_what_is_not_proved_and_1_for_damage(tmp_path: Path) -> None:
    write(tmp_path, {"whole.tar": ONE + END, "cut.tar": ONE[:900], "lfs.tar": POINTER})
    assert run_command("verify", tmp_path / "whole.tar").code == 4
    assert run_command("verify", tmp_path / "cut.tar").code == 1
    ran = run_command("verify", tmp_path / "lfs.tar")
    assert (ran.code, "git lfs pull" in ran.out) == (1, True)


PACKERS: dict[str, Callable[[bytes], bytes]] = {"tar.gz": gzip.compress, "tar.zst": lambda data: compressed(data, "tar.zst"), "tar.bz2": bz2.compress, "tar.xz": lzma.compress}  # fmt: skip


@pytest.mark.parametrize("encoding", PACKERS)
def test_compressed_shards_are_read_by_every_verb(encoding: str, tmp_path: Path) -> None:
    write(tmp_path / "s", {f"train-000.{encoding}": PACKERS[encoding](tar_bytes(pairs(0, 9)))})
    dataset = adopt(str(tmp_path / "s"), str(tmp_path / "a")).dataset
    assert [sample["txt"] for sample in dataset.split("train")] == [b"caption %d" % n for n in range(9)]
    assert len(pack_all(tmp_path / "s", tmp_path / "p").samples()) == 9
    assert verify_shard_file(str(tmp_path / f"s/train-000.{encoding}")).findings == ()


@pytest.mark.parametrize("encoding", ["tar.gz", "tar.bz2", "tar.xz"])
def test_several_members_padding_and_bytes_behind_them_are_read_as_their_tools_read_them(
    encoding: str, tmp_path: Path
) -> None:
    data, pack = tar_bytes(pairs(0, 9)), PACKERS[encoding]
    several = pack(data[:5000]) + pack(data[5000:])
    for number, stored in enumerate((several, several + bytes(512), several + b"trailing junk")):
        path = write(tmp_path / str(number), {f"x.{encoding}": stored}) / f"x.{encoding}"
        report = verify_shard_file(str(path))
        assert (report.findings, report.checked["samples"]) == ((), 9)
        assert any("after the compressed" in what for what in report.unproved) == (number == 2)


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_cut_compressed_shard_is_named_and_the_others_go_on(encoding: str, tmp_path: Path) -> None:
    whole = PACKERS[encoding](tar_bytes(pairs(0, 300)))
    write(
        tmp_path / "s",
        {
            f"t-000.{encoding}": whole[: len(whole) // 2],
            f"t-001.{encoding}": PACKERS[encoding](tar_bytes(pairs(300, 9))),
        },
    )
    result = adopt(str(tmp_path / "s"), str(tmp_path / "a"))
    assert result.incomplete
    assert any(
        f"t-000.{encoding}" in hazard.example
        for hazard in result.hazards
        if hazard.code in ("shard-damaged", "shard-cut")
    )
    assert result.samples["t"] >= 9
    listing = open_source(str(tmp_path / "s")).list()
    assert [skip.path for skip in listing.skips] == [f"t-000.{encoding}"]
    assert listing.samples.num_rows == 9


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (POINTER, "git-lfs"), (b"", "empty"), (b"../.git/annex/objects/x", "git-annex"), (b"/annex/objects/SHA256E-s1", "git-annex"),
        (b"<!DOCTYPE html><html>", "html"), (b"\n <HTML lang=en>", "html"), (b"\xef\xbb\xbf<html>", "html"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey", "xml"), (b"<?xml version='1.0'?><!DOCTYPE html><html>", "html"),
        (b'{"message": "Not Found"}', "json"), (b"\x00\x05\x16\x07\x00\x02", "apple-double"), (b"PAR1\x15", "parquet"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "avif"), (b"\0\0\0\x18ftypmif1\0\0\0\0heicmif1", "heic"), (gzip.compress(b"x", mtime=0), "gzip"),
        (b"070701000012", "cpio"), (b"!<arch>\n", "ar"), (b"-----BEGIN PGP SIGNATURE-----", "signature"), (b"8BPS\0\1", "psd"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "video"), (b"RIFF\0\0\0\0WAVEfmt ", "sound"), (b"II*\0\x10\0\0\0CR\2\0", "raw"),
        (b"II*\0\x08\0\0\0", "tiff"), (b"<?xml version='1.0'?>\n<!-- x --><svg xmlns=''>", "svg"), (b"PK\7\x08PK\3\4", "zip"),
        (lzma.compress(b"x"), "xz"), (bz2.compress(b"x"), "bzip2"), (tar_bytes(MEMBERS)[:512], "tar"), (b"any other bytes", None),
        (b"version https://example.com", None),
    ],
)  # fmt: skip
def test_a_file_is_told_by_its_first_bytes(head: bytes, code: str | None) -> None:
    found = what_is(head[:512], len(head))
    assert (found.code if found else None) == code


#: Zeros that unpack to many times the memory that reading may take.
_ZEROS, _MOST = 1 << 28, 1 << 26
_READ = """
import resource, sys
from wdstools import adopt
from wdstools.ops.verify.lone import verify_shard_file
from wdstools.sources.tarscan import scan_compressed

what, path, out = sys.argv[1:]
verify_shard_file(path.replace("x.tar", "small.tar"))  # everything is imported now
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if what == "verify":
    report = verify_shard_file(path)
    print(report.checked["samples"], len(report.findings))
elif what == "adopt":
    print(len(adopt(path, out).dataset["train"]))
else:
    print(sum(1 for _ in scan_compressed(path)) // 2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(
    ("what", "filling"), [("verify", "zeros"), ("verify", "junk"), ("adopt", "zeros"), ("scan", "zeros")]
)
def test_what_unpacks_to_long_runs_of_zeros_takes_little_memory(what: str, filling: str, tmp_path: Path) -> None:
    data = ONE + (END if filling == "junk" else b"")
    rest = b"junk" * (1 << 18) if filling == "junk" else bytes(1 << 20)
    members = [gzip.compress(data), *[gzip.compress(rest, 1)] * (_ZEROS >> 20)]
    (tmp_path / "x.tar.gz").write_bytes(b"".join(members))
    write(tmp_path, {"small.tar.gz": gzip.compress(ONE + END)})
    command = [sys.executable, "-c", _READ, what, str(tmp_path / "x.tar.gz"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    *answer, grown = done.stdout.split()
    assert answer == (["1", "0"] if what == "verify" else ["1"])
    assert int(grown) << 10 < _MOST


#: Bytes that a frame of Zstandard begins with whose window is two gigabytes.
_WIDE = b"\x28\xb5\x2f\xfd\x00\xa8"


@pytest.mark.parametrize("cut", [1, 2, 5, 40])
def test_zstandard_that_is_cut_anywhere_is_damaged(cut: int, tmp_path: Path) -> None:
    whole = zstandard.ZstdCompressor(write_checksum=True).compress(ONE + END)
    write(tmp_path, {"x.tar.zst": whole, "cut.tar.zst": whole[:-cut]})
    assert verify_shard_file(str(tmp_path / "x.tar.zst")).findings == ()
    with pytest.raises(FormatError) as caught:
        verify_shard_file(str(tmp_path / "cut.tar.zst"))
    assert caught.value.code == "compression-damaged"


def test_a_frame_that_is_passed_over_may_come_first(tmp_path: Path) -> None:
    write(tmp_path, {"x.tar.zst": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstandard.compress(ONE + END)})
    report = verify_shard_file(str(tmp_path / "x.tar.zst"))
    assert (report.findings, report.checked["samples"]) == ((), 1)


def test_a_window_that_is_too_large_is_no_damage(tmp_path: Path) -> None:
    write(tmp_path, {"x.tar.zst": _WIDE + bytes(100)})
    ran = run_command("verify", tmp_path / "x.tar.zst")
    assert (ran.code, "zstd -d --long=31" in ran.err, "download it again" in ran.err) == (5, True, False)


@pytest.mark.parametrize(
    ("head", "what"), [(b"]\0\0\x80\0" + b"\xff" * 8 + bytes(40), "LZMA"), (b"LZIP\1" + bytes(99), "lzip")]
)
def test_a_compression_that_is_not_read_is_named(head: bytes, what: str, tmp_path: Path) -> None:
    write(tmp_path, {"x.tar.other": head})
    ran = run_command("verify", tmp_path / "x.tar.other")
    assert (ran.code, what in ran.err) == (5, True)


@pytest.mark.parametrize("kind", [b"V", b"D"])
def test_labels_and_folders_of_gnu_are_no_samples_that_are_lost(kind: bytes, tmp_path: Path) -> None:
    odd = member(b"name/" if kind == b"D" else b"label", b"Yone\0\0" if kind == b"D" else b"", kind)
    write(tmp_path / "s", {"train-000000.tar": odd + tar_bytes(pairs(0, 3))})
    assert pack_all(tmp_path / "s", tmp_path / "out").skips == ()
    assert adopt(str(tmp_path / "s"), str(tmp_path / "a")).hazards == ()
    write(tmp_path / "f", {"cities.tar": odd + tar_bytes([(f"cities/{name}", data) for name, data in pairs(0, 3)])})
    assert pack_all(tmp_path / "f/cities.tar", tmp_path / "out2").skips == ()


def test_a_member_that_began_in_another_volume_is_named(tmp_path: Path) -> None:
    block = bytearray(v7(header(b"a.jpg", 700, b"M")))
    block[369:381] = b"00000001557\0"
    total = sum(block) - sum(block[148:156]) + 8 * 32
    block[148:156] = b"%06o\0 " % total
    write(tmp_path / "s", {"x-000.tar": bytes(block) + bytes(1024) + tar_bytes(pairs(0, 3))})
    found = pack_all(tmp_path / "s", tmp_path / "out")
    assert [(skip["reason"], "another volume" in skip["detail"]) for skip in found.skips] == [("not-a-file", True)]
    assert len(found.samples()) == 3
