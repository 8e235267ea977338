"""The resampler has the bytes of Pillow's."""

from __future__ import annotations

import math
import random
import threading
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.pictures import noise
from wdstools import kernels
from wdstools.images import lanczos
from wdstools.images.lanczos import resize
from wdstools.images.resampler import Resampler, by_pillow

if TYPE_CHECKING:
    from pathlib import Path

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def pillow(pixels: Pixels, width: int, height: int) -> Pixels:
    """Pillow's own LANCZOS, one axis at a time, across first."""
    image = Image.fromarray(pixels)
    image = image.resize((width, image.height), Image.Resampling.LANCZOS)
    return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))


def assert_same(pixels: Pixels, width: int, height: int) -> None:
    got = resize(pixels, width, height)
    assert got.dtype == np.uint8
    assert got.shape == (height, width, pixels.shape[2])
    assert np.array_equal(got, pillow(pixels, width, height))
    assert np.array_equal(got, by_pillow(pixels, width, height))


SIDE = st.integers(1, 90)


@settings(max_examples=150, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.integers(0, 2**32 - 1))
@example(1, 1, 1, 1, 0)
@example(1, 1, 90, 90, 0)
@example(90, 90, 1, 1, 0)
@example(1, 90, 90, 1, 0)
def test_every_size_gives_the_pixels_of_pillow(
    width: int, height: int, to_width: int, to_height: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    assert_same(draw.integers(0, 256, (height, width, 3), np.uint8), to_width, to_height)


@pytest.mark.parametrize(
    "sizes",
    [(500, 375, 300, 300), (375, 500, 300, 300), (640, 480, 224, 224), (300, 300, 1024, 700), (2000, 3, 7, 300)],
)
def test_usual_sizes_give_the_pixels_of_pillow(sizes: tuple[int, int, int, int]) -> None:
    assert_same(noise(sizes[0], sizes[1]), sizes[2], sizes[3])


@pytest.mark.parametrize("value", [0, 255])
def test_overshoot_is_clipped_as_pillow_clips_it(value: int) -> None:
    pixels = np.full((64, 64, 3), value, np.uint8)
    pixels[::7, 20:40] = 255 - value
    for side in (5, 63, 65, 200):
        assert_same(pixels, side, side)


def test_a_flat_image_stays_flat() -> None:
    for value in (0, 1, 127, 254, 255):
        assert np.all(resize(np.full((37, 53, 3), value, np.uint8), 300, 11) == value)


def test_views_and_odd_strides_give_the_same_as_copies() -> None:
    pixels = noise(80, 60)
    for view in (pixels[::-1], pixels[:, ::-1], pixels[5:50, 7:70], pixels[::2, ::3], pixels.transpose(1, 0, 2)):
        assert np.array_equal(resize(view, 33, 44), resize(np.ascontiguousarray(view), 33, 44))


def test_the_input_is_left_alone() -> None:
    pixels = noise(50, 40)
    before = pixels.copy()
    resize(pixels, 20, 90)
    assert np.array_equal(pixels, before)


def in_float(pixels: np.ndarray[Any, np.dtype[Any]], size: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Lanczos-3 down the first axis in double precision, straight from its definition."""
    scale = pixels.shape[0] / size
    stretch = max(scale, 1.0)
    matrix = np.zeros((size, pixels.shape[0]))
    for row in range(size):
        center = (row + 0.5) * scale
        x = (np.arange(pixels.shape[0]) + 0.5 - center) / stretch
        matrix[row] = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return np.tensordot(matrix, pixels.astype(np.float64), axes=1)


@pytest.mark.parametrize(("width", "height"), [(500, 375), (640, 480), (1080, 1350)])
def test_a_downscale_is_close_to_lanczos_in_double_precision(width: int, height: int) -> None:
    # smooth with fine detail, as photographs are; clipping is left out by staying off black and white
    y, x = np.mgrid[0:height, 0:width]
    wave = 128 + 50 * np.sin(x / 9.0) * np.cos(y / 13.0) + np.random.default_rng(1).normal(0, 10, (height, width))
    pixels = np.clip(np.stack([wave, wave[::-1], wave[:, ::-1]], axis=2), 0, 255).astype(np.uint8)
    exact = in_float(in_float(pixels, 300).transpose(1, 0, 2), 300).transpose(1, 0, 2)
    error = resize(pixels, 300, 300).astype(np.float64) - exact
    assert 10 * math.log10(255**2 / float(np.mean(error**2))) >= 55


@pytest.mark.slow
def test_ten_thousand_pairs_of_sizes_give_the_pixels_of_pillow() -> None:
    draw = random.Random(7)
    for number in range(10_000):
        size, new = draw.randint(1, 700), draw.randint(1, 700)
        line = np.random.default_rng(number).integers(0, 256, (1, size, 3), np.uint8)
        assert_same(line, new, 1)
        assert_same(line.transpose(1, 0, 2), 1, new)


def test_while_another_process_compiles_images_are_resized_by_pillow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    resampler, pixels = Resampler(first=0), noise(90, 60)
    with kernels.alone() as is_alone:
        assert is_alone
        meanwhile = resampler.resize(pixels, 31, 17)
        assert not resampler.is_compiled
    assert np.array_equal(resampler.resize(pixels, 31, 17), meanwhile)
    assert resampler.is_compiled


@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_images_do_not_wait_until_loops_are_compiled(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    begun, allowed = threading.Event(), threading.Event()

    def late(*given: Any) -> Pixels:
        begun.set()
        assert allowed.wait(60)
        return resize(*given)

    monkeypatch.setattr(lanczos, "resize", late)
    resampler, pixels = Resampler(first=2), noise(90, 60)[:, :, :channels]
    first, again = (resampler.resize(pixels, 31, 17) for _ in range(2))
    assert not begun.is_set()
    compiled: list[Pixels] = []
    thread = threading.Thread(target=lambda: compiled.append(resampler.resize(pixels, 31, 17)))
    thread.start()
    assert begun.wait(60)
    meanwhile = resampler.resize(pixels, 31, 17)  # another thread goes on
    assert not resampler.is_compiled
    allowed.set()
    thread.join()
    assert resampler.is_compiled
    for made in (again, meanwhile, *compiled, resampler.resize(pixels, 31, 17)):
        assert np.array_equal(made, first)
    first[:] = 0  # it may be written to
