"""A part of an image resampled in one pass: the numbers of Pillow's filters, in every layout and dtype."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wdstools.images.box import Box
from wdstools.images.resample import Resampling, _put

PILLOW = {False: Image.Resampling.BILINEAR, True: Image.Resampling.BICUBIC}
HALF = 2


def part_of(side: int, draw: st.DrawFn) -> tuple[int, int]:
    start = draw(st.integers(0, side - 1))
    return start, draw(st.integers(start + 1, side))


@st.composite
def tasks(draw: st.DrawFn) -> tuple[np.ndarray, Box, tuple[int, int]]:
    height, width = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    channels = draw(st.sampled_from([1, 3]))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, channels), np.uint8)
    (top, bottom), (left, right) = part_of(height, draw), part_of(width, draw)
    return pixels, Box(top, left, bottom, right), (draw(st.integers(1, 70)), draw(st.integers(1, 70)))


@given(tasks(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_part_becomes_what_pillow_makes_of_it(
    task: tuple[np.ndarray, Box, tuple[int, int]], cubic: bool, mirrored: bool
) -> None:
    pixels, box, (height, width) = task
    channels = pixels.shape[2]
    whole = np.empty((height, width, channels), np.float32)
    Resampling(cubic).into(pixels, box, whole, mirrored=mirrored)
    part = pixels[int(box.top) : int(box.bottom), int(box.left) : int(box.right)].astype(np.float32)
    planes = [Image.fromarray(part[:, :, c]).resize((width, height), PILLOW[cubic]) for c in range(channels)]
    expected = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    assert np.allclose(whole, expected[:, ::-1] if mirrored else expected, atol=1e-3)


@given(tasks(), st.booleans())
@settings(deadline=None, max_examples=40)
def test_layouts_and_dtypes_hold_the_same_numbers(
    task: tuple[np.ndarray, Box, tuple[int, int]], mirrored: bool
) -> None:
    pixels, box, (height, width) = task
    channels = pixels.shape[2]
    factors, offsets = (0.5, -1.25, 1.0), (3.0, 1.0, -200.0)
    whole = np.empty((height, width, channels), np.float32)
    Resampling(True, factors, offsets).into(pixels, box, whole, mirrored=mirrored)
    plain = np.empty_like(whole)
    Resampling(True).into(pixels, box, plain, mirrored=mirrored)
    assert np.allclose(whole, plain * factors[:channels] + offsets[:channels], atol=1e-3)
    for dtype, expected in (
        (np.float16, whole.astype(np.float16)),
        (np.uint8, np.clip(np.floor(whole + np.float32(0.5)), 0, 255).astype(np.uint8)),
        (np.float32, whole),
    ):
        first = np.empty((channels, height, width), dtype)
        Resampling(True, factors, offsets, channels_first=True).into(pixels, box, first, mirrored=mirrored)
        assert np.array_equal(np.moveaxis(first, 0, -1), expected)
        last = np.empty((height, width, channels), dtype)
        Resampling(True, factors, offsets).into(pixels, box, last, mirrored=mirrored)
        assert np.array_equal(last, expected)


def test_every_kind_of_number_becomes_the_nearest_float16() -> None:
    rng = np.random.default_rng(0)
    edges = [np.arange(start, start + 70_000, dtype=np.uint32) for start in (0, 0x33000000, 0x38000000, 0x477F0000)]
    bits = np.concatenate([rng.integers(0, 2**32, 200_000, np.uint32), *edges, *(one | 0x80000000 for one in edges)])
    single = bits.view(np.float32)
    made = np.empty(len(single), np.uint16)
    _put(single, made, HALF)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = single.astype(np.float16)
    unlike = made.view(np.float16) != expected
    assert np.isnan(expected).any()
    assert np.isnan(made.view(np.float16)[unlike]).all()
    assert np.isnan(expected[unlike]).all()


def test_a_part_of_less_than_a_pixel_is_a_pixel() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    for box in (Box(0.1, 0.1, 0.2, 0.2), Box(1.6, 1.6, 1.7, 1.7), Box(0.99, 0.99, 1.01, 1.01)):
        place = np.full((4, 4, 3), -1, np.float32)
        Resampling().into(pixels, box, place, mirrored=False)
        assert place.min() >= 0
        assert place.max() <= 11


@pytest.mark.parametrize("cubic", [False, True])
def test_a_line_behind_the_image_is_never_read(cubic: bool) -> None:
    room = np.full((40, 31, 3), 255, np.uint8)
    room[:39] = 7
    image = room[:39].reshape(-1)[: 39 * 31 * 3].reshape(39, 31, 3)
    place = np.empty((64, 64, 3), np.float32)
    Resampling(cubic).into(image, Box(0, 0, 39, 31), place, mirrored=False)
    assert np.allclose(place, 7, atol=1e-4)
