"""Small inputs that unpack to much: memory stays bounded, and the answer is a clear one."""

from __future__ import annotations

import functools
import gzip
import io
import zipfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from PIL import Image

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.limited import ADDRESS_BYTES, assert_announced, run_limited
from tests.support.pictures import claiming, encoded, png_claiming, repeating_scans, saved
from tests.support.rawtar import END, member
from wdstools import pack
from wdstools.images.check import DamagedImageError
from wdstools.images.luma import luma_images
from wdstools.images.resize import decode_rgb
from wdstools.reader.decode import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MIB = 1 << 20
#: More than the address space that the command is given.
BOMB_BYTES = ADDRESS_BYTES + 512 * MIB
GOOD = {"good.jpg": tiny_jpeg(1), "good.txt": b"good"}


def zstd_bomb(head: bytes) -> bytes:
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    piece = bytes(16 * MIB)
    return b"".join(
        [packer.compress(head), *(packer.compress(piece) for _ in range(BOMB_BYTES // len(piece))), packer.flush()]
    )


def gzip_bomb(head: bytes) -> bytes:
    # members of a gzip file follow each other: one is made, and repeated
    one = gzip.compress(bytes(64 * MIB), 1)
    return gzip.compress(head) + one * (BOMB_BYTES // (64 * MIB))


HEAD = member(b"good.jpg", tiny_jpeg(1))


@pytest.mark.slow
@pytest.mark.parametrize("packer", [zstd_bomb, gzip_bomb])
@pytest.mark.parametrize(
    ("head", "codes"),
    [(HEAD + END, (4,)), (HEAD + member(b"x.jpg", b"", size=8**11 - 1), (1,))],
    ids=["zeros behind the end", "one endless member"],
)
def test_a_compressed_bomb_is_streamed(packer: object, head: bytes, codes: tuple[int, ...]) -> None:
    assert callable(packer)
    ran = run_limited("verify", "-", stdin=packer(head))
    assert_announced(ran, *codes)


@pytest.mark.parametrize(
    "data",
    [
        b"\x28\xb5\x2f\xfd",
        b"\x28\xb5\x2f\xfd" + b"\xff" * 40,
        b"\x28\xb5\x2f\xfd\x00\x98" + bytes(40),  # asks for a window of gigabytes
        b"\x1f\x8b",
        b"\x1f\x8b\x08\x08" + b"n" * 5000,
        b"\x1f\x8b\x08\x00" + b"\xff" * 40,
        gzip.compress(HEAD + END, mtime=0)[:-9],
        gzip.compress(HEAD + END, mtime=0)[:-4] + b"\0\0\0\0",
        zstandard.compress(HEAD + END)[:-3],
        zstandard.compress(HEAD + END) + b"trailing",
        b"",
        b"\x1f",
    ],
)
def test_a_damaged_compressed_stream_is_a_clear_error(data: bytes) -> None:
    assert_announced(run_limited("verify", "-", stdin=data), 1, 5)


def test_bytes_behind_gzip_are_passed_over_and_told_as_gzip_itself_does() -> None:
    ran = run_limited("verify", "-", stdin=gzip.compress(HEAD + END, mtime=0) + b"trailing")
    assert_announced(ran, 4)  # the tar carries no checksums
    assert "8 bytes ignored after the compressed data" in ran.out


@functools.cache
def image_bomb(kind: str) -> bytes:
    """A small file that decodes to hundreds of megapixels."""
    if kind == "jpg":
        return claiming(encoded("JPEG", progressive=True), 65_500, 65_500)
    if kind == "png":
        return png_claiming(20_000, 20_000)
    if kind == "gif":
        return saved(Image.new("P", (20_000, 20_000)), "GIF")
    if kind == "tif":
        return saved(Image.new("1", (20_000, 20_000)), "TIFF", compression="group4")
    return saved(Image.new("RGB", (12_000, 12_000)), "WEBP", lossless=True, method=0, quality=0)


@pytest.mark.slow
def test_image_bombs_are_named_before_they_are_decoded(tmp_path: Path) -> None:
    bombs = {kind: image_bomb(kind) for kind in ("jpg", "png", "gif", "tif", "webp")}
    write_files(tmp_path / "src", GOOD)
    for kind, data in bombs.items():
        write_files(tmp_path / "src", {f"{kind}.{kind}": data, f"{kind}.txt": b"bomb"})
    ran = run_limited("pack", tmp_path / "src", tmp_path / "out", "--resize", "64", "--json")
    assert_announced(ran, 3)
    assert ran.summary["skipped"] == {"image-too-large": len(bombs)}


@pytest.mark.parametrize("kind", ["jpg", "png", pytest.param("webp", marks=pytest.mark.slow)])
def test_an_image_bomb_of_a_storable_type_is_named(kind: str, tmp_path: Path) -> None:
    good = {f"good.{kind}": encoded("JPEG" if kind == "jpg" else kind.upper()), "good.txt": b"x"}
    write_files(tmp_path / "src", {**good, f"bomb.{kind}": image_bomb(kind), "bomb.txt": b"x"})
    ran = run_limited("pack", tmp_path / "src", tmp_path / "out", "--json")
    assert_announced(ran, 3)
    assert ran.summary["skipped"] == {"image-too-large": 1}


@pytest.mark.parametrize(
    "decode",
    [decode_rgb, lambda data: luma_images(data, (32,)), lambda data: Decoder("rgb", None).alone(memoryview(data))],
    ids=["pack", "duplicates", "loader"],
)
def test_a_jpeg_of_endless_scans_reaches_no_decoder(decode: Callable[[bytes], object]) -> None:
    decode(repeating_scans(50))
    with pytest.raises(DamagedImageError, match="image-too-many-scans"):
        decode(repeating_scans(100))


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(size)


@pytest.mark.parametrize("name", ["big.jpg", "big.txt"])
@pytest.mark.parametrize("size", [pytest.param(2 << 30, marks=pytest.mark.slow), 1 << 40])
def test_a_huge_file_is_named_and_not_read(name: str, size: int, tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "big.jpg": tiny_jpeg(2), "big.txt": b"big"})
    sparse(tmp_path / "src" / name, size, b"\xff\xd8\xff")
    ran = run_limited("pack", tmp_path / "src", tmp_path / "out", "--json")
    assert_announced(ran, 3)
    assert list(ran.summary["skipped"]) in (["file-too-large"], ["caption-too-large"])


@pytest.mark.parametrize("claim", [1 << 33, (1 << 64) - 2])
def test_a_zip_that_claims_huge_members_is_answered(claim: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in GOOD.items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(data)
        archive.writestr("bomb.jpg", tiny_jpeg(2))
        archive.writestr("bomb.txt", b"x")
        archive.getinfo("bomb.jpg").file_size = claim
        archive.getinfo("bomb.jpg").compress_size = claim
    assert_announced(run_limited("pack", tmp_path / "a.zip", tmp_path / "out"), 3, 4, 5)


def test_a_zip_bomb_is_not_inflated_beyond_its_claim(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in GOOD.items():
            archive.writestr(name, data)
        archive.writestr("bomb.txt", b"x")
        with archive.open("bomb.jpg", "w") as file:
            for _ in range(300):
                file.write(bytes(MIB))
        archive.getinfo("bomb.jpg").file_size = 1000
    ran = run_limited("pack", tmp_path / "a.zip", tmp_path / "out", "--json")
    assert_announced(ran, 3)
    assert ran.summary["skipped"] == {"source-damaged": 1}


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["train/train-000000.tar", ".wdstools/manifest.json", "SHA256SUMS", "README.md",
                                    ".wdstools/index/train-000000.parquet", ".wdstools/provenance.json"])  # fmt: skip
def test_a_file_of_a_dataset_grown_beyond_memory_is_a_finding(victim: str, tmp_path: Path) -> None:
    pack(str(write_city_pairs(tmp_path / "src", train=4, val=2)), str(tmp_path / "out"))
    path = tmp_path / "out" / victim
    sparse(path, BOMB_BYTES * 2, path.read_bytes())
    assert_announced(run_limited("verify", tmp_path / "out"), 1, 4, 5)


@pytest.mark.slow
def test_a_bomb_on_standard_input_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.tar.zst").write_bytes(zstd_bomb(HEAD + END))
    assert_announced(run_limited("verify", tmp_path / "x.tar.zst"), 4)
    with (tmp_path / "x.tar.zst").open("rb") as file:
        assert isinstance(file, io.BufferedReader)
        assert_announced(run_limited("verify", "-", stdin=file), 4)
