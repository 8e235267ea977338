"""Epochs, however a framework drives a loader: each holds every sample, and nothing of it is lost or read twice."""

from __future__ import annotations

import itertools
import pathlib
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wdstools as wt
from tests.support.streams import decoding_threads, packed
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools import Dataset

_KINDS = ("loader", "stream")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"))


def opened(dataset: Dataset, kind: str, **options: Any) -> Any:
    return wt.loader(dataset, **{"batch_size": 12, **options}) if kind == "loader" else wt.stream(dataset, **options)


def keys(items: Any) -> list[str]:
    return [key for item in items for key in ([item.key] if isinstance(item, wt.Sample) else item.keys)]


@pytest.mark.parametrize("kind", _KINDS)
def test_a_loop_that_stops_after_len_has_every_epoch_whole(dataset: Dataset, kind: str) -> None:
    reader, other = (opened(dataset, kind) for _ in range(2))
    assert len(reader) == (5 if kind == "loader" else 60)
    for _ in range(4):
        stopped = keys(item for _, item in zip(range(len(reader)), reader, strict=False))
        assert sorted(stopped) == sorted(dataset["train"].keys())
        assert stopped == keys(other)
        assert not decoding_threads()
    assert reader.epoch == other.epoch == 4


@pytest.mark.parametrize("kind", _KINDS)
def test_leaving_a_loop_skips_the_rest_of_its_epoch(dataset: Dataset, kind: str) -> None:
    reader, epochs = opened(dataset, kind), opened(dataset, kind)
    first, second, third = (keys(epochs) for _ in range(3))
    assert keys(itertools.islice(reader, 2)) == first[: 24 if kind == "loader" else 2]
    assert keys(itertools.islice(reader, 1)) == second[: 12 if kind == "loader" else 1]
    assert keys(reader) == third


@pytest.mark.parametrize("kind", _KINDS)
def test_an_iterator_that_gave_nothing_costs_no_epoch(dataset: Dataset, kind: str) -> None:
    reader = opened(dataset, kind)
    iter(reader)
    iter(reader)
    assert keys(reader) == keys(opened(dataset, kind))


@pytest.mark.parametrize("kind", _KINDS)
def test_only_a_restored_state_goes_on_in_the_middle(dataset: Dataset, kind: str) -> None:
    epochs = opened(dataset, kind)
    first, second = keys(epochs), keys(epochs)
    reader = opened(dataset, kind)
    begun = keys(itertools.islice(reader, 3))
    state = pickle.loads(pickle.dumps(reader.state_dict()))  # noqa: S301
    for _ in range(2):
        reader.load_state_dict(state)
        assert len(reader) == len(epochs)
        assert reader.remaining == len(reader) - 3
        assert begun + keys(reader) == first
        assert keys(reader) == second


@pytest.mark.parametrize("kind", _KINDS)
def test_a_state_of_the_last_batch_is_the_beginning_of_the_next_epoch(dataset: Dataset, kind: str) -> None:
    reader, other = opened(dataset, kind), opened(dataset, kind)
    for _, _item in zip(range(len(reader)), reader, strict=False):
        state = reader.state_dict()
    other.load_state_dict(state)
    assert (state["epoch"], state["position"]) == (1, 0)
    assert keys(other) == keys(reader)


@pytest.mark.parametrize("kind", _KINDS)
def test_what_is_left_is_told_and_the_length_stays(dataset: Dataset, kind: str) -> None:
    reader = opened(dataset, kind)
    whole = reader.remaining
    assert whole == len(reader)
    for number, _ in enumerate(reader):
        assert reader.remaining == whole - number - 1
        assert len(reader) == whole
    assert reader.remaining == whole


@pytest.mark.parametrize("kind", _KINDS)
def test_the_first_of_two_iterators_raises(dataset: Dataset, kind: str) -> None:
    reader = opened(dataset, kind)
    first: Iterator[Any] = iter(reader)
    next(first)
    second = iter(reader)
    next(second)
    with pytest.raises(UsageError, match="no longer"):
        next(first)
    assert len(list(second)) == len(reader) - 1
    with pytest.raises(UsageError, match="no longer"):
        for _ in zip(reader, reader, strict=True):
            pass


