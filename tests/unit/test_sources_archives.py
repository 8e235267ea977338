"""A zip or a tar of a folder is packed where it lies, with the bytes that the folder itself gives."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.conformance.test_layouts import make
from tests.support.accounting import pack_all, write_files
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.foreign_tars import tar_bytes
from tests.support.outcome import contents
from wdstools import FormatError, UsageError, WdsError, open_source, scan
from wdstools.sources.zipscan import scan_zip

if TYPE_CHECKING:
    from pathlib import Path

SMALL = {"1.jpg": tiny_jpeg(1), "1.txt": b"one", "d/2.jpg": tiny_jpeg(2), "d/2.txt": b"two"}
EXPECTED = {"1": {"jpg": SMALL["1.jpg"], "txt": b"one"}, "d/2": {"jpg": SMALL["d/2.jpg"], "txt": b"two"}}


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.comment = comment
    return path


def plain_archive(path: Path, files: dict[str, bytes]) -> Path:
    """A zip or tar, as the path says, with any names."""
    if path.suffix == ".zip":
        return make_zip(path, files)
    with tarfile.open(path, "w") as archive:
        for member, data in files.items():
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def notes_of(path: Path) -> tuple[str, ...]:
    """What ``scan`` tells of an archive."""
    found = scan(path)
    return (*found.differences, *found.notes)


def make_tar(path: Path, folder: Path, style: int, name: str = ".") -> Path:
    with tarfile.open(path, "w", format=style) as archive:
        archive.add(folder, name)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("style", ["zip", "ustar", "gnu", "pax"])
def test_an_archive_gives_the_root_of_its_folder(method: int, style: str, tmp_path: Path) -> None:
    folder = write_city_pairs(tmp_path / "src", train=6, val=4)
    root = pack_all(folder, tmp_path / "from-folder").dataset.root
    if style == "zip":
        nested = {f"nested/{name}": data for name, data in contents(folder).items()}
        source = make_zip(tmp_path / "a.zip", nested, method)
    else:
        styles = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
        source = make_tar(tmp_path / "a.tar", folder, styles[style])
    found = pack_all(source, tmp_path / "from-archive")
    assert found.dataset.root == root
    assert found.skips == ()


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_odd_names_in_a_tar_come_back(style: int, tmp_path: Path) -> None:
    name = "é" * 60 + "/" + "x" * 150
    write_files(
        tmp_path / "src", {f"{name}.jpg": tiny_jpeg(1), f"{name}.txt": b"long", "z.jpg": tiny_jpeg(2), "z.txt": b"z"}
    )
    root = pack_all(tmp_path / "src", tmp_path / "a").dataset.root
    assert pack_all(make_tar(tmp_path / "a.tar", tmp_path / "src", style), tmp_path / "b").dataset.root == root


def test_a_zip_with_zip64_records_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in SMALL.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert pack_all(tmp_path / "a.zip", tmp_path / "out").samples() == EXPECTED


def test_a_zip_with_more_entries_than_sixteen_bits_count_is_read(tmp_path: Path) -> None:
    data = make_zip(tmp_path / "a.zip", SMALL).read_bytes()
    start, end = data.index(b"PK\1\2"), data.rindex(b"PK\5\6")
    empty = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 11, 0, 0, 0, 0, 0, 0)
    names = b"".join(empty + b".%010d" % number for number in range(65_600))
    (tmp_path / "a.zip").write_bytes(data[:start] + with_zip64_end(start, data[start:end] + names, 65_604))
    assert sum(1 for _ in scan_zip(str(tmp_path / "a.zip"))) == 65_604
    assert open_source(str(tmp_path / "a.zip")).list().samples.num_rows == 2


def with_zip64_end(start: int, directory: bytes, count: int) -> bytes:
    """A directory that begins at ``start``, and the records that end a zip, with nothing but 64-bit numbers."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return directory + record + locator + tail


