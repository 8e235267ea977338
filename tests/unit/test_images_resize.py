"""Re-encoding: orientation, colour, alpha, depth and shape."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from tests.support.pictures import EOI, claiming, encoded, noise, png_claiming, repeating_scans, saved
from wdstools.errors import UsageError
from wdstools.images.check import DamagedImageError
from wdstools.images.encoding import Encoding
from wdstools.images.lanczos import resize
from wdstools.images.resize import decode_rgb, fit, reencode

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT = 24, 16
ORIENTATION = 0x0112


def picture() -> Image.Image:
    """An image without any symmetry."""
    pixels = noise(WIDTH, HEIGHT, seed=3)
    pixels[:8, :8] = (250, 10, 10)
    pixels[8:, :8] = (10, 250, 10)
    return Image.fromarray(pixels)


def turned(kind: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(picture(), kind, exif=exif, **options)


def pil_rgb(data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_undone_once(kind: str, orientation: int) -> None:
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = turned(kind, orientation, **options)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    got = decode_rgb(data)
    assert got.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))
    assert np.array_equal(got, upright)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_means_nothing_turns_nothing(orientation: int) -> None:
    data = turned("JPEG", orientation)
    assert np.array_equal(decode_rgb(data), pil_rgb(data))


def wide_profile() -> bytes:
    """A profile that is not sRGB: Lab, in which the same numbers mean other colours."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()


