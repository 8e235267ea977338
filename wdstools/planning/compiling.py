"""Compiling what compares images, where no run before has done it: once, and before workers start, who would each do it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from wdstools.progress import under_way

if TYPE_CHECKING:
    from wdstools.progress import Progress

_SIDES = ((48, 64), (64, 48))


def compile_kernels(progress: Progress) -> None:
    """Have the loops compiled; ``progress`` is told where that takes time, which is once on a machine."""
    from wdstools import kernels
    from wdstools.dedup import across, compare, hamming, parts
    from wdstools.images import lanczos, luma

    if not kernels.uncompiled({module.__name__ for module in (across, compare, hamming, parts, lanczos, luma)}):
        return
    with under_way(progress, "compiling, once", 0, ""):
        _use_them()


def _use_them() -> None:
    """Compare a few small images in every way, so that every loop is called with what it will be given."""
    from PIL import Image

    from wdstools.dedup.across import match
    from wdstools.dedup.compare import LOOK_BYTES
    from wdstools.dedup.groups import Fingerprints, group
    from wdstools.dedup.levels import LEVELS
    from wdstools.dedup.parts import Alone, linked
    from wdstools.dedup.phash import deviation
    from wdstools.images.lanczos import resize
    from wdstools.reader.hashes import hash_images, turned_of

    images = []
    for height, width in _SIDES:
        pixels = (np.arange(height * width * 3).reshape(height, width, 3) ** 2 * 7 % 253).astype(np.uint8)
        sink = io.BytesIO()
        exif = Image.Exif()
        exif[0x112] = 6
        Image.fromarray(pixels).save(sink, "JPEG", quality=90, exif=exif)
        resize(pixels, width // 2, height // 2)
        images += [sink.getvalue(), sink.getvalue() + b"\0"]
    found = hash_images(images, len(images), lambda _: None)
    words, mirrored = (
        np.concatenate((getattr(found, a), getattr(found, b)), axis=1).view(np.uint64)
        for a, b in (("phash", "phash16"), ("mirrored", "mirrored16"))
    )
    looks = np.concatenate([found.luma.reshape(len(images), -1), found.colour.reshape(len(images), -1)], axis=1)
    assert looks.shape[1] == LOOK_BYTES
    exact = np.arange(2 * len(images), dtype=np.uint64).reshape(-1, 2)
    turned = turned_of(found.turn, found.upright)
    prints = Fingerprints(exact, words, mirrored, deviation(found.luma), lambda rows: looks[rows], turned)
    group(prints, LEVELS, np.zeros(len(images), np.int64))
    linked(words, (10, 60), mirrored, Alone(ranges=2))
    match(prints, prints, LEVELS)
