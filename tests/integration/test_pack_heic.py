"""HEIC photographs, as phones take them: turned, with transparency, of ten bits, several in a file, damaged."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.support.accounting import pack_all, write_files
from tests.support.command import run_command
from tests.support.tools import need_module

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: Colours of the quarters, left to right and top to bottom, so that every turn shows.
CORNERS = ((250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 240))
_NEAR = 12
_ORIENTATION = 0x112


def quarters(width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    pixels = np.zeros((height, width, 3), np.uint8)
    rows, columns = np.mgrid[0:height, 0:width]
    for number, colour in enumerate(CORNERS):
        pixels[(rows * 2 >= height) * 2 + (columns * 2 >= width) == number] = colour
    return pixels


def heic(*images: Image.Image, **options: Any) -> bytes:
    heif = need_module("pillow_heif")
    made = heif.HeifFile()
    for image in images:
        made.add_from_pillow(image)
    sink = io.BytesIO()
    made.save(sink, quality=95, **options)
    return sink.getvalue()


def packed(tmp_path: Path, files: dict[str, bytes]) -> dict[str, NDArray[np.uint8]]:
    found = pack_all(write_files(tmp_path / "src", files), tmp_path / "set", convert="png")
    assert found.reasons == {}
    return {key: np.asarray(Image.open(io.BytesIO(sample["png"]))) for key, sample in found.samples().items()}


def near(pixels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    return pixels.shape == expected.shape and bool(np.abs(pixels.astype(int) - expected).mean() < _NEAR)


def test_each_orientation_comes_out_upright(tmp_path: Path) -> None:
    files, expected = {}, {}
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[_ORIENTATION] = turn
        files[f"{turn}.heic"] = heic(Image.fromarray(quarters()), exif=exif.tobytes())
        as_jpeg = io.BytesIO()
        Image.fromarray(quarters()).save(as_jpeg, "JPEG", quality=95, exif=exif)
        files[f"{turn}_jpeg.jpg"] = as_jpeg.getvalue()
    images = packed(tmp_path, files)
    for turn in range(1, 9):
        expected[turn] = images[f"{turn}_jpeg"]
        assert near(images[f"{turn}"], expected[turn])
    assert len({image.tobytes() for image in expected.values()}) == len(expected)


def test_transparency_is_laid_on_white_and_gray_is_kept(tmp_path: Path) -> None:
    clear = np.dstack((quarters(), np.full((48, 64), 255, np.uint8)))
    clear[:24, :32, 3] = 0
    expected = quarters()
    expected[:24, :32] = 255
    gray = np.asarray(Image.fromarray(quarters()).convert("L"))
    images = packed(tmp_path, {"clear.heic": heic(Image.fromarray(clear)), "gray.HIF": heic(Image.fromarray(gray))})
    assert near(images["clear"], expected)
    assert near(images["gray"], np.dstack([gray] * 3))


def test_ten_bits_become_eight(tmp_path: Path) -> None:
    heif = need_module("pillow_heif")
    wide = quarters().astype(np.uint16) << 8
    sink = io.BytesIO()
    heif.encode("RGB;16", (64, 48), wide.tobytes(), sink, quality=95)
    assert near(packed(tmp_path, {"ten.heic": sink.getvalue()})["ten"], quarters())


def test_of_several_images_the_primary_one_is_taken(tmp_path: Path) -> None:
    turned = quarters()[::-1].copy()
    data = heic(Image.fromarray(turned), Image.fromarray(quarters()), primary_index=1)
    assert near(packed(tmp_path, {"burst.heic": data})["burst"], quarters())


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.99])
def test_a_damaged_one_is_named(keep: float, tmp_path: Path) -> None:
    whole = heic(Image.fromarray(quarters()))
    files = {"cut.heic": whole[: int(len(whole) * keep)], "good.heic": whole}
    found = pack_all(write_files(tmp_path / "src", files), tmp_path / "set", convert="jpg")
    assert found.reasons == {"cut.heic": "image-damaged"}
    assert list(found.samples()) == ["good"]


def test_it_is_not_packed_as_it_is_whatever_it_is_called(tmp_path: Path) -> None:
    data = heic(Image.fromarray(quarters()))
    write_files(tmp_path / "src", {"a.heic": data, "b.jpg": data})
    ran = run_command("pack", tmp_path / "src", tmp_path / "set")
    assert (ran.code, "image-needs-convert" in ran.err, "image-not-jpg" in ran.err) == (2, True, True)


def test_duplicates_of_it_are_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    coarse = Image.fromarray(rng.integers(0, 255, (18, 24, 3), dtype=np.uint8))
    picture = coarse.resize((320, 240), Image.Resampling.BICUBIC)
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=95)
    write_files(tmp_path / "src", {"a.heic": heic(picture), "b.jpg": jpeg.getvalue()})
    found = pack_all(tmp_path / "src", tmp_path / "set", convert="jpg", duplicates="drop", level="re-encode")
    assert sorted(found.reasons.values()) == ["image-duplicate"]