@settings(max_examples=30, deadline=None)
@given(stops=st.lists(st.integers(0, 6), min_size=1, max_size=6), world_size=st.integers(1, 3))
def test_each_pass_is_a_beginning_of_an_epoch_of_its_own(stops: list[int], world_size: int) -> None:
    dataset = _small()
    readers = [wt.loader(dataset, batch_size=4, rank=rank, world_size=world_size) for rank in range(world_size)]
    for stop in stops:
        passes = [list(itertools.islice(reader, stop)) for reader in readers]
        seen = [k for one in passes for b in one for k, own in zip(b.keys, b.mask, strict=True) if own]
        assert len(seen) == len(set(seen)) == min(20, 4 * world_size * stop)
        assert len({reader.epoch for reader in readers}) == 1


_SMALL: list[Dataset] = []


def _small() -> Dataset:
    if not _SMALL:
        import tempfile

        _SMALL.append(packed(pathlib.Path(tempfile.mkdtemp(prefix="wdstools-epochs-")), train=20, val=0))
    return _SMALL[0]


def test_ranks_are_found_where_they_are_told(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = wt.loader(dataset, batch_size=5)
    assert "rank 0 of 1" in repr(loader)
    assert len(loader) == 12
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    # a loader that was made before this was known shares out all the same
    assert len(loader) == 6
    assert "rank 1 of 2 (RANK and WORLD_SIZE)" in repr(loader)
    assert "rank 1 of 2" in repr(wt.stream(dataset))
    assert "rank 0 of 1 (rank and world_size were given)" in repr(
        wt.loader(dataset, batch_size=5, rank=0, world_size=1)
    )
    ours = keys(loader)
    monkeypatch.setenv("RANK", "0")
    assert sorted(ours + keys(wt.loader(dataset, batch_size=5))) == sorted(dataset["train"].keys())
    assert len(list(dataset["train"])) == 60


def test_a_global_batch_is_divided_by_the_ranks_there_are(dataset: Dataset) -> None:
    whole = [batch.keys for batch in wt.loader(dataset, global_batch_size=12)]
    ranks = [wt.loader(dataset, global_batch_size=12, rank=rank, world_size=3) for rank in range(3)]
    assert [
        list(itertools.chain(*parts)) for parts in zip(*([b.keys for b in rank] for rank in ranks), strict=True)
    ] == whole
    for bad in ({"global_batch_size": 10, "rank": 0, "world_size": 3}, {"global_batch_size": 12, "batch_size": 4}, {}):
        with pytest.raises(UsageError, match="batch"):
            wt.loader(dataset, **bad)  # type: ignore[arg-type]


def test_the_defaults_are_those_of_training_for_train_alone(dataset: Dataset) -> None:
    for kind in _KINDS:
        assert keys(opened(dataset, kind)) == keys(opened(dataset, kind, shuffle=True))
        assert keys(opened(dataset, kind, split="val")) == list(dataset["val"].keys())
        assert keys(opened(dataset, kind, shuffle=False)) == list(dataset["train"].keys())
    assert keys(wt.loader(pathlib.Path(dataset.shards.url), batch_size=12)) == keys(opened(dataset, "loader"))
    lengths = {len(wt.stream(dataset, rank=rank, world_size=7)) for rank in range(7)}
    assert lengths == {9}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"shufle": "full"}, "no option shufle; did you mean shuffle?"),
        ({"image_sise": 3}, "did you mean image_size?"),
        ({"num_workers": 4}, "threads"),
        ({"drop_last": True}, 'remainder="drop"'),
        ({"prefetch_factor": 2}, "prefetch=4"),
        ({"collate_fn": list}, "transform="),
        ({"pin_memory": True}, "pin"),
        ({"batch_sampler": None}, "BatchSampler"),
        ({"seed": "x"}, "whole number"),
        ({"batch_size": True}, "whole number"),
        ({"keys": "oslo/1"}, "list"),
        ({"transform": 3}, "function"),
        ({"rank": 1}, "go together"),
        ({"world_size": 2}, "go together"),
        ({"caption": "second"}, "first, random"),
        ({"members": ("jpg", "gpj")}, "no member gpj"),
        ({"labels": ("a", "a")}, "twice"),
        ({"image_size": (3, 4, 5)}, "height, width"),
    ],
)
def test_options_that_are_none_are_answered_with_the_name_here(
    dataset: Dataset, option: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        wt.loader(dataset, **{"batch_size": 8, **option})
    assert says in str(caught.value)
