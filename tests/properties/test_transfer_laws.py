"""What to fetch: the laws of coalescing, and of shards made of some of another shard's samples."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.damaged_dataset import make_dataset
from wdstools.checks.rebuild import first_difference, rebuild_index
from wdstools.dataset import open_dataset
from wdstools.errors import UsageError
from wdstools.formats.tar import trailer_bytes
from wdstools.transfer.ranges import coalesce, runs
from wdstools.transfer.shape import keep_rows, shape_of
from wdstools.units import parse_size

if TYPE_CHECKING:
    from wdstools.dataset import Dataset

pieces = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 400)), max_size=40)


def laid_out(holes_and_lengths: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    starts, lengths, at = [], [], 0
    for hole, length in holes_and_lengths:
        starts.append(at + hole)
        lengths.append(length)
        at += hole + length
    return starts, lengths


@given(pieces, st.integers(0, 300), st.integers(1, 2000))
def test_every_piece_lies_in_exactly_one_request_and_no_hole_is_wider_than_the_gap(
    laid: list[tuple[int, int]], gap: int, limit: int
) -> None:
    starts, lengths = laid_out(laid)
    requests = list(coalesce(starts, lengths, gap=gap, limit=limit))
    assert [row for request in requests for row in range(request.first, request.last)] == list(range(len(starts)))
    for request in requests:
        rows = range(request.first, request.last)
        assert request.start == starts[rows[0]]
        assert request.end == starts[rows[-1]] + lengths[rows[-1]]
        assert all(starts[b] - starts[a] - lengths[a] <= gap for a, b in pairwise(rows))
        assert request.bytes <= limit or len(rows) == 1
    assert all(a.end <= b.start for a, b in pairwise(requests))
    wide = [b.start - a.end > gap or b.end - a.start > limit or starts[b.first] + lengths[b.first] - a.start > limit
            for a, b in pairwise(requests)]  # fmt: skip
    assert all(wide), "two requests that one could have been"


@given(pieces)
def test_without_a_gap_nothing_is_fetched_that_was_not_asked_for(laid: list[tuple[int, int]]) -> None:
    starts, lengths = laid_out(laid)
    assert sum(request.bytes for request in coalesce(starts, lengths, gap=0)) == sum(lengths)
    for first, last in runs(starts, lengths, 0, len(starts)):
        assert all(starts[a] + lengths[a] == starts[a + 1] for a in range(first, last - 1))


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return open_dataset(str(make_dataset(tmp_path_factory.mktemp("shapes"), train=20)))


@given(chosen=st.lists(st.booleans(), min_size=40, max_size=40))
def test_a_shard_made_of_some_groups_of_another_has_the_index_that_was_foretold(
    dataset: Dataset, chosen: list[bool]
) -> None:
    for split, entry in came(dataset.manifest.shards):
        table = dataset.index(entry)
        rows = np.array(chosen[: table.num_rows], bool)
        shape, index = shape_of(table, rows), keep_rows(table, rows)
        data = dataset.shards.get(entry.path)
        made = b"".join(data[start : start + length] for start, length in zip(shape.source, shape.length, strict=True))
        assert shape.end == len(made)
        made += bytes(trailer_bytes(len(made)))
        assert shape.size == len(made)
        labels = dataset.manifest.labels
        rebuilt = rebuild_index([made], path=entry.path, split=split, labels=labels, authenticated=True)
        assert rebuilt.stream.findings == []
        assert first_difference(rebuilt.table, index) is None
        assert shape_of(index).target == shape.target


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("65536", 65536), ("64KiB", 65536), ("64k", 64_000), ("1 MB", 10**6), ("2gib", 2 << 30), ("7B", 7)],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text, "--gap") == size


@pytest.mark.parametrize("text", ["", "x", "1.5M", "-1", "1TB", "KiB", "9" * 16])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text, "--gap")
