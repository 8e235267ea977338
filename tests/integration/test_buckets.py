"""Batches of one shape: every sample once, in the shape nearest to its own, on any number of ranks."""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import wdstools as wt
from tests.support.came import came
from tests.support.streams import in_memory, of_many_aspects, packed
from wdstools.errors import UsageError
from wdstools.images.resize import fit_box

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools import Dataset

BUCKETS = wt.aspect_buckets(32 * 32, step=8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return of_many_aspects(tmp_path_factory.mktemp("shapes"))


def loader(dataset: Any, **options: Any) -> Any:
    return wt.loader(dataset, **{"batch_size": 4, "buckets": BUCKETS, "threads": 2, **options})


def own_keys(batches: Any) -> list[str]:
    return [key for batch in batches for key, counts in zip(batch.keys, batch.mask, strict=True) if counts]


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(64, 2048), st.sampled_from([8, 32, 64]))
@settings(deadline=None, max_examples=100)
def test_each_image_has_the_shape_whose_aspect_is_nearest(width: int, height: int, side: int, step: int) -> None:
    buckets = wt.aspect_buckets(side * side, step=step)
    chosen = int(buckets.of(np.array([[width, height]], np.int32))[0])
    off = [abs(np.log(width / height) - np.log(w / h)) for h, w in buckets.shapes]
    assert off[chosen] <= min(off) + 1e-9
    for h, w in buckets.shapes:
        assert h % step == w % step == 0
        assert h * w <= side * side
        assert max(h, w) <= 4 * min(h, w)
    assert {(w, h) for h, w in buckets.shapes} == set(buckets.shapes)


def test_shapes_are_those_of_the_field() -> None:
    known = {(1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216), (1344, 768), (768, 1344)}
    assert known <= set(wt.aspect_buckets(1024 * 1024, step=64, max_aspect=2).shapes)


def test_each_batch_is_of_one_shape_and_each_image_fitted_to_it(dataset: Dataset) -> None:
    for batch in came(wt.loader(dataset, "val", batch_size=4, buckets=BUCKETS)):
        images: Any = batch.images
        for key, image in came(zip(batch.keys, images, strict=True)):
            pixels = np.asarray(Image.open(io.BytesIO(dataset[key]["jpg"])))
            number = int(BUCKETS.of(np.array([pixels.shape[1::-1]], np.int32))[0])
            assert image.shape[:2] == BUCKETS.shapes[number]
            assert np.array_equal(image, fit_box(pixels, image.shape[1], image.shape[0], "crop"))


@pytest.mark.parametrize("remainder", ["pad", "drop", "keep"])
@pytest.mark.parametrize("world_size", [1, 3])
def test_what_was_printed_before_is_what_comes(dataset: Dataset, remainder: Any, world_size: int) -> None:
    options = {"remainder": remainder, "world_size": world_size}
    readers = [loader(dataset, rank=rank, **options) for rank in range(world_size)]
    reports = [reader.buckets for reader in readers]
    ranks = [list(reader) for reader in readers]
    seen = own_keys(batch for rank in ranks for batch in rank)
    assert len(seen) == len(set(seen)) == 60 - sum(bucket.left_out for bucket in reports[0])
    for reader, report, batches in zip(readers, reports, ranks, strict=True):
        assert len(reader) == len(batches) == sum(bucket.batches for bucket in report)
        shapes = Counter(batch.images.shape[1:3] for batch in batches)
        assert shapes == {(b.height, b.width): b.batches for b in report if b.batches}
    assert sum(bucket.samples for bucket in reports[0]) == 60
    masked = sum(int((~batch.mask).sum()) for rank in ranks for batch in rank)
    assert masked == sum(bucket.padding for bucket in reports[0])
    if remainder != "keep":
        assert len({tuple(batch.images.shape for batch in rank) for rank in ranks}) == 1
    text = str(reports[0])
    assert all(f"{bucket.samples:,}" in text for bucket in reports[0])
    assert "left out" in text


def test_each_epoch_has_another_order_and_every_sample(dataset: Dataset) -> None:
    reader = loader(dataset)
    epochs = [own_keys(reader) for _ in range(3)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(dataset["train"].keys())] * 3
    assert len(set(map(tuple, epochs))) == 3
    assert own_keys(loader(dataset, threads=5)) == epochs[0]
    assert own_keys(loader(in_memory(dataset))) == epochs[0]


def test_two_resumes_in_a_row_on_other_ranks_go_on_exactly(dataset: Dataset) -> None:
    expected = [sorted(own_keys([batch])) for batch in loader(dataset, batch_size=8)]
    got: list[list[str]] = []
    state = None
    for batch_size, world_size, steps in ((8, 1, 2), (4, 2, 3), (2, 4, 99)):
        ranks = []
        for rank in range(world_size):
            reader = loader(dataset, batch_size=batch_size, world_size=world_size, rank=rank)
            if state is not None:
                reader.load_state_dict(json.loads(json.dumps(state)))
            ranks.append(list(itertools.islice(reader, steps)))
            after = reader.state_dict()
        state = after
        got += [sorted(own_keys(batches)) for batches in zip(*ranks, strict=True)]
    assert got == expected


