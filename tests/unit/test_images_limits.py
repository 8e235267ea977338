"""What a decoder cannot do is no damage: another one decodes it, or it is named as unsupported."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import EOI, chunk, encoded, flat_blocks, noise
from wdstools.formats.image_types import sniff
from wdstools.images.check import DamagedImageError, open_image
from wdstools.images.encoding import Encoding
from wdstools.images.luma import luma_images
from wdstools.images.resize import decode_rgb, reencode
from wdstools.images.whole import ImageChecker
from wdstools.reader.decode import Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLINGS = [(4, 2), (2, 4), (1, 4), (4, 1), (3, 1), (2, 2), (1, 2)]


def by_pillow(data: bytes, mode: str = "RGB") -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert(mode))


def decoders_luma(data: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(data))
    image.draft("L", image.size)
    return np.asarray(image)


@pytest.mark.parametrize(("across", "down"), SAMPLINGS)
def test_a_jpeg_of_any_sampling_is_checked_decoded_and_hashed(across: int, down: int) -> None:
    data = flat_blocks(across, down)
    info = ImageChecker("decode").check(data, 0, len(data), "jpg")
    assert (info.width, info.height) == (32 * across, 32 * down)
    wanted = by_pillow(data)
    assert np.array_equal(decode_rgb(data), wanted)
    assert np.array_equal(Decoder("rgb", None).alone(memoryview(data)), wanted)
    gray = Decoder("gray", None).alone(memoryview(data))
    assert gray.shape == (32 * down, 32 * across, 1)
    assert np.array_equal(gray[:, :, 0], decoders_luma(data))
    place = np.empty(wanted.shape, np.uint8)
    Decoder("rgb", None).into(memoryview(data), place)
    assert np.array_equal(place, wanted)
    luma = Image.fromarray(by_pillow(data, "L"))
    assert luma_images(data, (32,))[0].shape == (32, 32)
    assert reencode(data, Encoding("png"))[1].width == luma.width


@pytest.mark.parametrize(("across", "down"), SAMPLINGS)
def test_a_cut_jpeg_of_any_sampling_is_refused(across: int, down: int) -> None:
    data = flat_blocks(across, down)
    for end in range(len(data) // 2, len(data), 5):
        for level in ("header", "decode"):
            with pytest.raises(DamagedImageError):
                ImageChecker(level).check(data, 0, end, "jpg")


def code_of(call: Any) -> str:
    with pytest.raises(DamagedImageError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(
    "data",
    [
        encoded("JPEG").replace(b"\xff\xc0", b"\xff\xc3"),
        encoded("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"),
    ],
    ids=["lossless", "12 bit"],
)
def test_what_no_common_decoder_reads_is_unsupported_wherever_it_is_decoded(data: bytes) -> None:
    assert code_of(lambda: ImageChecker("header").check(data, 0, len(data), "jpg")) == "image-unsupported"
    assert code_of(lambda: reencode(data, Encoding("png"))) == "image-unsupported"
    assert code_of(lambda: Decoder("rgb", None).alone(memoryview(data))) == "image-unsupported"


def test_jpeg_xl_is_known_and_unsupported() -> None:
    for data in (b"\xff\x0a" + bytes(40), b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)):
        assert sniff(data[:16]) == "jxl"
        assert code_of(lambda data=data: reencode(data, Encoding("jpg"))) == "image-unsupported"


def with_chunk(png: bytes, kind: bytes, body: bytes, *, last: bool = False) -> bytes:
    at = len(png) - 12 if last else 33
    return png[:at] + chunk(kind, body) + png[at:]


LARGE = np.random.default_rng(1).bytes(1_200_000)
METADATA = {
    "profile": (b"iCCP", b"p\0\0" + zlib.compress(LARGE)),
    "packed text": (b"zTXt", b"key\0\0" + zlib.compress(bytes(2_000_000))),
    "packed international text": (b"iTXt", b"key\0\1\0en\0key\0" + zlib.compress(bytes(2_000_000))),
    "text": (b"tEXt", b"key\0" + b"x" * 70_000_000),
}


@pytest.mark.parametrize("last", [False, True], ids=["before the pixels", "behind them"])
@pytest.mark.parametrize("name", METADATA)
def test_a_png_with_large_metadata_is_a_good_image(name: str, *, last: bool) -> None:
    plain = encoded("PNG")
    kind, body = METADATA[name]
    data = with_chunk(plain, kind, body, last=last)
    assert ImageChecker("decode").check(data, 0, len(data), "png").trailing == 0
    assert np.array_equal(decode_rgb(data), decode_rgb(plain))


def test_a_large_profile_is_still_used() -> None:
    from tests.unit.test_images_resize import swapped_profile

    profile = swapped_profile()
    large = profile + bytes(1_500_000)
    large = struct.pack(">I", len(large)) + large[4:]
    plain = encoded("PNG")
    data = with_chunk(plain, b"iCCP", b"p\0\0" + zlib.compress(large))
    assert open_image(data).info["icc_profile"] == large
    assert np.array_equal(decode_rgb(data), decode_rgb(with_chunk(plain, b"iCCP", b"p\0\0" + zlib.compress(profile))))


def test_damage_in_large_metadata_is_damage() -> None:
    kind, body = METADATA["profile"]
    data = bytearray(with_chunk(encoded("PNG"), kind, body))
    data[500_000] ^= 1
    assert code_of(lambda: ImageChecker("decode").check(bytes(data), 0, len(data), "png")) == "image-damaged"


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000", "PPM", "GIF", "BMP", "TIFF"])
def test_every_type_that_pillow_reads_is_converted(kind: str) -> None:
    options = {"quality": 95} if kind == "AVIF" else {"irreversible": False} if kind == "JPEG2000" else {}
    data = encoded(kind, **options)
    made, info = reencode(data, Encoding("png"))
    assert (info.width, info.height) == (40, 30)
    assert np.array_equal(by_pillow(made), by_pillow(data))


def test_a_two_part_jpeg_is_decoded_as_its_first() -> None:
    first, second = (Image.fromarray(noise(seed=seed)) for seed in (1, 2))
    sink = io.BytesIO()
    first.save(sink, "MPO", save_all=True, append_images=[second], quality=90)
    data = sink.getvalue()
    info = ImageChecker("decode").check(data, 0, len(data), "jpg")
    assert info.trailing > 500
    whole = data[: -info.trailing]
    assert whole.endswith(EOI)
    assert np.array_equal(Decoder("rgb", None).alone(memoryview(data)), by_pillow(whole))
    assert np.array_equal(luma_images(data, (32,))[0], luma_images(whole, (32,))[0])
