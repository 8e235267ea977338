"""What the image check lets through and what it refuses, and why."""

from __future__ import annotations

import contextlib
import mmap
import resource
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.pictures import EOI, after_start, claiming, encoded, png_claiming, repeating_scans, segment
from wdstools.errors import UsageError
from wdstools.formats.image_types import sniff
from wdstools.images.check import DamagedImageError, ImageInfo
from wdstools.images.header import DimensionReader
from wdstools.images.jpeg import MAX_JPEG_SCANS, bound_scans, decode_jpeg
from wdstools.images.luma import luma_images
from wdstools.images.whole import ImageChecker

TAILS = (b"\0", b"\n", bytes(512), EOI, b"<html>", encoded("JPEG"), encoded("JPEG", progressive=True) + b"more")
LEVELS = pytest.mark.parametrize("level", ["header", "decode"])


def check(data: bytes, kind: str = "jpg", level: str = "decode", checker: ImageChecker | None = None) -> ImageInfo:
    return (checker or ImageChecker(level)).check(data, 0, len(data), kind)


def refusal(data: bytes, kind: str = "jpg", level: str = "decode") -> str:
    with pytest.raises(DamagedImageError) as caught:
        check(data, kind, level)
    return caught.value.code


WHOLE = {
    "baseline": encoded("JPEG", quality=80),
    "progressive": encoded("JPEG", progressive=True),
    "gray": encoded("JPEG", "L"),
    "cmyk": encoded("JPEG", "CMYK"),
    "restart markers": encoded("JPEG", restart_marker_blocks=1),
    "4:4:4 and optimised": encoded("JPEG", subsampling=0, optimize=True),
    "one pixel": encoded("JPEG", size=(1, 1)),
    "thumbnail": after_start(encoded("JPEG"), segment(0xE1, b"Exif\0\0" + encoded("JPEG", size=(8, 8)))),
    "several end markers in segments": after_start(encoded("JPEG"), segment(0xE2, EOI * 7) + segment(0xFE, b"a" + EOI)),
    "fill bytes": after_start(encoded("JPEG"), b"\xff" * 3),
    "restart and progressive": encoded("JPEG", progressive=True, restart_marker_rows=1),
}


@LEVELS
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_jpeg_passes_with_its_dimensions(name: str, level: str) -> None:
    info = check(WHOLE[name], level=level)
    assert (info.type, info.width, info.height) == ("jpg", *((1, 1) if name == "one pixel" else (40, 30)))


@LEVELS
def test_any_number_of_fill_bytes_before_a_marker_is_legal(level: str) -> None:
    # ITU T.81, B.1.1.2: "any marker may optionally be preceded by any number of fill bytes"
    assert check(after_start(encoded("JPEG"), b"\xff" * 40), level=level).width == 40


@LEVELS
@pytest.mark.parametrize("name", WHOLE)
def test_every_truncation_of_a_jpeg_is_refused(name: str, level: str) -> None:
    data = WHOLE[name]
    checker = ImageChecker(level)
    check(data, checker=checker)  # the header is known now, which must not help a cut file
    for end in came(range(len(data))):
        with pytest.raises(DamagedImageError):
            checker.check(data, 0, end, "jpg")


