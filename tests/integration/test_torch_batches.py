"""Tensors of batches: layouts and dtypes as they were given, on any device, in the hands of frameworks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.streams import SIDE, packed
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools import Dataset

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"), train=16, val=2)


def first(dataset: Dataset, **options: Any) -> Any:
    return next(iter(wt.torch.loader(dataset, **{"batch_size": 4, "shuffle": None, "threads": 2, **options})))


def turned(image: Any) -> Any:
    return image.transpose(2, 0, 1)


LAYOUTS = {
    "channels last": lambda image: image[:10],
    "channels first": lambda image: turned(image[:10]),
    "a tensor": lambda image: torch.from_numpy(turned(image[:10]).copy()),
    "a mirrored view": lambda image: turned(image[:10, ::-1])[..., ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("fit", ["stretch", "list"])
def test_channels_come_first_whatever_a_transform_gave(dataset: Dataset, layout: str, fit: str) -> None:
    usual = first(dataset, fit=fit).images
    images = first(dataset, fit=fit, image_transform=LAYOUTS[layout]).images
    assert len(images) == 4
    for image, expected in zip(images, usual, strict=True):
        assert tuple(image.shape) == (3, 10, SIDE)
        assert torch.equal(image, expected[:, :10])


def test_tensors_of_any_dtype_stay_as_they_are(dataset: Dataset) -> None:
    for dtype in (torch.bfloat16, torch.float16, torch.uint8):
        images = first(dataset, image_transform=lambda image, dtype=dtype: torch.ones(5, 2, 3, dtype=dtype)).images
        assert images.dtype == dtype
        assert tuple(images.shape) == (4, 5, 2, 3)
    with pytest.raises(UsageError, match="numpy has no such dtype"):
        next(iter(wt.loader(dataset, batch_size=4, image_transform=lambda image: torch.ones(2, dtype=torch.bfloat16))))
    arrays = next(iter(wt.loader(dataset, batch_size=4, image_transform=lambda image: torch.ones(2))))
    assert isinstance(arrays.images, np.ndarray)


def test_what_could_be_either_layout_is_refused(dataset: Dataset) -> None:
    with pytest.raises(UsageError) as caught:
        first(dataset, image_transform=lambda image: image[:3, :5])
    assert caught.value.code == "transform-layout"
    assert tuple(first(dataset, image_transform=lambda image: torch.zeros(3, 5, 3)).images.shape) == (4, 3, 5, 3)


def test_torchs_generator_is_seeded_by_position_and_put_back(dataset: Dataset) -> None:
    def noise(**options: Any) -> Any:
        loader = wt.torch.loader(
            dataset, **{"batch_size": 4, "image_transform": lambda image: torch.rand(3), **options}
        )
        return torch.cat([batch.images for batch in loader])

    before = torch.get_rng_state()
    alone = noise(threads=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(alone, noise(threads=3, batch_size=2))
    assert len(set(alone.flatten().tolist())) == 48


def test_a_batch_goes_where_frameworks_send_it(dataset: Dataset) -> None:
    batch = first(dataset, tokenizer=lambda captions: torch.arange(len(captions)))
    moved = batch.to("meta")
    assert type(moved) is type(batch)
    assert moved.images.device.type == moved["tokens"].device.type == "meta"
    assert moved.keys == batch.keys
    half = batch.to(torch.float16)
    assert half.images.dtype == torch.uint8
    assert first(dataset, fit="list").to("meta").images[0].device.type == "meta"
    again = type(batch)(dict(batch.items()))
    assert again.captions == batch.captions
    assert torch.equal(copy.deepcopy(batch).images, batch.images)
    fields = dict(**batch)
    assert next(iter(fields)) == "images"


def test_a_device_is_where_batches_come(dataset: Dataset) -> None:
    assert first(dataset, device="meta").images.device.type == "meta"


def test_misspelt_options_are_told_in_every_entry_point(dataset: Dataset) -> None:
    batched = (wt.torch.loader, wt.torch.StreamDataset, wt.torch.BatchSampler, wt.loader)
    for read, options in [*((one, {"batch_size": 4}) for one in batched), (wt.webdataset, {}), (wt.stream, {})]:
        entry: Any = read
        with pytest.raises(UsageError, match="no option shufle; did you mean shuffle"):
            entry(dataset, shufle=True, **options)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("fit", ["stretch", "list"])
def test_steps_on_images_give_channels_first_in_the_memory_asked_for(dataset: Dataset, layout: Any, fit: str) -> None:
    steps = wt.image.pipeline(wt.image.random_resized_crop((3, 4)), wt.image.normalize(dtype="float16"), layout=layout)
    images = first(dataset, fit=fit, image_transform=steps).images
    assert len(images) == 4
    for image in images:
        assert tuple(image.shape) == (3, 3, 4)
        assert image.dtype == torch.float16
        assert image.is_contiguous() == (layout == "NCHW")
    if fit != "list" and layout == "NHWC":
        assert images.is_contiguous(memory_format=torch.channels_last)


def halves(image: Any) -> Any:
    return torch.from_numpy(turned(image).copy()).to(torch.bfloat16)


@pytest.mark.parametrize("fit", ["stretch", "list"])
def test_tensors_come_back_from_worker_processes_as_they_were(dataset: Dataset, fit: Any) -> None:
    plain = first(dataset, fit=fit, image_transform=halves)
    loader = wt.torch.loader(
        dataset, batch_size=4, shuffle=None, threads=2, fit=fit, image_transform=halves, workers="processes"
    )
    with loader:
        made = next(iter(loader))
        assert len(made.images) == 4
        for one, other in zip(plain.images, made.images, strict=True):
            assert other.dtype == torch.bfloat16
            assert torch.equal(one, other)
        assert torch.equal(plain.labels, made.labels)
