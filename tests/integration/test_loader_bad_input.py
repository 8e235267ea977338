"""What a loader does with damage, missing things, other people's bugs, and options that do not fit."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.pictures import EOI
from tests.support.streams import batch_keys, decoding_threads, flip, flip_at, packed
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError

if TYPE_CHECKING:
    from wdstools import Dataset


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def fresh(tmp_path: pathlib.Path) -> Dataset:
    return packed(tmp_path, train=30)


@pytest.mark.parametrize("member", ["jpg", "txt", "cls"])
def test_damage_is_raised_with_its_place(fresh: Dataset, member: str) -> None:
    key = flip(fresh, "train", 3, member)
    with pytest.raises(IntegrityError) as caught:
        batch_keys(fresh)
    assert caught.value.code == "sample-damaged"
    assert key in caught.value.where
    assert member in caught.value.where


@pytest.mark.parametrize("decode", ["rgb", "bytes"])
def test_skipped_damage_is_told_by_batch_state_and_report(fresh: Dataset, decode: Any) -> None:
    damaged = {flip(fresh, "train", number) for number in (0, 5, 29)}
    loader = wt.loader(fresh, batch_size=8, on_damage="skip", decode=decode)
    batches = list(loader)
    assert [len(batch) for batch in batches] == [8, 8, 8, 6]
    assert {key for batch in batches for key in batch.damaged} == damaged
    own = [key for batch in batches for key, counts in zip(batch.keys, batch.mask, strict=True) if counts]
    assert sorted([*own, *damaged]) == sorted(fresh["train"].keys())
    assert set(loader.state_dict()["damaged"]) == damaged
    assert {finding.key for finding in loader.report().findings} == damaged
    assert loader.report().checked["samples"] == 27


def test_a_batch_of_nothing_but_damage_is_empty_but_there(fresh: Dataset) -> None:
    for number in range(30):
        flip(fresh, "train", number)
    for batch in came(wt.loader(fresh, batch_size=10, on_damage="skip")):
        assert not batch.mask.any()
        assert not np.asarray(batch.images).any()
        assert set(batch.labels) == {-1}
        assert len(batch.damaged) == 10


def test_shards_that_are_missing_or_short_are_named_before_the_first_sample(fresh: Dataset) -> None:
    first, second = (pathlib.Path(fresh.shards.url, entry.path) for entry in fresh.manifest.splits["train"][:2])
    (first.parent / "train-000099.tar").write_bytes(b"stray")
    assert [finding.kind for finding in wt.loader(fresh, batch_size=8).report().findings] == ["extra"]
    data = first.read_bytes()
    first.chmod(0o644)
    first.write_bytes(data[:-512])
    with pytest.raises(FormatError, match="recorded size"):
        wt.loader(fresh, batch_size=8)
    first.write_bytes(data)
    second.unlink()
    with pytest.raises(NotFoundError, match="shard is missing"):
        wt.loader(fresh, batch_size=8)


def test_a_shard_cut_under_a_running_loader_is_damage(fresh: Dataset) -> None:
    loader = wt.loader(fresh, batch_size=1, shuffle=None, threads=1)
    batches = iter(loader)
    next(batches)
    for entry in fresh.manifest.splits["train"]:
        path = pathlib.Path(fresh.shards.url, entry.path)
        path.chmod(0o644)
        os.truncate(path, 1024)
    with pytest.raises(IntegrityError, match="damaged"):
        list(batches)


def test_a_dataset_replaced_under_a_running_loader_is_said(fresh: Dataset) -> None:
    loader = wt.loader(fresh, batch_size=8, on_damage="skip")
    flip(fresh, "train", 20)
    manifest = pathlib.Path(fresh.metadata.url, fresh.manifest_key)
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes().replace(b'"version":1}', b'"version":2}'))
    with pytest.raises(StoreError) as caught:
        list(loader)
    assert caught.value.code == "dataset-replaced"  # and no damage, which the advice would be to repair


def test_a_transform_that_raises_is_raised_with_the_samples_key(dataset: Dataset) -> None:
    def broken(image: Any, random: Any) -> Any:
        raise RuntimeError("my own bug")

    with pytest.raises(RuntimeError, match="my own bug") as caught:
        list(wt.loader(dataset, batch_size=8, shuffle=None, threads=1, transform=broken))
    (first, *_) = dataset["train"].keys()
    assert caught.value.__notes__ == [f"while reading sample {first}"]
    with pytest.raises(UsageError, match="the results of the transform differ in shape"):
        list(wt.loader(dataset, batch_size=8, transform=lambda image, random: image[: random.integers(1, 20)]))
    assert not decoding_threads()


@pytest.mark.parametrize(
    "bad",
    [
        {"split": "none"},
        {"batch_size": 0},
        {"rank": 1},
        {"threads": 0},
        {"decode": "jpeg"},
        {"fit": "zoom"},
        {"image_size": 0},
        {"on_damage": "ignore"},
        {"limit": -1},
        {"limit": 0},
        {"where": "label =="},
        {"batch_size": 61, "remainder": "drop"},
        {"decode": "bytes", "image_size": 3},
    ],
)
def test_options_that_do_not_fit_are_refused_at_once(dataset: Dataset, bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        wt.loader(dataset, **{"batch_size": 8, **bad})


def test_more_ranks_than_samples_pad(dataset: Dataset) -> None:
    batches = [
        batch for rank in range(64) for batch in wt.loader(dataset, "val", batch_size=3, rank=rank, world_size=64)
    ]
    assert len(batches) == 64
    assert sum(int(batch.mask.sum()) for batch in batches) == 10


def test_more_ranks_than_samples_leave_ranks_without_a_batch_where_none_is_made_up(dataset: Dataset) -> None:
    wt.loader(dataset, "val", batch_size=3, rank=9, world_size=64, remainder="keep")
    for remainder in ("keep", "drop"):
        with pytest.raises(UsageError, match="an epoch has no batches"):
            wt.loader(dataset, "val", batch_size=3, rank=63, world_size=64, remainder=remainder)


def test_a_batch_larger_than_the_split_is_the_split(dataset: Dataset) -> None:
    (batch,) = wt.loader(dataset, "val", batch_size=64)
    assert sorted(batch.keys) == sorted(dataset["val"].keys())
    assert batch.mask.all()
    assert len(batch.images) == len(batch.labels) == len(batch.captions) == 10


def test_a_split_that_lost_all_its_samples_is_said_to_be_empty(fresh: Dataset, tmp_path: pathlib.Path) -> None:
    keys = frozenset(fresh["val"].keys())
    plan = wt.plan_remove(fresh, wt.Selection(keys=keys), output=str(tmp_path / "without"))
    wt.apply(plan)
    without = wt.open_dataset(str(tmp_path / "without"))
    for read in (lambda: wt.loader(without, "val", batch_size=4), lambda: wt.stream(without, "val")):
        with pytest.raises(UsageError, match=r"no samples to read|no such split"):
            read()
    assert len(list(wt.stream(without))) == 30


@pytest.mark.parametrize("remainder", ["header", "padding"])
def test_damage_around_the_members_harms_no_sample(fresh: Dataset, remainder: str) -> None:
    row = fresh.index(fresh.manifest.splits["train"][0]).slice(2, 1).to_pylist()[0]
    last = row["members"][-1]
    # a digit of the owner's number; a byte between the end of the last member and that of its block
    place = row["offset"] + 110 if remainder == "header" else last["offset"] + last["size"] + 3
    flip_at(fresh, "train", 0, place)
    assert not wt.verify(fresh).ok
    assert sorted(key for keys in batch_keys(fresh) for key in keys) == sorted(fresh["train"].keys())
    assert [sample.key for sample in wt.stream(fresh, shuffle=None)] == list(fresh["train"].keys())


@pytest.fixture(scope="module")
def undecodable(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, str]:
    """A dataset whose checksums are right, of which one image cannot be decoded; and that image's key."""
    folder = tmp_path_factory.mktemp("undecodable")
    source = write_city_pairs(folder / "source", train=20)
    image = tiny_jpeg(12)
    (source / "img/train/oslo/12.jpg").write_bytes(image[: len(image) * 2 // 3] + EOI)
    dataset = wt.pack(str(source), str(folder / "shards"), check="header", jobs=1).dataset
    assert wt.verify(dataset).ok
    return dataset, "oslo/12"


@pytest.mark.parametrize("how", [{"image_size": 24}, {"fit": "list"}])
def test_a_whole_file_that_is_no_whole_image_is_damage(undecodable: tuple[Dataset, str], how: dict[str, Any]) -> None:
    dataset, key = undecodable
    with pytest.raises(IntegrityError, match="cannot be decoded") as caught:
        batch_keys(dataset, **how)
    assert key in caught.value.where
    loader = wt.loader(dataset, batch_size=8, on_damage="skip", **how)
    batches = list(loader)
    assert [damaged for batch in batches for damaged in batch.damaged] == [key]
    assert sum(int(batch.mask.sum()) for batch in batches) == 19
    assert [finding.kind for finding in loader.report().findings] == ["image"]
    assert loader.state_dict()["damaged"] == [key]


def test_bytes_that_are_not_decoded_are_handed_out_as_they_were_packed(undecodable: tuple[Dataset, str]) -> None:
    dataset, key = undecodable
    found = {
        name: image
        for batch in wt.loader(dataset, batch_size=8, decode="bytes")
        for name, image in zip(batch.keys, batch.images, strict=True)
    }
    assert found[key] == dataset[key]["jpg"]
    assert len(found) == 20


@pytest.mark.parametrize("shuffle", [None, "full", "block"])
def test_a_stream_gives_every_sample_before_the_damaged_one(fresh: Dataset, shuffle: str | None) -> None:
    order = [sample.key for sample in wt.stream(fresh, shuffle=shuffle)]
    numbers = {key: number for number, key in enumerate(fresh["train"].keys())}
    flip(fresh, "train", numbers[order[9]])
    stream = wt.stream(fresh, shuffle=shuffle)
    got: list[str] = []
    with pytest.raises(IntegrityError) as caught:
        got.extend(sample.key for sample in stream)
    assert got == order[:9]
    assert order[9] in caught.value.where
    assert stream.report().checked["samples"] == 9
    assert stream.state_dict()["position"] == 9


def test_a_stream_whose_reader_was_moved_does_not_go_on(dataset: Dataset) -> None:
    stream = wt.stream(dataset)
    for move in (
        lambda: stream.set_epoch(3),
        lambda: stream.load_state_dict(stream.state_dict()),
        lambda: iter(stream),
    ):
        samples = iter(stream)
        next(samples)
        move()
        state = stream.state_dict()
        with pytest.raises(UsageError, match="no longer"):
            next(samples)
        assert stream.state_dict() == state


def test_a_damaged_sample_that_pads_another_rank_is_told_once(tmp_path: pathlib.Path) -> None:
    dataset = packed(tmp_path, train=31)
    key = flip(dataset, "train", 16)
    told, mended = [], 0
    for rank in range(2):
        loader = wt.loader(dataset, batch_size=8, shuffle=None, rank=rank, world_size=2, on_damage="skip")
        batches = list(loader)
        assert [len(batch) for batch in batches] == [8, 8]
        told += [found for batch in batches for found in batch.damaged]
        told += [finding.key for finding in loader.report().findings] + loader.state_dict()["damaged"]
        mended += sum(int(batch.mask.sum()) for batch in batches)
    assert told == [key, key, key]
    assert mended == 30
