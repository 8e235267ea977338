"""The order of epochs: a permutation, dealt out exactly once, whatever the number of ranks and wherever it stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.laws import SHORT_LAW
from wdstools.errors import UsageError
from wdstools.reader.order import ORDER_VERSION, Order, Permutation, Sharing, mixing_score

#: Whatever changes these is another ORDER_VERSION.
GOLDEN = {
    "full": [4, 5, 3, 2, 7, 6, 9, 1, 0, 8],
    "full, seed 7, epoch 3": [7, 2, 3, 0, 9, 5, 6, 8, 1, 4],
    "block": [13, 17, 12, 16, 14, 15, 11, 10, 6, 8, 9, 7, 0, 1, 18, 2, 19, 3, 5, 4],
    "one more than a power of two": [59, 21, 9],
    "million": [929810, 57365, 299017, 601745],
    "trillion": [514032038642, 737958080400],
}


def orders_of(*shuffles: str | None) -> st.SearchStrategy[Order]:
    return st.builds(
        Order,
        count=st.integers(1, 400),
        seed=st.integers(0, 2**64 - 1),
        epoch=st.integers(0, 5),
        shuffle=st.sampled_from(shuffles),
        block_samples=st.integers(1, 40),
        window_blocks=st.integers(2, 9),
    )


orders = orders_of("full", "block", None)


@settings(deadline=None)
@given(orders)
def test_every_sample_stands_at_exactly_one_position(order: Order) -> None:
    assert sorted(order.rows(0, order.count).tolist()) == list(range(order.count))


@settings(deadline=None)
@given(orders, st.integers(0, 700), st.integers(0, 700))
def test_any_part_of_an_order_is_that_part_of_the_whole(order: Order, start: int, length: int) -> None:
    whole = order.rows(0, order.count).tolist()
    assert order.rows(start, start + length).tolist() == whole[start : start + length]


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
def test_the_inverse_of_a_permutation_gives_positions_back(count: int, key: int) -> None:
    positions = np.arange(count)
    permutation = Permutation(count, key)
    assert permutation.inverse(permutation.at(positions)).tolist() == positions.tolist()


def test_orders_are_these_for_ever() -> None:
    assert ORDER_VERSION == 1  # of another version, no saved state could be taken up again
    assert Order(10, seed=0, epoch=0).rows(0, 10).tolist() == GOLDEN["full"]
    assert Order(10, seed=7, epoch=3).rows(0, 10).tolist() == GOLDEN["full, seed 7, epoch 3"]
    blocks = Order(20, 0, 0, "block", block_samples=3, window_blocks=2)
    assert blocks.rows(0, 20).tolist() == GOLDEN["block"]
    assert Order(65).rows(62, 65).tolist() == GOLDEN["one more than a power of two"]
    assert Order(1_000_000).rows(999_996, 1_000_000).tolist() == GOLDEN["million"]
    assert Order(10**12, seed=2**64 - 1).rows(5, 7).tolist() == GOLDEN["trillion"]


def _mix_of(number: int) -> int:
    """``mix`` of docs/training/order.md."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        number = (number ^ number >> shift) * factor % 2**64
    return number


def _number_at(position: int, count: int, key: int) -> int:
    """What a permutation has at a position, as docs/training/order.md says, number by number."""
    bits = max(6, (count - 1).bit_length())
    low_bits, high_bits = bits // 2, bits - bits // 2
    while True:
        low, high = position % 2**low_bits, position >> low_bits
        for number in range(10):
            round_key = _mix_of((key + (number + 1) * 0x9E3779B97F4A7C15) % 2**64)
            if number % 2:
                high ^= _mix_of((low + round_key) % 2**64) >> 64 - high_bits
            else:
                low ^= _mix_of((high + round_key) % 2**64) >> 64 - low_bits
        position = high << low_bits | low
        if position < count:
            return position


