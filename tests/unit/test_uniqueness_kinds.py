"""Kinds of pictures that have been taken for one another: each is told apart at the default level, or found."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from benchmarks.picture_kinds import KINDS
from tests.support.lookalikes import jpeg, scene
from wdstools.dedup.groups import Fingerprints, group
from wdstools.dedup.levels import LEVELS
from wdstools.dedup.phash import deviation
from wdstools.reader.hashes import hash_images, turned_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_WORDS = [
    "sun",
    "sea",
    "love",
    "city",
    "night",
    "light",
    "happy",
    "travel",
    "food",
    "friends",
    "beach",
    "coffee",
    "morning",
    "music",
]


PICTURE = scene(1, 300, 300)


def leaders(images: Sequence[bytes]) -> list[list[int]]:
    """Of each image the one that leads it, at each level beyond ``exact``."""
    hashes = hash_images(images, len(images), lambda _: None)
    assert hashes.unreadable == (None,) * len(images)
    looks = np.concatenate([part.reshape(len(images), -1) for part in (hashes.luma, hashes.colour)], axis=1)
    numbers = np.arange(len(images), dtype=np.uint64)
    prints = Fingerprints(
        exact=np.stack((numbers, numbers), axis=1),
        words=np.concatenate((hashes.phash, hashes.phash16), axis=1).view(np.uint64),
        mirrored=np.concatenate((hashes.mirrored, hashes.mirrored16), axis=1).view(np.uint64),
        deviation=deviation(hashes.luma),
        looks=lambda rows: looks[rows],
        turned=turned_of(hashes.turn, hashes.upright),
    )
    return [found.leader.tolist() for found in group(prints, LEVELS)[1:]]


@pytest.mark.parametrize("kind", KINDS)
def test_different_pictures_are_told_apart_at_the_default_level(kind: str) -> None:
    made = KINDS[kind](PICTURE)
    assert len(made) >= 4
    assert leaders(made)[0] == list(range(len(made)))


@pytest.mark.parametrize("kind", ["plain colours of one brightness", "logos on transparency"])
def test_what_has_little_in_it_is_told_apart_at_every_level(kind: str) -> None:
    made = KINDS[kind](PICTURE)
    assert leaders(made)[1] == list(range(len(made)))


@pytest.mark.parametrize("quality", [40, 60, 75, 92])
def test_each_kind_encoded_again_still_is_the_same_picture(quality: int) -> None:
    for kind in ("captioned pictures", "forms filled in differently", "a small thing that moves"):
        first = KINDS[kind](PICTURE)[1]
        again = jpeg(Image.open(io.BytesIO(first)).convert("RGB"), quality)
        assert leaders([first, again])[0] == [0, 0]


def png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def lying(image: Image.Image, orientation: int) -> bytes:
    """Saved so that EXIF's orientation makes it upright."""
    undo: dict[int, Any] = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x112] = orientation
    sink = io.BytesIO()
    image.transpose(undo[orientation]).save(sink, "JPEG", quality=88, exif=exif)
    return sink.getvalue()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_photograph_upright_and_by_exif_is_one_at_the_edited_level(orientation: int) -> None:
    picture = scene(7, 300, 200)
    images = [
        jpeg(picture),
        lying(picture, orientation),
        jpeg(scene(8, 300, 200)),
        lying(scene(9, 300, 200), orientation),
    ]
    assert leaders(images)[1] == [0, 0, 2, 3]
    # two that lie in different ways, and one of them without its EXIF
    other = 6 if orientation != 6 else 8
    stored = jpeg(Image.open(io.BytesIO(images[1])).convert("RGB"), 80)
    assert leaders([images[1], lying(picture, other), stored])[1] == [0, 0, 0]


def test_a_symmetric_picture_whose_hash_is_noise_is_found_by_its_pixels_when_exif_turns_it() -> None:
    picture = Image.effect_mandelbrot((300, 200), (-2, -1.5, 1, 1.5), 60).convert("RGB")
    assert leaders([jpeg(picture, 90), lying(picture, 6), jpeg(scene(8, 300, 200))])[1] == [0, 0, 2]
    blank = Image.new("RGB", (300, 200), (90, 90, 90))
    lighter = Image.new("RGB", (300, 200), (110, 110, 110))
    assert leaders([png(blank), lying(lighter, 6), lying(blank, 8)])[1] == [0, 1, 0]


def drawing(draw: Callable[[ImageDraw.ImageDraw], None], ground: str = "white") -> bytes:
    """A drawing of 300x300 as PNG."""
    made = Image.new("RGB", (300, 300), ground)
    draw(ImageDraw.Draw(made))
    return png(made)


def clock(hour: int) -> bytes:
    angle = hour * math.pi / 6

    def draw(pen: ImageDraw.ImageDraw) -> None:
        pen.ellipse((20, 20, 280, 280), outline="black", width=4)
        pen.line((150, 150, 150 + 80 * math.sin(angle), 150 - 80 * math.cos(angle)), "black", 6)

    return drawing(draw)


def bars(seed: int) -> bytes:
    heights = np.random.default_rng(seed).integers(130, 170, 8).tolist()

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for number, height in enumerate(heights):
            pen.rectangle((30 + 30 * number, 280 - height, 50 + 30 * number, 280), "steelblue")

    return drawing(draw)


def code(seed: int) -> bytes:
    squares = np.random.default_rng(seed).integers(0, 2, (29, 29)).astype(np.uint8) * 255
    return png(Image.fromarray(squares).resize((290, 290), Image.Resampling.NEAREST).convert("RGB"))


def face(mouth: int) -> bytes:
    def draw(pen: ImageDraw.ImageDraw) -> None:
        for left in (80, 190):
            pen.ellipse((left, 100, left + 30, 130), "black")
        pen.arc((90, 140 + 20 * (mouth > 1), 210, 230), 180 * (mouth % 2), 180 * (mouth % 2) + 180, "black", 6)

    return drawing(draw, "gold")


@pytest.mark.parametrize("draw", [clock, bars, code, face])
def test_drawings_that_differ_in_what_they_mean_are_told_apart_at_the_default_level(
    draw: Callable[[int], bytes],
) -> None:
    made = [draw(number) for number in range(4)]
    assert leaders(made)[0] == list(range(4))


@pytest.mark.parametrize(("side", "height"), [(300, 12), (512, 24), (800, 40)])
def test_small_words_on_a_large_picture_make_another_picture(side: int, height: int) -> None:
    chance, made = np.random.default_rng(4), []
    for _ in range(12):
        image = PICTURE.resize((side, side))
        words = " ".join(_WORDS[at] for at in chance.integers(0, len(_WORDS), 4))
        font = ImageFont.load_default(height)
        ImageDraw.Draw(image).text((side // 10, side * 4 // 5), words, fill="white", font=font)
        made.append(jpeg(image, 90))
    assert leaders(made)[0] == list(range(len(made)))
    assert leaders([made[0], jpeg(Image.open(io.BytesIO(made[0])), 50)])[0] == [0, 0]
