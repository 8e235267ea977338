"""How many shards a split gets."""

from __future__ import annotations

import numpy as np
import pytest

from wdstools.formats.sample import shard_of
from wdstools.planning.place import shards_of, usual_shards


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


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 80, 1000, 65_537, 2**31 - 1])
def test_the_number_of_a_shard_is_exact_at_every_edge(shards: int) -> None:
    firsts = {-(-(number << 64) // shards) for number in {*range(min(shards, 50)), shards // 2, shards - 1}}
    hashes = sorted({max(0, first - 1) for first in firsts} | firsts | {2**64 - 1, 2**32 - 1, 2**32})
    numbers = shards_of(np.array(hashes, np.uint64), shards).tolist()
    assert numbers == [shard_of(each, shards) for each in hashes]
    assert numbers == [each * shards >> 64 for each in hashes]