def zip64_in_the_directory(data: bytes) -> bytes:
    """The zip with its central directory's sizes and offsets moved into zip64 extra fields."""
    start = data.index(b"PK\1\2")
    end = data.rindex(b"PK\5\6")
    directory, at = b"", start
    while data[at : at + 4] == b"PK\1\2":
        fields = list(struct.unpack_from("<4s4B4HL2L5H2L", data, at))
        name = data[at + 46 : at + 46 + fields[12]]
        extra = struct.pack("<HHQQQ", 1, 24, fields[11], fields[10], fields[18])
        at += 46 + sum(fields[12:15])
        fields[10] = fields[11] = fields[18] = 0xFFFFFFFF
        fields[13], fields[14] = len(extra), 0
        directory += struct.pack("<4s4B4HL2L5H2L", *fields) + name + extra
    count = struct.unpack_from("<H", data, end + 10)[0]
    return data[:start] + with_zip64_end(start, directory, count)


def test_a_zip_whose_directory_is_all_zip64_is_read(tmp_path: Path) -> None:
    data = zip64_in_the_directory(make_zip(tmp_path / "a.zip", SMALL, zipfile.ZIP_DEFLATED).read_bytes())
    (tmp_path / "b.zip").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.testzip() is None  # it is a good zip
    assert pack_all(tmp_path / "b.zip", tmp_path / "out").samples() == EXPECTED


def test_macintosh_leftovers_are_passed_over(tmp_path: Path) -> None:
    files = {**SMALL, "__MACOSX/._1.jpg": b"fork", "__MACOSX/d/._2.jpg": b"fork", "d/.DS_Store": b"x"}
    found = pack_all(make_zip(tmp_path / "a.zip", files), tmp_path / "out")
    assert found.samples() == EXPECTED
    assert found.skips == ()


@pytest.mark.parametrize("comment", [b"hello", b"x" * 65_535])
def test_a_comment_does_no_harm(comment: bytes, tmp_path: Path) -> None:
    found = pack_all(make_zip(tmp_path / "a.zip", SMALL, comment=comment), tmp_path / "out")
    assert found.samples() == EXPECTED


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a.zip", SMALL).read_bytes())
    for mark, at in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        place = data.find(mark)
        while place >= 0:
            data[place + at] |= 1
            place = data.find(mark, place + 1)
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(UsageError, match="encrypted"):
        open_source(str(tmp_path / "a.zip")).list()


def test_a_zip_cut_anywhere_is_refused(tmp_path: Path) -> None:
    data = make_zip(tmp_path / "a.zip", SMALL).read_bytes()
    for end in range(4, len(data), 29):
        (tmp_path / "cut.zip").write_bytes(data[:end])
        with pytest.raises(FormatError) as caught:
            open_source(str(tmp_path / "cut.zip")).list()
        assert caught.value.code == "source-damaged"


def test_a_member_with_a_wrong_crc_is_named(tmp_path: Path) -> None:
    data = make_zip(tmp_path / "a.zip", SMALL).read_bytes()
    at = data.index(b"one")
    (tmp_path / "a.zip").write_bytes(data[:at] + b"0ne" + data[at + 3 :])
    found = pack_all(tmp_path / "a.zip", tmp_path / "out")
    assert found.reasons == {"1.jpg": "source-damaged"}
    assert set(found.samples()) == {"d/2"}


