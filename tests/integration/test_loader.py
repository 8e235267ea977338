"""Batches: exactly once, exactly resumed, damage named, nothing left behind."""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import wdstools as wt
from tests.support.came import came
from tests.support.streams import SIDE, batch_keys, flip, in_memory, packed
from wdstools.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    import pathlib

    from wdstools import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def fresh(tmp_path: pathlib.Path) -> Dataset:
    return packed(tmp_path, train=30)


def test_a_batch_holds_what_was_packed(dataset: Dataset) -> None:
    for batch in came(wt.loader(dataset, "val", batch_size=4)):
        assert isinstance(batch.images, np.ndarray)
        assert batch.images.shape == (len(batch), SIDE, SIDE, 3)
        assert batch.images.dtype == np.uint8
        assert batch.labels.dtype == np.int64
        assert batch.mask.all()
        for row, key in enumerate(batch.keys):
            sample = dataset[key]
            assert batch.captions[row] == sample["txt"].decode()
            assert batch.labels[row] == int(sample["cls"])
            pixels = np.asarray(Image.open(io.BytesIO(sample["jpg"])).convert("RGB"))
            assert np.array_equal(batch.images[row], pixels)


@pytest.mark.parametrize("shuffle", ["full", "block", None])
@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ranks_together_read_every_sample_once(dataset: Dataset, shuffle: str | None, world_size: int) -> None:
    seen: list[str] = []
    lengths = set()
    for rank in range(world_size):
        batches = list(wt.loader(dataset, batch_size=5, shuffle=shuffle, rank=rank, world_size=world_size))
        lengths.add(len(batches))
        seen += [key for batch in batches for key, own in zip(batch.keys, batch.mask, strict=True) if own]
    assert sorted(seen) == sorted(dataset["train"].keys())
    assert len(lengths) == 1


def test_the_number_of_threads_changes_nothing(dataset: Dataset) -> None:
    assert batch_keys(dataset, threads=1) == batch_keys(dataset, threads=5)


def test_each_for_is_the_next_epoch(dataset: Dataset) -> None:
    loader = wt.loader(dataset, batch_size=8)
    first, second = ([batch.keys for batch in loader] for _ in range(2))
    assert loader.epoch == 2
    assert first != second
    loader.set_epoch(1)
    assert [batch.keys for batch in loader] == second


@pytest.mark.parametrize("shuffle", ["full", "block", None])
def test_two_resumes_in_a_row_on_other_ranks_go_on_exactly(dataset: Dataset, shuffle: str | None) -> None:
    whole = [key for keys in batch_keys(dataset, shuffle=shuffle) for key in keys]
    got: list[str] = []
    state = None
    for batch_size, world_size, steps in ((8, 1, 2), (4, 2, 3), (2, 4, 99)):
        ranks = []
        for rank in range(world_size):
            loader = wt.loader(dataset, batch_size=batch_size, world_size=world_size, rank=rank, shuffle=shuffle)
            if state is not None:
                loader.load_state_dict(json.loads(json.dumps(state)))
            ranks.append(list(itertools.islice(loader, steps)))
            after = loader.state_dict()
        state = after
        for at in range(len(ranks[0])):
            got += [k for rank in ranks for k, own in zip(rank[at].keys, rank[at].mask, strict=True) if own]
    assert got == whole


def test_a_state_counts_what_was_handed_out_not_what_was_decoded_ahead(dataset: Dataset) -> None:
    loader = wt.loader(dataset, batch_size=8)
    keys = []
    for batch in loader:
        keys.append(batch.keys)
        if len(keys) == 3:
            break
    state = loader.state_dict()
    assert state["position"] == 24
    other = wt.loader(dataset, batch_size=8)
    other.load_state_dict(state)
    keys += [batch.keys for batch in other]
    assert keys == batch_keys(dataset)
    assert other.epoch == 1


def test_a_state_of_something_else_is_refused(dataset: Dataset, fresh: Dataset) -> None:
    state = wt.loader(dataset, batch_size=8).state_dict()
    for other in (
        wt.loader(fresh, batch_size=8),
        wt.loader(dataset, "val", batch_size=8),
        wt.loader(dataset, batch_size=8, shuffle="block"),
        wt.loader(dataset, batch_size=8, limit=20),
    ):
        with pytest.raises(UsageError, match="state"):
            other.load_state_dict(state)
    for bad in ({}, None, {**state, "position": -1}, {**state, "position": 61}, {**state, "epoch": "1"}):
        with pytest.raises(UsageError, match="state"):
            wt.loader(dataset, batch_size=8).load_state_dict(bad)  # type: ignore[arg-type]


