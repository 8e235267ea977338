"""Steps on images that the loader does while it decodes: what they are, that chance is of the position, and what is refused."""

from __future__ import annotations

import io
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import wdstools as wt
from tests.support.came import came
from tests.support.foreign_tars import tar_bytes
from tests.support.pictures import noise
from tests.support.streams import SIDE, flip, packed
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools import Dataset

ANY: Any = "another"
CROP = wt.image.random_resized_crop(16)
STEPS = (CROP, wt.image.flip(), wt.image.normalize(*wt.image.CLIP))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures of 24x24."""
    return packed(tmp_path_factory.mktemp("small"), train=30, val=4)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Pictures of several sizes and types, up to 640x480."""
    folder = tmp_path_factory.mktemp("large")
    members: list[tuple[str, bytes]] = []
    for number, (image_type, mode) in enumerate((("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK")) * 3):
        sink = io.BytesIO()
        sides = (640, 480) if number % 2 else (320, 500)
        soft = Image.fromarray(noise(40, 30, seed=number)).resize(sides, Image.Resampling.BICUBIC)
        soft.convert(mode).save(sink, image_type, quality=90, progressive=number > 5)
        members += [(f"{number:03}.jpg", sink.getvalue()), (f"{number:03}.txt", b"caption")]
    (folder / "train-000000.tar").write_bytes(tar_bytes(members))
    wt.adopt(str(folder))
    return wt.open_dataset(str(folder))


def images(dataset: Dataset, steps: Any, **options: Any) -> list[Any]:
    loader = wt.loader(dataset, **{"batch_size": 4, "image_transform": steps, "remainder": "keep", **options})
    return list(came(row for batch in loader for row in batch.images))


def test_chance_is_of_the_position_on_any_number_of_threads(dataset: Dataset) -> None:
    steps = wt.image.pipeline(*STEPS)
    alone = images(dataset, steps, threads=1)
    assert len(alone) == 30
    assert alone[0].shape == (16, 16, 3)
    assert alone[0].dtype == np.float32
    for options in ({"threads": 5}, {"threads": 2, "batch_size": 7}, {"fit": "list"}):
        again = images(dataset, pickle.loads(pickle.dumps(steps)), **options)  # noqa: S301
        assert all(np.array_equal(a, b) for a, b in zip(alone, again, strict=True))
    assert not np.array_equal(alone[0], images(dataset, steps, seed=1)[0])


def test_a_loader_gives_what_the_steps_make_of_each_image(dataset: Dataset) -> None:
    from wdstools.reader.transforms import Draws

    steps = wt.image.pipeline(*STEPS, exact=True)
    plain = [row for batch in wt.loader(dataset, batch_size=5) for row in batch.images]
    draws = Draws(0, 0)
    for position, (image, made) in enumerate(came(zip(plain, images(dataset, steps), strict=True))):
        assert np.array_equal(made, steps(image, draws.at(position)))


@pytest.mark.parametrize("dtype", ["float16", "float32", None])
def test_layouts_hold_the_same(dataset: Dataset, dtype: Any) -> None:
    steps = STEPS[:2] if dtype is None else (*STEPS[:2], wt.image.normalize(dtype=dtype))
    last = images(dataset, wt.image.pipeline(*steps))
    first = images(dataset, wt.image.pipeline(*steps, layout="NCHW"))
    assert first[0].shape == (3, 16, 16)
    assert first[0].dtype == np.dtype(dtype or "uint8")
    assert all(np.array_equal(np.moveaxis(b, 0, -1), a) for a, b in zip(last, first, strict=True))


def test_gray_images_have_one_channel(dataset: Dataset) -> None:
    made = images(dataset, wt.image.pipeline(CROP, wt.image.normalize((0.5,), (0.5,))), decode="gray")
    assert made[0].shape == (16, 16, 1)
    assert -1 <= min(image.min() for image in made) < max(image.max() for image in made) <= 1
    with pytest.raises(UsageError, match="one number per channel"):
        images(dataset, wt.image.pipeline(CROP, wt.image.normalize()), decode="gray")


def test_an_image_is_mirrored_as_often_as_asked(dataset: Dataset) -> None:
    whole = wt.image.resize_crop(SIDE)
    plain = images(dataset, wt.image.pipeline(whole))
    turned = images(dataset, wt.image.pipeline(whole, wt.image.flip(1)))
    assert all(np.array_equal(a[:, ::-1], b) for a, b in zip(plain, turned, strict=True))
    some = images(dataset, wt.image.pipeline(whole, wt.image.flip(0.5)))
    count = sum(not np.array_equal(a, b) for a, b in zip(plain, some, strict=True))
    assert 4 < count < 26


def psnr(a: Any, b: Any) -> float:
    return 10 * math.log10(255**2 / max(1e-9, float(np.mean((a.astype(float) - b.astype(float)) ** 2))))


