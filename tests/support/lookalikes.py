"""Pictures that are more or less the same, and a slow way to find out which."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from wdstools.dedup import few
from wdstools.dedup.groups import Fingerprints
from wdstools.dedup.phash import phash

if TYPE_CHECKING:
    from collections.abc import Iterator

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@contextlib.contextmanager
def however_few() -> Iterator[None]:
    """Have the compiled loops do everything, however few images there are."""
    with patch.object(few, "FEW_CODES", -1), patch.object(few, "FEW_PAIRS", -1):
        yield


def scene(seed: int, width: int = 96, height: int = 96) -> Image.Image:
    """A smooth picture with a few shapes, different for each seed."""
    draw = np.random.default_rng(seed)
    coarse = Image.fromarray(draw.integers(0, 256, (5, 5, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse).astype(np.int16)
    for _ in range(6):
        left, top = draw.integers(0, width - 8), draw.integers(0, height - 8)
        wide, high = draw.integers(8, 40, 2)
        pixels[top : top + high, left : left + wide] += draw.integers(-90, 90, 3).astype(np.int16)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """The picture as JPEG."""
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def gray(image: Image.Image, side: int) -> Pixels:
    """The picture in gray, resized as imagehash does."""
    return np.asarray(image.convert("L").resize((side, side), Image.Resampling.LANCZOS))


def colours(images: list[Image.Image]) -> Pixels:
    """16x16 cells of red, green, blue and alpha of each, as rows of bytes."""
    cells = np.full((len(images), 16, 16, 4), 255, np.uint8)
    for number, image in enumerate(images):
        cells[number, :, :, :3] = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BOX))
    return cells.reshape(len(images), -1)


def fingerprints(images: list[Image.Image], exact: list[int] | None = None) -> Fingerprints:
    """Fingerprints of pictures; ``exact`` says which are equal byte for byte (none without it)."""
    small = np.array([gray(image, 32) for image in images]).reshape(-1, 32, 32)
    large = np.array([gray(image, 64) for image in images]).reshape(-1, 64, 64)
    numbers = np.arange(len(images)) if exact is None else np.array(exact)
    (p8, m8), (p16, m16) = phash(small, 8), phash(large, 16)
    return Fingerprints(
        exact=np.stack((numbers, numbers), axis=1).astype(np.uint64),
        words=np.concatenate((p8, p16), axis=1).view(np.uint64),
        mirrored=np.concatenate((m8, m16), axis=1).view(np.uint64),
        deviation=small.reshape(len(images), -1).std(axis=1).astype(np.float32),
        looks=lambda rows: np.concatenate((small.reshape(len(small), -1), colours(images)), axis=1)[rows],
    )


def components(near: np.ndarray[Any, np.dtype[np.bool_]]) -> list[int]:
    """For each row of a relation, the smallest row that it is linked with, found by walking."""
    found = [-1] * len(near)
    for start in range(len(near)):
        if found[start] >= 0:
            continue
        todo = [start]
        while todo:
            row = todo.pop()
            if found[row] < 0:
                found[row] = start
                todo += np.flatnonzero(near[row] | near[:, row]).tolist()
    return found
