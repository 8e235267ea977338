"""Compile what hashes and compares images, if no earlier run has: once, before workers start, and only what is needed.

A few images need none of it: Pillow hashes and numpy compares them, with the same results.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.progress import under_way

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wdstools.dedup.levels import Level
    from wdstools.progress import Progress

#: An estimate for images of unknown size.
_PIXELS_A_BYTE = 5


def compile_hashing(progress: Progress, images: int, image_bytes: int = 0) -> None:
    """The loops that make small gray pictures; ``progress`` is shown if that takes time."""
    from wdstools.images.luma import FEW_PIXELS, USUAL_PIXELS, compiled

    if max(images * USUAL_PIXELS, image_bytes * _PIXELS_A_BYTE) <= FEW_PIXELS:
        return
    from wdstools.images.gray import KERNELS as GRAY
    from wdstools.images.lanczos import KERNELS as LANCZOS

    _compile((*GRAY, *LANCZOS), lambda: compiled(np.zeros((64, 64, 3), np.uint8), (32,)), progress)


def compile_search(progress: Progress, images: int, others: int | None = None, *, widest: Level | None = None) -> None:
    """The loops that search among ``images``, at levels up to the ``widest``, or for them among ``others``."""
    from wdstools.dedup.few import FEW_CODES
    from wdstools.dedup.sorted_bands import suits

    if widest is not None and not widest.flips and suits(images, widest.phash):
        return
    if math.isqrt(images * (images if others is None else others)) <= FEW_CODES:
        return
    from wdstools.dedup.hamming import KERNELS

    _compile(KERNELS, _link_none if others is None else _link_none_of_two, progress)


def compile_comparing(progress: Progress) -> None:
    """The loops that compare the small pictures of a set, if there are many pairs."""
    from wdstools.dedup.pictures import KERNELS

    _compile(KERNELS, _compare_none, progress)


def compile_matching(progress: Progress) -> None:
    """The loops that compare the small pictures of two sets."""
    from wdstools.dedup.pictures import MATCHING

    _compile(MATCHING, _match_none, progress)


def _compile(kernels: Sequence[Any], use: Callable[[], Any], progress: Progress) -> None:
    from wdstools.kernels import uncompiled

    if not uncompiled(kernels):
        return
    with under_way(progress, "compiling, once", 0, ""):
        use()


def _link_none() -> None:
    from wdstools.dedup.hamming import link

    link(np.zeros((2, 5), np.uint64), (0, 0))


def _link_none_of_two() -> None:
    from wdstools.dedup.hamming import link_sets

    codes = np.zeros((3, 5), np.uint64)
    link_sets(codes, codes, 2, [np.array([2], np.int32)], (0, 0))


def _compare_none() -> None:
    from wdstools.dedup.compare import Comparison, compare
    from wdstools.dedup.groups import nothing_seen
    from wdstools.dedup.levels import LEVELS

    none = Comparison(nothing_seen(), np.zeros(1, np.int64), np.zeros(0, np.uint64), LEVELS[:1])
    compare(none, lambda _: None)


def _match_none() -> None:
    from wdstools.dedup.across import match_many
    from wdstools.dedup.compare import limits_of
    from wdstools.dedup.groups import nothing_seen
    from wdstools.dedup.levels import LEVELS

    rows, starts = np.zeros(0, np.int64), np.zeros(1, np.int64)
    match_many(nothing_seen(), limits_of(LEVELS[0]), (rows, rows, starts, starts, 0), np.zeros(0, np.bool_))
