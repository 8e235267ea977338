"""Files of values in the cache: together no more than their share of the disk, and kept again when they were removed."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from typing import TYPE_CHECKING

import numpy as np
import pytest

from wdstools.columns import kept
from wdstools.columns.kept import KeptValues, Place, bytes_of, has_room

if TYPE_CHECKING:
    from pathlib import Path

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024  as shutil has it
ROOT = "a" * 64


@pytest.fixture(name="held")
def _held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where values are kept, on a disk of a million bytes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "wdstools/values"
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: Usage(10**6, 0, 10**6 - sum(p.stat().st_size for p in folder.iterdir()))
    )
    return folder


def test_all_fields_of_a_dataset_together_take_their_share(held: Path) -> None:
    places = [Place(ROOT, str(number) * 64, f"f{number}") for number in range(5)]
    for number, place in enumerate(places):
        assert has_room(100_000, [place])
        assert KeptValues.kept(place, np.zeros(12_000)) is not None
        os.utime(kept._path_of(place), (number, number))
    assert sum(path.stat().st_size for path in held.iterdir()) <= 250_000
    assert {path.name[-5:-3] for path in held.iterdir()} == {"f3", "f4"}  # used last
    assert has_room(200_000, places[3:])  # what is there is a part of them
    assert len(list(held.iterdir())) == 2
    assert not has_room(250_001)


def test_halves_of_the_same_dataset_go(held: Path) -> None:
    assert has_room(1)
    old, new = (held / f"{ROOT}-{'9' * 64}-f.v1.{digit * 16}.making" for digit in "01")
    for half in (old, new):
        half.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert has_room(10, [Place(ROOT, "9" * 64, "f")])
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize("values", [np.zeros((3, 2), np.float32), ["", None, "aä"]])
def test_a_file_is_as_long_as_was_said(held: Path, values: list[str | None]) -> None:
    assert has_room(1)
    assert KeptValues.kept(Place(ROOT, "1" * 64, "f"), values) is not None
    assert [path.stat().st_size for path in held.iterdir()] == [bytes_of(values)]
