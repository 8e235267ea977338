"""Listings of very many samples: mapped from a file without a name, and the same table as one that is held."""

from __future__ import annotations

import gc
import os

import numpy as np
import pytest

from wdstools.sources import base
from wdstools.sources.base import SamplesBuilder


def _built() -> SamplesBuilder:
    """Folders of a few samples, some of them with parts that others lack."""
    builder, draw = SamplesBuilder(), np.random.default_rng(0)
    for folder in range(40):
        count = int(draw.integers(1, 9))
        own = {"stem": [f"{folder}_{n}" for n in range(count)], "image_suffix": [(".jpg", ".png")[folder % 2]] * count}
        if folder % 3 == 0:
            own["caption"] = [f"words {n}" if n % 2 else None for n in range(count)]  # type: ignore[misc]
        if folder > 30:
            own["cls"] = list(range(count))  # type: ignore[arg-type]
        shared = {"split": ("train", "val", None)[folder % 3], "label": f"{folder % 4}", "image_dir": f"d{folder}"}
        builder.add(shared, own)
    return builder


@pytest.mark.parametrize("held", [1, 7, 10_000])
def test_a_table_that_is_mapped_is_the_one_that_is_held(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _built().table()
    monkeypatch.setattr(base, "MOST_HELD", held)
    mapped = _built().table()
    assert mapped.schema == whole.schema
    assert mapped.to_pydict() == whole.to_pydict()
    assert mapped.combine_chunks().equals(whole.combine_chunks())


def test_nothing_is_left_of_what_was_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_HELD", 7)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    table = _built().table()
    assert table.num_rows > 0
    del table
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
