"""Trees of rows: what belongs together, and how often all of it is gone through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wdstools.dedup import equal, forest


class _Told(np.ndarray[Any, Any]):
    """Counts how often it is read."""

    reads = 0

    def __getitem__(self, at: Any) -> Any:
        _Told.reads += 1
        return super().__getitem__(at)


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("at_once", [1 << 12, 1 << 7])
def test_a_long_chain_is_flat_after_few_rounds(shuffled: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 1 << 12
    monkeypatch.setattr(forest, "_ROWS_AT_ONCE", at_once)
    parent = np.arange(count, dtype=np.int32).view(_Told)
    rows = np.arange(1, count)
    if shuffled:
        rows = np.random.default_rng(0).permutation(rows)
    _Told.reads = 0
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        forest.unite(parent, some, some - 1)
    forest.flatten(parent)
    assert _Told.reads <= 100 * (count // at_once)
    assert not np.asarray(parent).any()


@pytest.mark.parametrize(("different", "slots"), [(1, 8), (100, 256), (4000, 8192)])
def test_the_table_of_equal_codes_grows_with_those_that_differ(
    different: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = np.random.default_rng(0).integers(0, different, (4000, 1), np.uint64)
    _, first, which = np.unique(codes, return_index=True, return_inverse=True)
    sizes: list[int] = []
    link_equal = equal._link_equal

    def told(*given: Any) -> Any:
        sizes.append(len(given[3][0]))
        return link_equal(*given)

    monkeypatch.setattr(forest, "_MANY", -1)
    monkeypatch.setattr(equal, "_FIRST_SLOTS", 8, raising=False)
    monkeypatch.setattr(equal, "_link_equal", told)
    assert forest.equal_codes(codes).tolist() == first[which.reshape(-1)].tolist()
    assert sizes[-1] == slots
