"""How many shards a split gets."""

from __future__ import annotations

import pytest

from wdstools.planning.place import usual_shards


@pytest.mark.parametrize(
    ("samples", "shards"),
    [(0, 0), (1, 1), (1_999, 1), (2_000, 2), (3_999, 3), (4_000, 4), (40_000, 4), (40_001, 5), (800_000, 80)],
)
def test_small_splits_have_shards_for_a_few_workers(samples: int, shards: int) -> None:
    assert usual_shards(samples, None) == shards
    assert usual_shards(samples, 10_000) == -(-samples // 10_000)


def test_more_samples_never_give_fewer_shards() -> None:
    counts = [usual_shards(samples, None) for samples in range(0, 120_000, 37)]
    assert counts == sorted(counts)
