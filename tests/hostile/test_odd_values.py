"""Values that no command line and few programs give: each is an answer or an error in words, and no other exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools.shortage import is_short_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NUL = "x\0y"
REFUSED: dict[str, Callable[[str], object]] = {
    "no whole number": lambda place: wt.head(place, 1.5),  # type: ignore[arg-type]
    "a batch of all samples there are": lambda place: wt.loader(place, batch_size=2**63),
    "a place": lambda place: wt.open_dataset(place, at=NUL),
    "a dataset": lambda _: wt.open_dataset(NUL),
    "a source": lambda place: wt.pack(NUL, f"{place}-new"),
    "a source to scan": lambda _: wt.scan(NUL),
    "where to pack": lambda place: wt.pack(f"{place}-source", NUL),
    "where to extract": lambda place: wt.extract(place, NUL),
    "where to mirror": lambda place: wt.mirror(place, NUL),
    "where to pull": lambda place: wt.pull(place, NUL),
    "a state": lambda place: wt.verify(place, resume=True, state=NUL),
}


@pytest.fixture(scope="module", name="place")
def _place(tmp_path_factory: pytest.TempPathFactory) -> str:
    work = tmp_path_factory.mktemp("odd")
    write_files(work / "set-source", {f"{n}.jpg": tiny_jpeg(n) for n in range(3)})
    wt.pack(work / "set-source", work / "set")
    return str(work / "set")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_is_refused_in_words(kind: str, place: str) -> None:
    with pytest.raises(wt.WdsError):
        REFUSED[kind](place)


def test_what_is_more_than_all_is_all(place: str) -> None:
    assert len(wt.head(place, 2**63)) == 3
    with pytest.raises((MemoryError, OSError)) as caught:
        list(wt.loader(place, batch_size=2**53 - 1, image_size=8))
    assert is_short_of_memory(caught.value)


def test_no_sample_is_called_by_half_a_character(place: str, tmp_path: Path) -> None:
    dataset = wt.open_dataset(place)
    assert "\ud800" not in dataset
    with pytest.raises(KeyError):
        dataset["\ud800"]
    assert list(tmp_path.iterdir()) == []