def swapped_profile() -> bytes:
    """SRGB with its red and green primaries exchanged: a conversion is then plain to see."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = int.from_bytes(data[128:132], "big")
    tags = {data[132 + 12 * n : 136 + 12 * n]: 132 + 12 * n for n in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    table = bytearray(data)
    table[red + 4 : red + 12], table[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(table)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_embedded_profile_is_converted_to_srgb(kind: str) -> None:
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = saved(picture(), kind, icc_profile=swapped_profile(), **options)
    red_corner = decode_rgb(data)[4, 4].astype(int)
    assert red_corner[1] > 200
    assert red_corner[0] < 80
    assert np.array_equal(decode_rgb(saved(picture(), "PNG")), np.asarray(picture()))


def test_a_conversion_is_that_of_littlecms() -> None:
    profile = swapped_profile()
    data = saved(picture(), "PNG", icc_profile=profile)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    expected = ImageCms.profileToProfile(picture(), source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert expected is not None
    assert np.array_equal(decode_rgb(data), np.asarray(expected))


@pytest.mark.parametrize("profile", [b"no profile", b"\0" * 128, b"x" * 4000])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_broken_profile_is_as_good_as_none(kind: str, profile: bytes) -> None:
    data = saved(picture(), kind, icc_profile=profile)
    assert np.array_equal(decode_rgb(data), pil_rgb(data))


def test_a_profile_of_another_colour_space_is_as_good_as_none() -> None:
    data = saved(picture(), "PNG", icc_profile=wide_profile())
    assert np.array_equal(decode_rgb(data), np.asarray(picture()))
    gray = saved(picture().convert("L"), "JPEG", icc_profile=swapped_profile())
    assert np.array_equal(decode_rgb(gray), pil_rgb(gray))


def test_cmyk_becomes_rgb() -> None:
    data = saved(picture().convert("CMYK"), "JPEG", quality=95)
    got = decode_rgb(data)
    assert np.abs(got[4, 4].astype(int) - (250, 10, 10)).max() < 40
    assert np.array_equal(got, pil_rgb(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_gray_becomes_three_equal_channels(kind: str) -> None:
    got = decode_rgb(saved(picture().convert("L"), kind))
    assert np.array_equal(got[:, :, 0], got[:, :, 1])
    assert np.array_equal(got[:, :, 1], got[:, :, 2])


def test_sixteen_bit_gray_keeps_its_high_byte() -> None:
    wide = np.arange(65_536, dtype=np.uint16).reshape(256, 256)
    for kind in ("PNG", "TIFF"):
        got = decode_rgb(saved(Image.fromarray(wide), kind))
        assert np.array_equal(got[:, :, 0], (wide >> 8).astype(np.uint8))


def test_one_bit_is_black_and_white() -> None:
    bits = np.array([[0, 255, 0], [255, 255, 0]], np.uint8)
    got = decode_rgb(saved(Image.fromarray(bits).convert("1"), "PNG"))
    assert np.array_equal(got[:, :, 0], bits)


def test_alpha_is_laid_on_white() -> None:
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, 3] = (0, 85, 170, 255)
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        got = decode_rgb(saved(Image.fromarray(pixels), kind, **options))
        assert got[0, :, 0].tolist() == [255, 170, 85, 0]
    gray = decode_rgb(saved(Image.fromarray(pixels).convert("LA"), "PNG"))
    assert gray[0, :, 1].tolist() == [255, 170, 85, 0]


@pytest.mark.parametrize("transparency", [1, bytes((255, 0, 255))])
def test_a_transparent_palette_entry_is_white(transparency: int | bytes) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    got = decode_rgb(saved(image, "PNG", transparency=transparency))
    assert got.tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]


def test_a_transparent_colour_of_an_rgb_png_is_white() -> None:
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode_rgb(saved(image, "PNG", transparency=(4, 5, 6))).tolist() == [[[1, 2, 3], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 50}
    got = decode_rgb(saved(frames[0], kind, **options, **({"lossless": True} if kind == "WEBP" else {})))
    assert np.array_equal(got, np.full((6, 8, 3), (255, 0, 0), np.uint8))


@pytest.mark.parametrize(
    ("mode", "size"), [("stretch", (30, 30)), ("crop", (30, 30)), ("pad", (30, 30)), ("keep", (45, 30))]
)
def test_each_mode_has_its_size(mode: str, size: tuple[int, int]) -> None:
    data, info = reencode(saved(picture(), "PNG"), Encoding(side=30, mode=mode))
    assert (info.type, info.width, info.height) == ("jpg", *size)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == size
        assert image.mode == "RGB"


def test_each_mode_has_its_geometry() -> None:
    pixels = np.asarray(picture())
    assert np.array_equal(fit(pixels, 10, "stretch"), resize(pixels, 10, 10))
    assert np.array_equal(fit(pixels, 10, "crop"), resize(pixels[:, 4:20], 10, 10))
    padded = fit(pixels, 12, "pad")
    assert np.array_equal(padded[2:10], resize(pixels, 12, 8))
    assert not padded[:2].any()
    assert not padded[10:].any()
    assert np.array_equal(fit(pixels, 16, "keep"), pixels)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (3, 500)])
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad", "keep"])
def test_thin_images_do_not_vanish(shape: tuple[int, int], mode: str) -> None:
    got = fit(noise(shape[1], shape[0]), 8, mode)
    assert min(got.shape[:2]) == 8
    assert got.any()


def test_a_thin_image_that_would_grow_beyond_jpeg_is_refused() -> None:
    with pytest.raises(DamagedImageError, match="image-too-large"):
        fit(noise(2_000, 1), 300, "keep")


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_the_output_is_of_the_wanted_type_and_carries_no_metadata(kind: str) -> None:
    data, info = reencode(turned("JPEG", 6, icc_profile=swapped_profile()), Encoding(image_type=kind))
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[kind]
        assert "icc_profile" not in image.info
        assert len(image.getexif()) == 0
        assert image.size == (info.width, info.height) == (HEIGHT, WIDTH)


def test_quality_decides_the_bytes() -> None:
    data = encoded("PNG", size=(100, 100))
    sizes = [len(reencode(data, Encoding(quality=quality))[0]) for quality in (1, 30, 75, 100)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4
    assert reencode(data, Encoding())[0] == reencode(data, Encoding(quality=75))[0]


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    sources = {
        "jpg": encoded("JPEG", size=(123, 77)),
        "cmyk": encoded("JPEG", "CMYK", size=(50, 60)),
        "png": encoded("PNG", "RGBA", size=(64, 31)),
        "icc": saved(picture(), "PNG", icc_profile=swapped_profile()),
    }
    for name, data in sources.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import hashlib, pathlib, sys\n"
        "from wdstools.images.resize import reencode\n"
        "from wdstools.images.encoding import Encoding\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    for kind in ('jpg', 'png', 'webp'):\n"
        "        made, _ = reencode(path.read_bytes(), Encoding(kind, side=40, mode='pad'))\n"
        "        print(hashlib.sha256(made).hexdigest())"
    )
    ours = [
        hashlib.sha256(reencode(sources[name], Encoding(kind, side=40, mode="pad"))[0]).hexdigest()
        for name in sorted(sources)
        for kind in ("jpg", "png", "webp")
    ]
    ran = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ours


def damaged(data: bytes) -> str:
    with pytest.raises(DamagedImageError) as caught:
        reencode(data, Encoding(side=10))
    return caught.value.code


@pytest.mark.parametrize("extra", ["plain", "profile", "cmyk", "exif"])
def test_a_jpeg_with_a_hole_in_its_data_is_not_re_encoded(extra: str) -> None:
    image = Image.fromarray(noise(200, 200))
    options: dict[str, Any] = {"profile": {"icc_profile": swapped_profile()}}.get(extra, {})
    data = turned("JPEG", 6, quality=100) if extra == "exif" else b""
    data = data or saved(image.convert("CMYK") if extra == "cmyk" else image, "JPEG", **options)
    assert damaged(data[: len(data) * 2 // 3] + EOI) == "image-truncated"
    assert damaged(data[: len(data) * 2 // 3]) == "image-truncated"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_cut_image_of_another_type_is_not_re_encoded(kind: str) -> None:
    data = encoded(kind, size=(60, 60))
    assert damaged(data[: len(data) // 2]) in ("image-truncated", "image-damaged")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image-empty"),
        (b"text, not an image", "image-unknown"),
        (claiming(encoded("JPEG"), 20_000, 20_000), "image-too-large"),
        (png_claiming(20_000, 20_000), "image-too-large"),
        (repeating_scans(100), "image-too-many-scans"),
    ],
)
def test_each_refusal_has_its_reason(data: bytes, reason: str) -> None:
    assert damaged(data) == reason


@pytest.mark.parametrize(
    "options",
    [{"image_type": "gif"}, {"mode": "squeeze"}, {"side": 0}, {"side": 70_000}, {"quality": 0}, {"quality": 101}],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Encoding(**options)


@pytest.mark.parametrize("size", [(60, 60), (61, 40), (90, 31), (40, 23), (300, 200)])
@pytest.mark.parametrize("side", [16, 33, 64])
def test_stretch_and_pad_are_those_of_pillow_but_for_what_the_documents_name(size: tuple[int, int], side: int) -> None:
    pixels = noise(*size)
    image = Image.fromarray(pixels)
    assert np.array_equal(
        fit(pixels, side, "stretch"), np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))
    )
    made = fit(pixels, side, "pad")
    inner = (2 * size[1] * side + size[0]) // (2 * size[0])
    wanted = np.asarray(ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS))
    if round(size[1] / size[0] * side) == inner and (side - inner) % 2 == 0:
        assert np.array_equal(made, wanted)
    else:  # the odd row is at the bottom
        top = (side - inner) // 2
        assert np.array_equal(
            made[top : top + inner], np.asarray(image.resize((side, inner), Image.Resampling.LANCZOS))
        )
        assert not made[:top].any()
        assert not made[top + inner :].any()


def test_damage_behind_the_pixels_of_a_png_is_seen_when_it_is_converted() -> None:
    whole = encoded("PNG")
    place = whole.rindex(b"IEND") - 8  # the last CRC before, and the sum of what is unpacked before that
    for damaged in (whole[: place - 4] + bytes(4) + whole[place:], whole[: whole.rindex(b"IEND") - 4]):
        with pytest.raises(DamagedImageError):
            reencode(damaged, Encoding("jpg"))


def pillow_upright(data: bytes) -> Image.Image:
    """The picture that Pillow shows: upright, in 8 bits, alpha laid on white."""
    with Image.open(io.BytesIO(data)) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode == "I;16":
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
            clear = image.convert("RGBA")
            image = Image.new("RGB", clear.size, "white")
            image.paste(clear.convert("RGB"), mask=clear.getchannel("A"))
        return image.convert("RGB")


def of_mode(mode: str, size: tuple[int, int]) -> bytes:
    """A picture of one of Pillow's modes, in a file that keeps it."""
    pixels = noise(*size, seed=sum(size))
    if mode == "I;16":
        return saved(Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257), "PNG")
    if mode == "RGBA":
        return saved(Image.fromarray(np.dstack((pixels, noise(*size, seed=9)[:, :, 0]))), "PNG")
    if mode == "turned":
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        return saved(Image.fromarray(pixels).resize(size[::-1]), "PNG", exif=exif)
    if mode == "P with transparency":
        return saved(Image.fromarray(pixels).quantize(16), "PNG", transparency=3)
    return saved(Image.fromarray(pixels).convert(mode), "TIFF" if mode == "CMYK" else "PNG")