def test_large_images_of_any_kind_are_near_the_exact_result(large: Dataset) -> None:
    scaled = images(large, wt.image.pipeline(wt.image.resize_crop(64), wt.image.flip(0)))
    exact = images(large, wt.image.pipeline(wt.image.resize_crop(64), wt.image.flip(0), exact=True))
    assert len(scaled) == 9
    found = [psnr(a, b) for a, b in zip(scaled, exact, strict=True)]
    assert min(found) >= 35
    assert min(found) < 90  # some were decoded at a part of their size
    pillow = [
        np.asarray(Image.fromarray(row).resize((64, 64), Image.Resampling.BILINEAR, box=middle(row)))
        for batch in wt.loader(large, batch_size=4, fit="list", remainder="keep")
        for row in batch.images
    ]
    assert min(psnr(a, b) for a, b in zip(exact, pillow, strict=True)) >= 45


def middle(row: Any) -> tuple[float, float, float, float]:
    height, width = row.shape[:2]
    side = min(height, width)
    return ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)


@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=40, max_size=40),
    st.sampled_from([((0.08, 1.0), (3 / 4, 4 / 3)), ((1.0, 1.0), (1.0, 1.0)), ((0.2, 0.3), (2.0, 3.0))]),
)
@settings(max_examples=150)
def test_a_random_part_lies_in_the_image_and_is_of_the_area_asked_for(
    height: int, width: int, drawn: list[float], bounds: Any
) -> None:
    scale, ratio = bounds
    crop = wt.image.random_resized_crop(8, scale=scale, ratio=ratio)
    box = crop.box(height, width, np.array(drawn))
    assert 0 <= box.top < box.bottom <= height
    assert 0 <= box.left < box.right <= width
    tall, wide = box.bottom - box.top, box.right - box.left
    assert (wide + 1) / max(tall - 1, 1e-9) >= ratio[0]
    assert (wide - 1) / (tall + 1) <= ratio[1]


def test_parts_are_spread_over_areas_and_places() -> None:
    rng = np.random.default_rng(0)
    boxes = [CROP.box(300, 300, rng.random(40)) for _ in range(3000)]
    areas = [(box.bottom - box.top) * (box.right - box.left) / 90_000 for box in boxes]
    # even from 8 to 100 %, but that the largest parts fit less often
    assert 0.45 < float(np.mean(areas)) < 0.54
    assert min(areas) < 0.1
    centers = [(box.left + box.right) / 2 for box in boxes]
    assert 145 < float(np.mean(centers)) < 155


def test_evaluation_shows_the_middle() -> None:
    box = wt.image.resize_crop(224, resize=256).box(512, 1024, np.zeros(0))
    assert box == (32, 288, 480, 736)


def test_a_damaged_image_is_named_or_passed_over(tmp_path: Path) -> None:
    dataset = packed(tmp_path, train=8, val=2)
    key = flip(dataset, "train", 3)
    steps = wt.image.pipeline(*STEPS)
    with pytest.raises(wt.IntegrityError):
        images(dataset, steps, shuffle=None)
    loader = wt.loader(dataset, batch_size=4, image_transform=steps, on_damage="skip", shuffle=None)
    damaged = [name for batch in loader for name in batch.damaged]
    assert damaged == [key]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (wt.image.pipeline, "cannot be combined"),
        (lambda: wt.image.pipeline(wt.image.flip()), "cannot be combined"),
        (lambda: wt.image.pipeline(wt.image.flip(), CROP), "cannot be combined"),
        (lambda: wt.image.pipeline(CROP, CROP), "cannot be combined"),
        (lambda: wt.image.pipeline(CROP, layout=ANY), "no such layout"),
        (lambda: wt.image.random_resized_crop(0), "out of range"),
        (lambda: wt.image.random_resized_crop((1, 2, 3)), "out of range"),
        (lambda: wt.image.random_resized_crop(8, scale=(0.5, 0.1)), "out of range"),
        (lambda: wt.image.random_resized_crop(8, scale=(0.5, 2)), "out of range"),
        (lambda: wt.image.random_resized_crop(8, interpolation=ANY), "no such interpolation"),
        (lambda: wt.image.resize_crop(8, resize=7), "out of range"),
        (lambda: wt.image.flip(2), "out of range"),
        (lambda: wt.image.normalize((0.5,), (0.5, 0.5)), "one number per channel"),
        (lambda: wt.image.normalize(std=(0, 1, 1)), "greater than 0"),
        (lambda: wt.image.normalize(dtype=ANY), "no such dtype"),
    ],
)
def test_steps_that_cannot_be_are_refused(make: Any, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        make()


@pytest.mark.parametrize("options", [{"image_size": 16}, {"decode": "bytes"}])
def test_steps_go_with_no_other_size_and_with_pixels(dataset: Dataset, options: Any) -> None:
    with pytest.raises(UsageError):
        wt.loader(dataset, batch_size=4, image_transform=wt.image.pipeline(CROP), **options)


def test_a_transform_of_the_sample_sees_what_the_steps_made(dataset: Dataset) -> None:
    steps = wt.image.pipeline(*STEPS)
    seen = images(dataset, steps, transform=lambda sample: {**sample, "image": sample["image"] + 1})
    assert np.array_equal(np.stack(images(dataset, steps)) + 1, np.stack(seen))


def test_a_decoder_of_the_users_gives_the_pixels(dataset: Dataset) -> None:
    made = images(dataset, wt.image.pipeline(CROP), decoders={"jpg": lambda data: np.full((9, 9, 3), 5, np.uint8)})
    assert {int(value) for value in np.unique(np.stack(made))} == {5}