@SHORT_LAW
@given(st.sampled_from([1, 2, 63, 64, 65, 129, 1000, 2**14 + 1, 2**33]), st.integers(0, 2**64 - 1))
@example(2**62 + 1, 1)
def test_a_permutation_is_that_of_its_description(count: int, key: int) -> None:
    positions = sorted({0, count // 3, count // 2, count - 1})
    expected = [_number_at(position, count, key) for position in positions]
    assert Permutation(count, key).at(np.array(positions)).tolist() == expected
    assert Permutation(count, key).inverse(np.array(expected)).tolist() == positions


def test_small_permutations_are_equally_likely() -> None:
    found: dict[tuple[int, ...], int] = {}
    for seed in range(1200):
        order = tuple(Order(4, seed).rows(0, 4).tolist())
        found[order] = found.get(order, 0) + 1
    chi_squared = sum((count - 50) ** 2 / 50 for count in found.values())
    assert len(found) == 24
    assert chi_squared < 50  # 23 degrees of freedom: 1 in 1000 by chance; seeds are fixed


def test_another_seed_or_epoch_is_another_order() -> None:
    orders = [Order(100, seed, epoch, how) for seed in (0, 1) for epoch in (0, 1) for how in ("full", "block")]
    assert len({tuple(order.rows(0, 100).tolist()) for order in orders}) == len(orders)


@settings(deadline=None)
@given(orders_of("block"))
def test_a_block_order_keeps_to_its_window(order: Order) -> None:
    window = order.block_samples * order.window_blocks
    rows = order.rows(0, order.count)
    for block in came(np.unique(rows // order.block_samples).tolist()):
        places = np.flatnonzero(rows // order.block_samples == block)
        assert places.max() - places.min() < window


def test_a_lone_reader_gets_all() -> None:
    alone = Sharing(10, 3)
    assert (alone.batches(), alone.batches(9), alone.batches(10)) == (4, 1, 0)
    parts = [alone.part(position) for position in (0, 3, 6, 9)]
    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]


@st.composite
def sharings(draw: st.DrawFn) -> tuple[int, int, int, str, int]:
    """Count, batch size, world size, remainder, where to begin."""
    count = draw(st.integers(1, 200))
    parts = (draw(st.integers(1, 20)), draw(st.integers(1, 9)), draw(st.sampled_from(["drop", "pad", "keep"])))
    return count, *parts, draw(st.integers(0, count))


def _dealt(
    count: int, batch_size: int, world_size: int, remainder: str, start: int
) -> list[list[tuple[list[int], list[int]]]]:
    ranks = []
    for rank in range(world_size):
        sharing = Sharing(count, batch_size, rank, world_size, remainder)
        position, got = start, []
        for _ in range(sharing.batches(start)):
            part = sharing.part(position)
            got.append((list(range(part.start, part.stop)), list(part.again)))
            assert all(position <= again < part.after for again in part.again)
            assert part.padding == len(part.again)
            position = part.after
        ranks.append(got)
    return ranks


@given(sharings())
@example((5, 2, 4, "pad", 0))
@settings(max_examples=300, deadline=None)
def test_ranks_together_get_every_position_once(given: tuple[int, int, int, str, int]) -> None:
    count, batch_size, world_size, remainder, start = given
    ranks = _dealt(*given)
    positions = sorted(position for rank in ranks for batch, _ in rank for position in batch)
    whole = batch_size * world_size
    last = start + (count - start) // whole * whole if remainder == "drop" else count
    assert positions == list(range(start, last))
    sizes = [[len(batch) + len(again) for batch, again in rank] for rank in ranks]
    if remainder == "pad" and (left := (count - start) % whole):
        # what fills the last batch up goes round its samples
        dealt = [position for rank in ranks for position in (*rank[-1][0], *rank[-1][1])]
        assert dealt == [count - left + at % left for at in range(-(-left // world_size) * world_size)]
    if remainder != "keep":
        assert all(size == sizes[0] for size in sizes)
    assert all(0 < size <= batch_size for rank in sizes for size in rank)


@settings(max_examples=200, deadline=None)
@given(sharings(), st.integers(1, 5), st.integers(0, 4))
def test_the_workers_of_a_rank_take_its_batches_in_turn(
    given: tuple[int, int, int, str, int], workers: int, stop: int
) -> None:
    count, batch_size, world_size, remainder, start = given
    rank = world_size - 1
    alone = Sharing(count, batch_size, rank, world_size, remainder)
    position, expected = start, []
    for _ in range(alone.batches(start)):
        part = alone.part(position)
        expected.append((part.start, part.stop, part.again))
        position = part.after
    shares = [Sharing(count, batch_size, rank, world_size, remainder, worker, workers) for worker in range(workers)]
    taken = []
    for worker, sharing in enumerate(shares):
        position = start
        for number in range(sharing.batches(start)):
            part = sharing.part(position)
            taken.append((number * workers + worker, (part.start, part.stop, part.again)))
            position = part.after
            # where it stopped, it goes on with the rest
            assert number < stop or sharing.batches(position) == sharing.batches(start) - number - 1
    assert [part for _, part in sorted(taken)] == expected


@settings(deadline=None)
@given(st.integers(1, 300), st.sampled_from([(8, 1), (4, 2), (2, 4), (1, 8)]), st.integers(0, 20))
def test_global_batches_do_not_depend_on_the_number_of_ranks(count: int, split: tuple[int, int], step: int) -> None:
    start = min(step * 8, count)
    ranks = _dealt(count, *split, "keep", start)
    steps = max(map(len, ranks))
    joined = [[p for rank in ranks if at < len(rank) for p in rank[at][0]] for at in range(steps)]
    alone = [batch for batch, _ in _dealt(count, 8, 1, "keep", start)[0]]
    assert joined == alone


def test_mixing_is_nothing_without_shuffling_and_all_with_a_permutation() -> None:
    scores = [mixing_score(Order(20_000, shuffle="block", window_blocks=window), 64) for window in (1, 4, 32)]
    assert mixing_score(Order(20_000, shuffle=None), 64) < 0.01
    assert scores == sorted(scores)
    assert 0.9 < scores[-1] < 1
    assert mixing_score(Order(20_000), 64) > 0.97
    usual = Order(20_000, shuffle="block")
    assert usual == Order(20_000, shuffle="block", block_samples=64, window_blocks=32)
    assert mixing_score(usual, 64) == mixing_score(usual, 64, 64) != mixing_score(usual, 64, 65)
    assert mixing_score(Order(1), 64) == 1
    assert mixing_score(Order(50), 64) == mixing_score(Order(50, shuffle=None), 50, 1) == 1
    assert mixing_score(Order(9), 2, 1) == min(1.0, abs(int(np.diff(Order(9).rows(0, 2))[0])) / (10 / 3))


@pytest.mark.parametrize(
    ("name", "bad"), [("shuffle", "yes"), ("seed", -1), ("epoch", 2**64), ("block_samples", 0), ("window_blocks", 0)]
)
def test_orders_refuse_what_is_none(name: str, bad: object) -> None:
    with pytest.raises(UsageError) as caught:
        Order(**{"count": 3, name: bad})  # type: ignore[arg-type]
    assert (caught.value.where, caught.value.got) == (name, str(bad))


@pytest.mark.parametrize("bad", [{"rank": 2}, {"rank": -1}, {"world_size": 0}, {"batch_size": 0}, {"remainder": "x"}])
def test_sharings_refuse_what_is_none(bad: dict[str, int | str]) -> None:
    with pytest.raises(UsageError) as caught:
        Sharing(**{"count": 3, "batch_size": 1, "world_size": 2, **bad})  # type: ignore[arg-type]
    assert [(caught.value.where, caught.value.got)] == [(name, str(value)) for name, value in bad.items()]