def test_a_progressive_jpeg_cut_behind_an_end_marker_in_a_comment_is_refused() -> None:
    data = encoded("JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    comment = data[:at] + segment(0xFE, b"an end marker: " + EOI + b" and more") + data[at:]
    assert check(comment).width == 40
    cut = comment[: comment.index(EOI) + 2]
    for level in ("header", "decode"):
        assert refusal(cut, level=level) == "image-truncated"


@LEVELS
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("name", WHOLE)
def test_bytes_behind_the_end_are_counted_and_are_no_damage(name: str, tail: bytes, level: str) -> None:
    info = check(WHOLE[name] + tail, level=level)
    assert (info.trailing, replace(info, trailing=0)) == (len(tail), check(WHOLE[name], level=level))


@LEVELS
@pytest.mark.parametrize("name", WHOLE)
def test_an_image_that_was_cut_is_not_completed_by_what_follows(name: str, level: str) -> None:
    data = WHOLE[name]
    for tail in (encoded("JPEG"), WHOLE["thumbnail"], WHOLE["progressive"]):
        for cut in (2, len(data) // 8):
            with pytest.raises(DamagedImageError):
                check(data[:-cut] + tail, level=level)


@LEVELS
@pytest.mark.parametrize("kind", ["png", "webp"])
def test_every_truncation_of_the_other_types_is_refused(kind: str, level: str) -> None:
    data = encoded(kind.upper(), size=(9, 7))
    assert check(data, kind, level).height == 7
    for end in range(len(data)):
        with pytest.raises(DamagedImageError):
            check(data[:end], kind, level)


@LEVELS
@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("tail", TAILS)
def test_bytes_behind_the_other_types_are_counted(kind: str, tail: bytes, level: str) -> None:
    data = encoded(kind.upper())
    assert check(data + tail, kind, level).trailing == len(tail)
    assert check(data + data, kind, level).trailing == len(data)
    assert check(data, kind, level).trailing == 0


@pytest.mark.parametrize(
    ("data", "kind", "reason"),
    [
        (b"", "jpg", "image-empty"),
        (b"not an image at all", "jpg", "image-not-jpg"),
        (encoded("PNG"), "jpg", "image-not-jpg"),
        (encoded("JPEG"), "png", "image-not-png"),
        (encoded("GIF"), "webp", "image-not-webp"),
        (b"\xff\xd8\xff", "jpg", "image-truncated"),
        (b"\xff\xd8" + EOI, "jpg", "image-truncated"),
        (claiming(encoded("JPEG"), 0, 5), "jpg", "image-damaged"),
        (claiming(encoded("JPEG"), 5, 0), "jpg", "image-damaged"),
        (after_start(encoded("JPEG"), b"junk"), "jpg", "image-not-jpg"),
        (WHOLE["thumbnail"].replace(b"\xff\xdb", b"junk", 2), "jpg", "image-truncated"),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xc3"), "jpg", "image-unsupported"),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xc5"), "jpg", "image-unsupported"),
        (encoded("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "jpg", "image-unsupported"),
        (encoded("JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x07"), "jpg", "image-damaged"),
        (encoded("PNG").replace(b"IDAT", b"IDAX"), "png", "image-damaged"),
        (encoded("WEBP")[:12] + b"\0" * 40, "webp", "image-damaged"),
    ],
)
def test_each_refusal_has_its_reason_code(data: bytes, kind: str, reason: str) -> None:
    assert refusal(data, kind) == reason


def test_a_hole_in_the_entropy_coded_data_is_seen_by_decoding() -> None:
    data = encoded("JPEG", size=(200, 200))
    half = len(data) // 2
    assert refusal(data[:half] + EOI) == "image-truncated"


@pytest.mark.parametrize("marker", range(0xC0, 0xD0))
def test_a_frame_header_that_is_too_short_is_refused(marker: int) -> None:
    for length in range(2, 8):
        data = b"\xff\xd8\xff" + bytes((marker, 0, length)) + bytes(length - 2)
        with pytest.raises(DamagedImageError):
            check(data, level="header")
        with pytest.raises(DamagedImageError):
            check(data + EOI, level="header")


@pytest.mark.parametrize("side", [(20_000, 20_000), (65_500, 65_500), (65_535, 763), (7_072, 7_072)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_claiming_too_many_pixels_is_refused_before_any_decoder_runs(
    side: tuple[int, int], *, progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wdstools.images.whole as module

    def decode(*_: object) -> None:
        pytest.fail("the decoder was called")

    monkeypatch.setattr(module, "decode_strictly", decode)
    assert refusal(claiming(encoded("JPEG", progressive=progressive), *side)) == "image-too-large"


def test_refusing_a_bomb_takes_no_memory() -> None:
    bombs = [
        (claiming(encoded("JPEG", progressive=True), 65_500, 65_500), "jpg"),
        (png_claiming(20_000, 20_000), "png"),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data, kind in bombs:
        assert refusal(data, kind) == "image-too-large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # in KiB


@LEVELS
def test_a_jpeg_of_more_scans_than_any_encoder_makes_is_refused_before_it_is_decoded(level: str) -> None:
    own = repeating_scans(0).count(b"\xff\xda")
    assert check(repeating_scans(MAX_JPEG_SCANS - own), level=level).width == 64
    assert refusal(repeating_scans(MAX_JPEG_SCANS - own + 1), level=level) == "image-too-many-scans"


def test_only_scans_of_the_image_count() -> None:
    marks = b"\xff\xda" * (MAX_JPEG_SCANS + 1)
    data = after_start(encoded("JPEG", progressive=True), segment(0xE2, marks))
    assert check(data).width == 40
    bound_scans(data)
    bound_scans(data + marks)  # what follows the end is another's concern
    with pytest.raises(DamagedImageError, match="image-too-many-scans"):
        bound_scans(memoryview(repeating_scans(MAX_JPEG_SCANS)))


def test_a_frame_header_hidden_from_the_marker_walk_does_not_reach_the_decoder() -> None:
    # 0xFF00 is no marker: a decoder skips two bytes, a walk that reads a length there skips what it hides
    bomb = claiming(encoded("JPEG", progressive=True), 20_000, 20_000)
    hidden = bomb[2:]
    data = b"\xff\xd8\xff\x00" + (len(hidden) + 2).to_bytes(2, "big") + hidden + encoded("JPEG")[2:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedImageError):
        check(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 << 10


def test_the_limit_is_inclusive() -> None:
    data = encoded("JPEG", size=(40, 30))
    assert ImageChecker(max_pixels=1200).check(data, 0, len(data), "jpg").width == 40
    with pytest.raises(DamagedImageError, match="image-too-large"):
        ImageChecker(max_pixels=1199).check(data, 0, len(data), "jpg")


@LEVELS
def test_images_are_checked_in_the_middle_of_a_memory_map(level: str) -> None:
    data = encoded("JPEG")
    memory = mmap.mmap(-1, 1 << 16)
    memory[1000 : 1000 + len(data)] = data
    checker = ImageChecker(level)
    assert checker.check(memory, 1000, 1000 + len(data), "jpg").height == 30
    # what an earlier image left in the buffer behind the end must not complete a later one
    for end in range(1000, 1000 + len(data), 7):
        with pytest.raises(DamagedImageError):
            checker.check(memory, 1000, end, "jpg")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["whole", "cut", "flip", "tail"]), st.data()), max_size=12)
)
def test_the_header_memo_changes_no_verdict(steps: list[tuple[int, str, st.DataObject]]) -> None:
    originals = [encoded("JPEG", size=size) for size in ((40, 30), (30, 40), (16, 16), (16, 17))]
    originals += [encoded("JPEG", "L", size=(40, 30)), encoded("JPEG", size=(40, 30), progressive=True, seed=2)]
    checker = ImageChecker("header")
    for number, damage, draw in steps:
        data = originals[number]
        if damage == "cut":
            data = data[: draw.draw(st.integers(0, len(data) - 1))]
        elif damage == "tail":
            data += draw.draw(st.binary(min_size=1, max_size=9))
        elif damage == "flip":
            at = draw.draw(st.integers(0, len(data) - 1))
            data = data[:at] + bytes((data[at] ^ 1 << draw.draw(st.integers(0, 7)),)) + data[at + 1 :]
        assert verdict(checker, data) == verdict(ImageChecker("header"), data)


def verdict(checker: ImageChecker, data: bytes) -> ImageInfo | str:
    try:
        return checker.check(data, 0, len(data), "jpg")
    except DamagedImageError as error:
        return error.code


def test_only_known_levels_are_taken() -> None:
    with pytest.raises(UsageError):
        ImageChecker("glance")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("JPEG", "jpg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("BMP", "bmp"),
        ("TIFF", "tiff"),
        ("AVIF", "avif"),
        ("JPEG2000", "jp2"),
        ("PPM", "ppm"),
    ],
)
def test_types_are_told_by_their_first_bytes(kind: str, expected: str) -> None:
    assert sniff(encoded(kind)[:16]) == expected
    assert sniff(encoded(kind)[:1]) == ""


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_bitmap_without_the_header_of_a_file_is_one(mode: str) -> None:
    assert sniff(encoded("DIB", mode)) == "bmp"


def test_bytes_between_two_segments_are_passed_over_and_counted() -> None:
    good = WHOLE["baseline"]
    for junk in (b"\0\1\2\3", b"\xff\0", b"\0\xff\0\1"):
        odd = good[: good.index(b"\xff\xdb")] + junk + good[good.index(b"\xff\xdb") :]
        assert replace(check(odd), stray=0) == check(good)
        assert check(odd).stray == len(junk)
        assert np.array_equal(decode_jpeg(odd, "RGB", 1 << 20), decode_jpeg(good, "RGB", 1 << 20))
        assert np.array_equal(luma_images(odd, [16])[0], luma_images(good, [16])[0])
        assert DimensionReader().read(memoryview(odd)) == DimensionReader().read(memoryview(good))


def test_what_is_damaged_is_damaged_whatever_lies_between_its_segments() -> None:
    good = WHOLE["baseline"]
    odd = good[: good.index(b"\xff\xdb")] + b"\0\1" + good[good.index(b"\xff\xdb") :]
    for cut in range(len(good) // 2, len(good) - 2, 37):
        with pytest.raises(DamagedImageError):
            check(odd[:cut] + b"\xff\xd9")
    with pytest.raises(DamagedImageError):
        check(good[: good.index(b"\xff\xdb")] + b"\0" + good[good.index(b"\xff\xc4") :])  # without its tables


@pytest.mark.timeout(60)
@pytest.mark.parametrize("fill", [b"\xff", b"\xff\x00", b"\xff\xd0"])
def test_fill_bytes_without_an_end_are_walked_once(fill: bytes) -> None:
    """A pattern that is tried from each of them would take days."""
    whole, much = WHOLE["baseline"], fill * 300_000
    for data in (whole[:2] + much, whole[:-2] + much):
        with pytest.raises(DamagedImageError, match="no end-of-image marker"):
            check(data)
    for data in (whole[:2] + much + whole[2:], whole[:-2] + much + whole[-2:]):
        with contextlib.suppress(DamagedImageError):  # libjpeg passes over some
            check(data)
