"""How shards are divided among workers: all of them, in order, and no batch longer than it has to be."""

from __future__ import annotations

from itertools import zip_longest
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wdstools.checks.batch import _BYTES, _FAR, _NEAR, _TASKS_A_WORKER, batches

MB = 1_000_000
LOOKS = st.lists(st.integers(0, 5_000) | st.integers(0, 5_000 * MB), max_size=40).map(
    lambda sizes: [SimpleNamespace(entry=SimpleNamespace(bytes=size)) for size in sizes]
)


@given(LOOKS, st.sampled_from([*sorted(_BYTES), "size"]), st.integers(1, 3), st.booleans())
def test_each_shard_is_in_one_batch_which_ends_where_it_would_be_too_long(
    looks: list[Any], level: str, jobs: int, near: bool
) -> None:
    total = sum(look.entry.bytes for look in looks)
    found = list(batches(looks, level, total=total, jobs=jobs, near=near))
    assert [look for batch in found for look in batch] == looks
    share = total // (_TASKS_A_WORKER * jobs)
    most = min(share, _BYTES[level]) if level in _BYTES else share
    count = _NEAR if near else _FAR
    for batch, following in zip_longest(found, found[1:]):
        size = sum(look.entry.bytes for look in batch)
        assert 1 <= len(batch) <= count
        assert size <= most or len(batch) == 1
        if following:
            assert len(batch) == count or size + following[0].entry.bytes > most


def test_a_large_dataset_keeps_all_workers_at_work() -> None:
    looks = [SimpleNamespace(entry=SimpleNamespace(bytes=100 * MB)) for _ in range(64)]
    for jobs in (1, 2, 4):
        found = list(batches(looks, "size", total=6_400 * MB, jobs=jobs, near=True))  # type: ignore[arg-type]
        assert len(found) == max(_TASKS_A_WORKER * jobs, -(-64 // _NEAR))