def test_with_another_batch_size_every_sample_still_comes_once(dataset: Dataset) -> None:
    first, second = loader(dataset, batch_size=3), loader(dataset, batch_size=5)
    begun = own_keys(itertools.islice(first, 7))
    state = first.state_dict()
    assert sum(state["taken"]) == state["position"] == len(begun)
    second.load_state_dict(state)
    assert second.remaining < len(second)
    assert sorted(begun + own_keys(second)) == sorted(dataset["train"].keys())
    odd: list[Any] = [{**state, "taken": [99] * len(state["taken"])}, {**state, "taken": [1]}, {**state, "taken": None}]
    for bad in odd:
        with pytest.raises(UsageError, match="damaged"):
            loader(dataset).load_state_dict(bad)
    with pytest.raises(UsageError, match="other options"):
        wt.loader(dataset, batch_size=4, fit="list").load_state_dict(state)


@pytest.mark.parametrize("per_batch", ["mixed", "homogeneous"])
def test_two_datasets_mixed_have_batches_of_one_shape(dataset: Dataset, tmp_path: Path, per_batch: Any) -> None:
    other = packed(tmp_path, train=21, side=None)
    sources = {"shapes": wt.source(dataset, weight=0.75, where="width > 30"), "tiny": wt.source(other, weight=0.25)}
    mix = wt.mix(sources, stop="all", per_batch=per_batch)
    reader = loader(mix)
    batches = list(reader)
    rows = Counter(row for batch in batches for row in zip(batch.sources, batch.keys, strict=True))
    assert len(batches) > 10
    if per_batch == "homogeneous":
        assert {len(set(batch.sources)) for batch in batches} == {1}
    else:
        assert {len(set(batch.sources)) for batch in batches} == {1, 2}
    plain = wt.loader(mix, batch_size=4, decode="bytes")
    assert rows == Counter(row for batch in plain for row in zip(batch.sources, batch.keys, strict=True))
    begun = loader(mix)
    for _ in itertools.islice(begun, 5):
        pass
    ranks = [loader(mix, batch_size=2, rank=rank, world_size=2) for rank in range(2)]
    rest = []
    for rank in ranks:
        rank.load_state_dict(begun.state_dict())
        rest.append(list(rank))
    got = [sorted(first.keys + second.keys) for first, second in zip(*rest, strict=True)]
    assert [set(keys) for keys in got] == [set(batch.keys) for batch in batches[5:]]


def test_memory_of_batches_is_used_again_across_shapes(dataset: Dataset) -> None:
    kept, copies = [], []
    for batch in loader(dataset):
        kept.append(batch.images[1:3])
        copies.append(kept[-1].copy())
    assert all(np.array_equal(a, b) for a, b in came(zip(kept, copies, strict=True)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_size": 32}, "image_size cannot be combined with them"),
        ({"fit": "pad"}, "fit cannot be combined with them"),
        ({"decode": "bytes"}, "images that are not decoded cannot be resized or transformed"),
        ({"buckets": 512}, "not a valid value for this option"),
    ],
)
def test_options_that_do_not_fit_buckets_are_refused(dataset: Dataset, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        loader(dataset, **options)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    "crop",
    [wt.image.random_resized_crop(16, scale=(0.5, 1)), wt.image.resize_crop(16), wt.image.resize_crop(8, resize=9)],
)
def test_fused_steps_give_each_batch_the_shape_of_its_bucket(dataset: Dataset, crop: Any, layout: Any) -> None:
    steps = wt.image.pipeline(crop, wt.image.flip(), wt.image.normalize(), layout=layout)
    made, seen = loader(dataset, image_transform=steps, remainder="keep", seed=5), []
    shapes = set()
    for batch in came(made):
        sides = batch.images.shape[1:3] if layout == "NHWC" else batch.images.shape[2:]
        assert sides in BUCKETS.shapes
        assert batch.images.dtype == np.float32
        assert np.isfinite(batch.images).all()
        shapes.add(sides)
        seen += own_keys([batch])
    assert len(shapes) > 1
    assert sorted(seen) == sorted(dataset.split("train").keys())
    again = [
        batch.images.copy()
        for batch in came(loader(dataset, image_transform=steps, remainder="keep", seed=5, threads=1))
    ]
    once = [batch.images.copy() for batch in came(loader(dataset, image_transform=steps, remainder="keep", seed=5))]
    assert all(np.array_equal(a, b) for a, b in came(zip(again, once, strict=True)))


@given(st.integers(1, 4000), st.integers(1, 4000), st.sampled_from(BUCKETS.shapes), st.sampled_from([16, 24]))
def test_a_crop_at_a_shape_lies_in_the_image_and_has_its_aspect(
    height: int, width: int, shape: tuple[int, int], resize: int
) -> None:
    box = wt.image.resize_crop(16, resize=resize).at(shape).box(height, width, np.zeros(40))
    tall, wide = box.bottom - box.top, box.right - box.left
    assert -1e-6 <= box.top <= box.bottom <= height + 1e-6
    assert -1e-6 <= box.left <= box.right <= width + 1e-6
    assert np.isclose(wide / tall, shape[1] / shape[0])
    assert np.isclose(max(tall / height, wide / width), 16 / resize)
    drawn = np.random.default_rng(height).random(40)
    part = wt.image.random_resized_crop(16, ratio=(1, 1)).at(shape).box(height, width, drawn)
    assert 0 <= part.top < part.bottom <= height
    assert 0 <= part.left < part.right <= width


def test_shapes_that_are_none_are_refused() -> None:
    options: Any
    for options in ({"area": 0}, {"area": 100, "step": 64}, {"area": 512.0}, {"area": 99, "max_aspect": 0.5}):
        with pytest.raises(UsageError):
            wt.aspect_buckets(**options)
    with pytest.raises(UsageError, match="fit"):
        wt.aspect_buckets(512 * 512, fit="zoom")  # type: ignore[arg-type]
