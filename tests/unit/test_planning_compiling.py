"""What is compiled before images are compared: only what is needed, told while it takes place, by calls that leave nothing to compile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pytest

from tests.support.lookalikes import fingerprints, however_few, scene
from wdstools import kernels
from wdstools.dedup import across, compare, few, hamming, pictures
from wdstools.dedup.across import match
from wdstools.dedup.groups import group
from wdstools.dedup.levels import LEVELS
from wdstools.images import gray, lanczos, luma
from wdstools.planning import compiling
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable


class Told(Silent):
    """Notes what happens, in order."""

    def __init__(self) -> None:
        self.all: list[object] = []

    def start(self, task: str, total: int, unit: str) -> None:
        """A task begins."""
        self.all.append((task, total, unit))

    def finish(self) -> None:
        """It ends."""
        self.all.append("ends")


@pytest.mark.parametrize(
    ("compiles", "module", "use", "loops"),
    [
        (lambda told: compiling.compile_hashing(told, 1000), luma, "compiled", (*gray.KERNELS, *lanczos.KERNELS)),
        (lambda told: compiling.compile_search(told, 1 << 20), hamming, "link", hamming.KERNELS),
        (lambda told: compiling.compile_search(told, 9, 1 << 40), hamming, "link_sets", hamming.KERNELS),
        (compiling.compile_comparing, compare, "compare", pictures.KERNELS),
        (compiling.compile_matching, across, "match_many", pictures.MATCHING),
    ],
)
def test_loops_are_used_once_and_told_where_they_are_not_compiled_yet(
    compiles: Callable[[Any], None], module: Any, use: str, loops: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, asked, is_to_do = Told(), [], True

    def uncompiled(kernels: tuple[Any, ...]) -> bool:
        asked.append(kernels)
        return is_to_do

    monkeypatch.setattr(kernels, "uncompiled", uncompiled)
    monkeypatch.setattr(module, use, lambda *_: told.all.append("used"))
    compiles(told)
    assert told.all == [("compiling, once", 0, ""), "used", "ends"]
    is_to_do = False
    compiles(told)
    assert told.all == [("compiling, once", 0, ""), "used", "ends"]
    assert asked == [loops, loops]


@pytest.mark.parametrize(
    ("images", "image_bytes", "is_compiled"),
    [(745, 0, False), (746, 0, True), (0, (1 << 26) // 5, False), (0, (1 << 26) // 5 + 1, True), (746, 5, True)],
)
def test_hashing_is_compiled_for_many_images_or_large_ones(
    images: int, image_bytes: int, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(compiling, "_compile", lambda *given: asked.append(given))
    compiling.compile_hashing(Silent(), images, image_bytes)
    assert bool(asked) == is_compiled


def test_so_many_pixels_are_made_gray_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(compiling, "_compile", lambda *given: asked.append(given))
    monkeypatch.setattr(luma, "FEW_PIXELS", 2 * luma.USUAL_PIXELS)
    compiling.compile_hashing(Silent(), 2)
    assert asked == []
    compiling.compile_hashing(Silent(), 3)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("images", "others", "is_compiled"), [(100, 100, False), (100, 102, False), (101, 101, True), (10, 1021, True)]
)
def test_the_search_of_some_among_others_is_compiled_where_their_pairs_are_many(
    images: int, others: int, is_compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(compiling, "_compile", lambda *given: asked.append(given))
    monkeypatch.setattr(few, "FEW_CODES", 100)
    compiling.compile_search(Silent(), images, others)
    compiling.compile_search(Silent(), images, others, widest=LEVELS[-1])
    assert len(asked) == 2 * is_compiled


def test_a_search_compiles_nothing_beyond_what_was_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "uncompiled", lambda _: True)
    prints, others = (
        fingerprints([scene(number, 40, 40) for number in (1, 2, 1)], exact) for exact in ([1, 2, 3], [4, 5, 6])
    )
    loops = (*hamming.KERNELS, *pictures.KERNELS, *pictures.MATCHING)
    compiling.compile_search(Silent(), 1 << 20)
    compiling.compile_search(Silent(), 1 << 20, 1 << 20)
    compiling.compile_comparing(Silent())
    compiling.compile_matching(Silent())
    ahead = [list(loop.signatures) for loop in loops]
    assert all(ahead)
    with however_few():
        assert group(prints, LEVELS)[-1].leader.tolist() == [0, 1, 0]
        assert match(prints, others, LEVELS)[0].other.tolist() == [0, 1, 0]
    assert [loop.signatures for loop in loops] == ahead


@pytest.mark.parametrize("mirrored", [False, True])
def test_two_sets_are_searched_by_what_is_compiled_for_one(mirrored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that is not a copy has a type of its own, for which numba compiles once more, unannounced."""
    spread: Any = hamming._spread
    kinds: list[str] = []

    def noted(*given: Any) -> Any:
        kinds.append(str(numba.typeof(given[0])))  # type: ignore[no-untyped-call]
        return spread(*given)

    monkeypatch.setattr(hamming, "_spread", noted)
    codes = np.arange(40, dtype=np.uint64).reshape(20, 2)
    hamming.link(codes, (3, 9), codes if mirrored else None)
    one_set, kinds[:] = set(kinds), []
    rows = np.arange(8, 20, dtype=np.int32)
    hamming.link_sets(codes, codes, 8, [rows, rows] if mirrored else [rows], (3, 9))
    assert set(kinds) == one_set != set()