def test_a_deflated_member_that_is_damaged_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in SMALL.items():
            archive.writestr(name, data)
        place = archive.getinfo("d/2.jpg").header_offset + 30 + len("d/2.jpg")
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(
        whole[:place] + bytes(b ^ 0x55 for b in whole[place : place + 9]) + whole[place + 9 :]
    )
    assert pack_all(tmp_path / "a.zip", tmp_path / "out").reasons == {"d/2.jpg": "source-damaged"}


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bzip2_and_lzma_are_read(method: int, tmp_path: Path) -> None:
    assert pack_all(make_zip(tmp_path / "a.zip", SMALL, method), tmp_path / "out").samples() == EXPECTED


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_data_of_any_compression_that_is_damaged_is_named(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(make_zip(tmp_path / "a.zip", SMALL, method)) as archive:
        place = archive.getinfo("d/2.jpg").header_offset + 30 + len("d/2.jpg")
    whole = (tmp_path / "a.zip").read_bytes()
    for at in (0, 4, 30):
        hit = bytes(b ^ 0x55 for b in whole[place + at : place + at + 9])
        (tmp_path / f"{at}.zip").write_bytes(whole[: place + at] + hit + whole[place + at + 9 :])
        assert pack_all(tmp_path / f"{at}.zip", tmp_path / f"out{at}").reasons == {"d/2.jpg": "source-damaged"}


def zstandard_zip(path: Path, files: dict[str, bytes]) -> Path:
    """A zip as newer tools write it, by the method that Python's zipfile does not know."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, zstandard.compress(data))
    made = bytearray(path.read_bytes())
    for name, plain in files.items():
        for mark, method, crc, size, at in ((b"PK\3\4", 8, 14, 22, 30), (b"PK\1\2", 10, 16, 24, 46)):
            place = made.index(name.encode(), made.index(mark)) - at
            struct.pack_into("<H", made, place + method, 93)
            struct.pack_into("<L", made, place + crc, zlib.crc32(plain))
            struct.pack_into("<L", made, place + size, len(plain))
    path.write_bytes(made)
    return path


def test_zstandard_in_a_zip_is_read_and_its_damage_named(tmp_path: Path) -> None:
    source = zstandard_zip(tmp_path / "a.zip", SMALL)
    assert pack_all(source, tmp_path / "out").samples() == EXPECTED
    whole = source.read_bytes()
    for number, at in enumerate((0, 9)):
        place = whole.index(b"d/2.jpg") + len("d/2.jpg") + at
        (tmp_path / "b.zip").write_bytes(
            whole[:place] + bytes(b ^ 0x55 for b in whole[place : place + 9]) + whole[place + 9 :]
        )
        assert pack_all(tmp_path / "b.zip", tmp_path / f"out{number}").reasons == {"d/2.jpg": "source-damaged"}


def test_a_zip_behind_a_program_that_unpacks_it_is_read(tmp_path: Path) -> None:
    for number, data in enumerate(
        (
            make_zip(tmp_path / "a.zip", SMALL).read_bytes(),
            zip64_in_the_directory(make_zip(tmp_path / "a.zip", SMALL).read_bytes()),
        )
    ):
        (tmp_path / "b.zip").write_bytes(b"MZ" + bytes(range(256)) * 20 + data)
        assert pack_all(tmp_path / "b.zip", tmp_path / f"out{number}").samples() == EXPECTED


def test_the_last_volume_of_a_zip_that_was_cut_up_is_named(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a.zip", SMALL).read_bytes())
    struct.pack_into("<H", data, data.rindex(b"PK\5\6") + 4, 2)
    (tmp_path / "a.zip").write_bytes(data)  # with all that it says
    assert pack_all(tmp_path / "a.zip", tmp_path / "out").samples() == EXPECTED
    (tmp_path / "a.zip").write_bytes(data[100:])
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / "a.zip")).list()
    assert (caught.value.code, "zip -s 0" in caught.value.hint) == ("source-volume", True)


@pytest.mark.parametrize(
    ("head", "what"),
    [(b"7z\xbc\xaf\x27\x1c", "7z x"), (b"Rar!\x1a\7", "unrar"), (b"070701", "cpio"), (bytes(1024), "empty")],
)
def test_an_archive_that_is_not_read_is_named_with_what_to_do(head: bytes, what: str, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(head.ljust(1024, b"\0"))
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / "a.bin")).list()
    assert what in f"{caught.value} {caught.value.hint}"


NAMES = {
    "absolute": "/",
    "two slashes": "//data/",
    "a slash too many": "data//",
    "of a drive": "C:/data/",
    "a dot": "./data/./",
}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("names", NAMES)
def test_names_are_read_as_unzip_and_tar_read_them(names: str, kind: str, tmp_path: Path) -> None:
    files = {NAMES[names] + name: data for name, data in SMALL.items()}
    found = pack_all(plain_archive(tmp_path / f"a.{kind}", files), tmp_path / "out")
    assert {key.removeprefix("data/"): sample for key, sample in found.samples().items()} == EXPECTED
    assert found.skips == ()
    if kind == "zip":
        told = any("begin with a slash" in note for note in notes_of(tmp_path / "a.zip"))
        assert told == NAMES[names].startswith("/")


@pytest.mark.parametrize("order", [1, -1])
def test_absolute_names_among_others_are_counted_wherever_they_stand(order: int, tmp_path: Path) -> None:
    names = ["a.jpg", "a.txt", "/b.jpg", "/b.txt", "c.jpg", "c.txt"][::order]
    files = {name: tiny_jpeg(1) if name.endswith("jpg") else b"x" for name in names}
    notes = notes_of(plain_archive(tmp_path / "a.zip", files))
    assert "2 names begin with a slash, which was removed, as tar and unzip do" in notes


@pytest.mark.parametrize(("method", "name"), [(9, "Deflate64"), (98, "PPMd"), (77, "method 77")])
def test_another_compression_is_named_with_what_to_do(method: int, name: str, tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a.zip", SMALL, zipfile.ZIP_DEFLATED).read_bytes())
    for mark, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        place = data.rindex(mark, 0, data.index(b"d/2.jpg", data.index(mark)))
        data[place + at] = method
    (tmp_path / "a.zip").write_bytes(data)
    found = pack_all(tmp_path / "a.zip", tmp_path / "out")
    assert found.reasons == {"d/2.jpg": "source-method"}
    assert name in found.skips[0]["detail"]
    assert "7z" in found.skips[0]["detail"]


def test_names_in_an_old_code_page_are_read(tmp_path: Path) -> None:
    data = make_zip(tmp_path / "a.zip", {**SMALL, "caf_.jpg": tiny_jpeg(3), "caf_.txt": b"cp437"}).read_bytes()
    (tmp_path / "a.zip").write_bytes(data.replace(b"caf_", b"caf\x82"))
    found = pack_all(tmp_path / "a.zip", tmp_path / "out")
    assert found.samples()["caf%C3%A9"]["txt"] == b"cp437"


def test_a_name_in_utf8_beside_one_in_an_old_code_page_counts_if_it_is_of_that_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for ending, data in (("jpg", tiny_jpeg(3)), ("txt", b"words")):
            for name, told in ((f"caf_.{ending}", f"caf_.{ending}"), (f"old_.{ending}", "another name")):
                info = zipfile.ZipInfo(name)
                right = f"ü{name}".encode()
                info.extra = struct.pack("<HHBL", 0x7075, 5 + len(right), 1, zlib.crc32(told.encode())) + right
                archive.writestr(info, data)
    assert set(pack_all(tmp_path / "a.zip", tmp_path / "out").samples()) == {"%C3%BCcaf_", "old_"}


ESCAPES = ["../x", "d/../../x", "/../x", "./../x"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_outside_is_never_packed_and_never_lost(name: str, kind: str, tmp_path: Path) -> None:
    files = {**SMALL, f"{name}.jpg": tiny_jpeg(3), f"{name}.txt": b"evil"}
    source = plain_archive(tmp_path / f"a.{kind}", files)
    found = pack_all(source, tmp_path / "out", layout={"recipe": "pairs"})
    assert found.samples() == EXPECTED
    assert any(name in path for path in found.reasons), "left out without a word"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, "out"])


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_not_utf8_are_named(kind: str, tmp_path: Path) -> None:
    if kind == "zip":
        data = make_zip(tmp_path / "a.zip", {**SMALL, "é_.jpg": tiny_jpeg(3), "é_.txt": b"x"}).read_bytes()
        (tmp_path / "a.zip").write_bytes(data.replace("é_".encode(), b"\xc3\xa9\xff"))
    else:
        write_files(
            tmp_path / "src", {**SMALL, os.fsdecode(b"bad\xff.jpg"): tiny_jpeg(3), os.fsdecode(b"bad\xff.txt"): b"x"}
        )
        make_tar(tmp_path / "a.tar", tmp_path / "src", tarfile.GNU_FORMAT)
    found = pack_all(tmp_path / f"a.{kind}", tmp_path / "out", layout={"recipe": "pairs"})
    assert found.samples() == EXPECTED
    assert list(found.reasons.values()) == ["name-not-utf8"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_of_a_name_given_twice_the_last_counts_and_is_told(kind: str, tmp_path: Path) -> None:
    members = [("train/1.jpg", tiny_jpeg(1)), ("train/1.txt", b"old"), ("val/2.jpg", tiny_jpeg(2)), ("val/2.txt", b"b")]
    source = tmp_path / f"src.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(source, "w") as archive:
            for name, data in [*members, ("train/1.txt", b"new")]:
                archive.writestr(name, data)
    else:
        source.write_bytes(tar_bytes([*members, ("train/1.txt", b"new")]))
    packed = pack_all(source, tmp_path / "out")
    assert packed.samples()["1"]["txt"] == b"new"
    assert packed.reasons == {"train/1.txt": "member-duplicate"}
    account = dict(scan(str(source)).account)
    assert (account.pop("files"), account["samples"], sum(account.values())) == (5, 4, 5)


def test_backslashes_beside_slashes_are_folders(tmp_path: Path) -> None:
    files = {"ds/train\\a\\1.jpg": tiny_jpeg(1), "ds/val\\a\\2.jpg": tiny_jpeg(2)}
    assert scan(str(make("zip", tmp_path / "src", files))).samples == {"train": {"a": 1}, "val": {"a": 1}}


def test_in_a_tar_a_backslash_is_part_of_a_name_also_of_a_link(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("a\\1.jpg", "a/2.jpg"):
            member = tarfile.TarInfo(name)
            member.size = len(tiny_jpeg(1))
            tar.addfile(member, io.BytesIO(tiny_jpeg(1)))
        link = tarfile.TarInfo("a/link.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "a\\1.jpg"
        tar.addfile(link)
    found = scan(str(tmp_path / "a.tar"))
    (tmp_path / "src").mkdir()
    subprocess.run(["tar", "-xf", tmp_path / "a.tar", "-C", tmp_path / "src"], check=True)
    assert (found.skips, found.total) == ((), 3)
    assert found.samples == scan(str(tmp_path / "src")).samples


def test_hard_links_in_a_tar_are_packed_or_named(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**SMALL, "z.txt": b"the same image again"})
    os.link(tmp_path / "src/1.jpg", tmp_path / "src/z.jpg")
    tar = make_tar(tmp_path / "a.tar", tmp_path / "src", tarfile.GNU_FORMAT)
    found = pack_all(tar, tmp_path / "out")
    assert set(found.samples()) == {"1", "d/2", "z"} or "z.jpg" in found.reasons or "1.jpg" in found.reasons


def test_a_tar_cut_anywhere_is_refused_or_whole(tmp_path: Path) -> None:
    data = make_tar(tmp_path / "a.tar", write_files(tmp_path / "src", SMALL), tarfile.GNU_FORMAT).read_bytes()
    members = data.rindex(b"ustar") + 512
    for end in range(512, members, 179):
        (tmp_path / "cut.tar").write_bytes(data[:end])
        with pytest.raises(WdsError):
            open_source(str(tmp_path / "cut.tar"), recipe="pairs").list()


def test_a_tar_without_an_end_may_be_a_cut_one_and_the_hint_gives_it_an_end(tmp_path: Path) -> None:
    whole = plain_archive(tmp_path / "a.tar", SMALL).read_bytes()
    size = -(-len(whole.rstrip(b"\0")) // 512) * 512
    (tmp_path / "a.tar").write_bytes(whole[:size])
    with pytest.raises(FormatError) as caught:
        open_source(str(tmp_path / "a.tar")).list()
    assert (caught.value.code, "head -c 1024 /dev/zero >>" in caught.value.hint) == ("tar-damaged", True)
    (tmp_path / "a.tar").write_bytes(whole[:size] + bytes(1024))
    assert pack_all(tmp_path / "a.tar", tmp_path / "out").samples() == EXPECTED


def test_scanning_an_archive_tells_what_scanning_its_folder_tells(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "src", {**SMALL, "note.md": b"x", "alone.jpg": tiny_jpeg(3), "orphan.txt": b"y"})
    of_folder = scan(str(folder))
    files = contents(folder)
    for source in (make_zip(tmp_path / "a.zip", files), make_tar(tmp_path / "b.tar", folder, tarfile.PAX_FORMAT)):
        found = scan(open_source(str(source), recipe="pairs"))
        assert (found.samples, found.skipped, found.unmatched) == (
            of_folder.samples,
            of_folder.skipped,
            of_folder.unmatched,
        )


PAIRS = {"ds/train/a.jpg": tiny_jpeg(1), "ds/train/a.txt": b"1", "ds/test/b.jpg": tiny_jpeg(2), "ds/test/b.txt": b"2"}
BESIDE = {
    "AppleDouble": {"._ds": b"\0\x05\x16\x07", "ds/._train": b"\0\x05\x16\x07"},
    "a paper": {"README.md": b"read", "ds/LICENSE": b"free"},
    "a hidden folder": {".git/config": b"x"},
}


@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_tar_of_splits_is_one_whatever_lies_beside_its_folder(beside: str, prefix: str, tmp_path: Path) -> None:
    files = {prefix + name: data for name, data in {**BESIDE[beside], **PAIRS}.items()}
    found = scan(make("tar", tmp_path / "x", files))
    assert {split: sum(labels.values()) for split, labels in found.samples.items()} == {"train": 1, "test": 1}


def test_a_link_in_a_zip_is_named_and_its_target_is_no_caption(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.writestr(name, tiny_jpeg(1 + (name == "b.jpg")))
        archive.writestr("a.txt", b"words")
        link = zipfile.ZipInfo("b.txt")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "../texts/b.txt")
    packed = pack_all(tmp_path / "x.zip", tmp_path / "out")
    assert packed.reasons == {"b.txt": "not-a-file", "b.jpg": "caption-missing"}
    assert packed.samples()["a"]["txt"] == b"words"


def test_a_comment_that_looks_like_the_end_of_a_zip_does_not_hide_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", tiny_jpeg(1))
        archive.comment = b"PK\5\6 is how a zip ends: PK\5\6" + bytes(40)
    assert scan(tmp_path / "x.zip").total == 1


def test_a_dot_in_a_path_of_a_zip_is_no_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for number, name in enumerate(("./data/a.jpg", "data/./b.jpg"), 1):
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, tiny_jpeg(number))
    assert set(pack_all(tmp_path / "x.zip", tmp_path / "out").samples()) == {"a", "b"}


def test_a_tar_of_a_folder_with_headers_of_version_7_is_read(tmp_path: Path) -> None:
    plain = make("tar", tmp_path / "x", PAIRS)
    data = bytearray(plain.read_bytes())
    for at in [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]:
        data[at + 257 : at + 512] = bytes(255)
        data[at + 148 : at + 156] = b" " * 8
        data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])
    plain.write_bytes(data)
    assert set(scan(plain).samples) == {"train", "test"}