def test_samples_are_chosen_by_condition_keys_and_limit(dataset: Dataset) -> None:
    oslo = {key for key in dataset["train"].keys() if key.startswith("oslo/")}  # noqa: SIM118
    assert {key for keys in batch_keys(dataset, where="label == 'oslo'") for key in keys} == oslo
    wanted = sorted(oslo)[:5]
    assert sorted(key for keys in batch_keys(dataset, keys=wanted) for key in keys) == wanted
    assert sum(map(len, batch_keys(dataset, limit=13))) == 13
    with pytest.raises(UsageError, match="keys are not in this split"):
        batch_keys(dataset, keys=["oslo/none"])
    with pytest.raises(UsageError, match="no samples to read"):
        batch_keys(dataset, where="label == 'nowhere'")


def test_a_transforms_random_numbers_depend_on_the_position_alone(dataset: Dataset) -> None:
    def noisy(image: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
        return image[:8, :8].astype(np.float32) + random.random(dtype=np.float32)

    def pixels(**options: Any) -> np.ndarray[Any, Any]:
        batches = list(wt.loader(dataset, transform=noisy, **options))
        return np.concatenate([batch.images for batch in batches])

    alone = pixels(batch_size=10, threads=1)
    assert alone.shape == (60, 8, 8, 3)
    assert alone.dtype == np.float32
    assert np.array_equal(alone, pixels(batch_size=7, threads=3))


def test_images_of_several_sizes_need_a_rule(tmp_path: pathlib.Path) -> None:
    dataset = packed(tmp_path, side=None)
    with pytest.raises(UsageError, match="differ in size"):
        batch_keys(dataset)
    own = [batch.images for batch in wt.loader(dataset, batch_size=8, fit="list")]
    assert len({np.shape(image) for images in own for image in images}) > 3
    for fit in ("stretch", "crop", "pad"):
        for batch in wt.loader(dataset, batch_size=8, image_size=(16, 20), fit=fit, decode="gray"):
            assert np.asarray(batch.images).shape[1:] == (16, 20, 1)


def test_a_batch_that_is_kept_is_not_overwritten(dataset: Dataset) -> None:
    kept, copies = [], []
    for batch in wt.loader(dataset, batch_size=4):
        kept.append(np.asarray(batch.images)[1:3])  # a view is enough to keep it
        copies.append(kept[-1].copy())
    assert all(np.array_equal(a, b) for a, b in came(zip(kept, copies, strict=True)))


@pytest.mark.parametrize("shuffle", ["full", "block", None])
def test_a_store_of_objects_gives_the_same_batches(dataset: Dataset, shuffle: str | None) -> None:
    assert batch_keys(in_memory(dataset), shuffle=shuffle) == batch_keys(dataset, shuffle=shuffle)


def test_a_stream_gives_verified_samples(dataset: Dataset, fresh: Dataset) -> None:
    stream = wt.stream(dataset, shuffle=False)
    assert [sample.key for sample in stream] == list(dataset["train"].keys())
    assert len(stream) == 60
    ranks = [wt.stream(dataset, remainder="keep", rank=rank, world_size=7) for rank in range(7)]
    assert sorted(sample.key for rank in ranks for sample in rank) == sorted(dataset["train"].keys())
    assert all(len(list(rank)) == len(rank) for rank in ranks)
    key = flip(fresh, "train", 4)
    with pytest.raises(IntegrityError, match="damaged"):
        list(wt.stream(fresh))
    skipping = wt.stream(fresh, on_damage="skip")
    assert key not in {sample.key for sample in skipping}
    assert skipping.state_dict()["damaged"] == [key]


def test_a_stream_resumes_after_the_last_sample_handed_out(dataset: Dataset) -> None:
    whole = [sample.key for sample in wt.stream(dataset, shuffle="block")]
    first = wt.stream(dataset, shuffle="block")
    got = []
    for sample in first:
        got.append(sample.key)
        if len(got) == 17:
            break
    second = [wt.stream(dataset, shuffle="block", remainder="keep", rank=rank, world_size=2) for rank in range(2)]
    for stream in second:
        stream.load_state_dict(first.state_dict())
    rest = [[sample.key for sample in stream] for stream in second]
    got += [key for pair in zip(rest[0], [*rest[1], ""], strict=False) for key in pair if key]
    assert got == whole


def test_a_dataset_at_another_place_is_read_there(dataset: Dataset, tmp_path: pathlib.Path) -> None:
    moved = replace(in_memory(dataset), metadata=dataset.metadata)
    assert [sample.key for sample in wt.stream(moved, "val")] == list(dataset["val"].keys())


def test_what_is_printed_tells_what_it_is(dataset: Dataset) -> None:
    assert repr(dataset["val"]) == f"Split('val' of {dataset.name!r}: 10 samples in 1 shard)"
    told = repr(wt.loader(dataset, batch_size=8, seed=3, rank=1, world_size=2))
    for part in ("split train", "60 samples", "full shuffle", "seed 3", "epoch 0", "4 batches of 8", "rank 1 of 2"):
        assert part in told
    assert "'train': 60" in repr(dataset)