def first_across(image: Image.Image, width: int, height: int) -> Image.Image:
    """Pillow's own resampling, always across first: of images higher than wide Pillow 13 takes it the other way round."""
    across = image.resize((width, image.height), Image.Resampling.LANCZOS)
    return across.resize((width, height), Image.Resampling.LANCZOS)


MODES = ("RGB", "L", "LA", "RGBA", "P", "P with transparency", "1", "I;16", "CMYK", "turned")


@pytest.mark.parametrize("size", [(50, 50), (61, 40), (40, 61), (97, 10), (7, 20)])
@pytest.mark.parametrize("mode", MODES)
def test_stretch_and_pad_and_crop_are_pillows_in_every_mode(mode: str, size: tuple[int, int]) -> None:
    data = of_mode(mode, size)
    image = pillow_upright(data)
    side = 30
    got = {way: fit(decode_rgb(data), side, way) for way in ("stretch", "pad", "crop")}
    assert np.array_equal(got["stretch"], np.asarray(first_across(image, side, side)))
    if image.width >= image.height:
        assert np.array_equal(got["stretch"], np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)))
    wide = image.width >= image.height
    inner = int(side * min(image.size) / max(image.size) + 0.5)
    shape = (side, inner) if wide else (inner, side)
    padded = Image.new("RGB", (side, side))
    padded.paste(first_across(image, *shape), ((side - shape[0]) // 2, (side - shape[1]) // 2))
    assert np.array_equal(got["pad"], np.asarray(padded))
    if wide and (side - inner) % 2 == 0:
        assert np.array_equal(got["pad"], np.asarray(ImageOps.pad(image, (side, side), Image.Resampling.LANCZOS)))
    square = min(image.size)
    left, top = (image.width - square) // 2, (image.height - square) // 2
    middle = image.crop((left, top, left + square, top + square))
    assert np.array_equal(got["crop"], np.asarray(first_across(middle, side, side)))
