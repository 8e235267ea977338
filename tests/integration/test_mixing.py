"""Several datasets in one loader: weights, epochs of each source, ranks, and going on exactly."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.streams import SIDE, flip, in_memory, of_many_aspects, packed
from wdstools.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools import Dataset

SIZES = {"a": 40, "b": 15, "c": 9}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    return {name: packed(tmp_path_factory.mktemp(name), train=count, val=4) for name, count in SIZES.items()}


def mixed(datasets: dict[str, Dataset], *weights: float, **options: Any) -> Any:
    """A mix of as many of the datasets as there are weights."""
    given = zip(datasets, weights, strict=False)
    return wt.mix({name: wt.source(datasets[name], weight=weight) for name, weight in given}, **options)


def rows_of(batches: Any) -> list[tuple[str, str]]:
    """Source and key of each row that is a sample of its own."""
    found = []
    for batch in batches:
        rows = zip(batch.sources, batch.keys, batch.mask, strict=True)
        found += [(source, key) for source, key, counts in rows if counts]
    return found


def loader(mix: Any, **options: Any) -> Any:
    return wt.loader(mix, **{"batch_size": 4, "threads": 2, "decode": "bytes", **options})


@pytest.mark.parametrize("weights", [(0.7, 0.3), (0.5, 0.3, 0.2)])
def test_every_window_has_each_source_as_often_as_its_weight_says(
    datasets: dict[str, Dataset], weights: tuple[float, ...]
) -> None:
    sources = [source for source, _ in rows_of(loader(mixed(datasets, *weights, samples=200)))]
    assert len(sources) == 200
    for name, weight in zip(datasets, weights, strict=False):
        for size in (1, 3, 10, 37, 100):
            for first in range(200 - size):
                assert abs(sources[first : first + size].count(name) - size * weight) <= 1 + 1e-9


def test_each_source_is_read_in_epochs_of_its_own(datasets: dict[str, Dataset]) -> None:
    reader = loader(mixed(datasets, 0.5, 0.3, 0.2))
    rows = [row for _ in range(6) for row in rows_of(reader)]
    for name, count in SIZES.items():
        keys = [key for source, key in rows if source == name]
        assert len(keys) >= count
        epochs = [keys[first : first + count] for first in range(0, len(keys) - count + 1, count)]
        for epoch in epochs:
            assert sorted(epoch) == sorted(datasets[name]["train"].keys())
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)
    progress = {source.name: source for source in reader.sources}
    assert {name: (one.epoch * SIZES[name] + one.position) for name, one in progress.items()} == Counter(
        source for source, _ in rows
    )
    assert {name: one.read for name, one in progress.items()} == Counter(source for source, _ in rows)
    report = reader.report()
    assert report.checked["samples"] == len(rows)
    assert report.checked["epochs of c"] == progress["c"].epoch > 0


@pytest.mark.parametrize("per_batch", ["mixed", "homogeneous"])
def test_an_epoch_ends_with_the_first_or_the_last_source(datasets: dict[str, Dataset], per_batch: Any) -> None:
    for stop, whole in (("first", "b"), ("all", "a")):
        rows = rows_of(loader(mixed(datasets, 0.5, 0.5, stop=stop, per_batch=per_batch)))
        keys = [key for source, key in rows if source == whole]
        assert sorted(keys) == sorted(datasets[whole]["train"].keys())
        others = Counter(source for source, _ in rows)
        assert min(others.values()) <= SIZES["b"] if stop == "first" else max(others.values()) >= SIZES["a"]
    exact = loader(mixed(datasets, 0.5, 0.5, samples=23, per_batch=per_batch))
    assert [len(rows_of(exact)) for _ in range(2)] == [23, 23]


def test_batches_of_one_source_each(datasets: dict[str, Dataset]) -> None:
    reader = loader(mixed(datasets, 0.5, 0.3, 0.2, stop="all", per_batch="homogeneous"))
    batches = list(reader)
    assert len(batches) == len(reader)
    assert {len(set(batch.sources)) for batch in batches} == {1}
    assert {name for batch in batches for name in batch.sources} == set(datasets)
    mix = mixed(datasets, 0.5, 0.3, 0.2, stop="all")
    assert Counter(rows_of(batches)) == Counter(rows_of(loader(mix)))


@pytest.mark.parametrize("per_batch", ["mixed", "homogeneous"])
@pytest.mark.parametrize("shuffle", ["full", "block", None])
def test_ranks_share_a_mix_out_equally_and_once(datasets: dict[str, Dataset], per_batch: Any, shuffle: Any) -> None:
    mix = mixed(datasets, 0.6, 0.4, stop="all", per_batch=per_batch)
    whole = rows_of(loader(mix, shuffle=shuffle))
    ranks = [list(loader(mix, batch_size=3, shuffle=shuffle, rank=rank, world_size=3)) for rank in range(3)]
    assert len({tuple(len(batch) for batch in rank) for rank in ranks}) == 1
    assert Counter(row for rank in ranks for row in rows_of(rank)) == Counter(whole)


@pytest.mark.parametrize("per_batch", ["mixed", "homogeneous"])
def test_two_resumes_in_a_row_on_other_ranks_go_on_exactly(datasets: dict[str, Dataset], per_batch: Any) -> None:
    mix = mixed(datasets, 0.5, 0.3, 0.2, stop="all", per_batch=per_batch)
    whole = loader(mix, batch_size=8)
    expected = [sorted(rows_of([batch])) for _ in range(2) for batch in whole]
    got: list[list[tuple[str, str]]] = []
    state = None
    for batch_size, world_size, steps in ((8, 1, 3), (4, 2, 4), (2, 4, 99)):
        ranks = []
        for rank in range(world_size):
            reader = loader(mix, batch_size=batch_size, world_size=world_size, rank=rank)
            if state is not None:
                reader.load_state_dict(json.loads(json.dumps(state)))
            ranks.append(list(itertools.islice(reader, steps)))
            after = reader.state_dict()
        state = after
        got += [sorted(rows_of(batches)) for batches in zip(*ranks, strict=True)]
    assert state is not None
    assert state["epoch"] == 1
    assert got == expected[: len(got)]
    assert len(got) == len(whole)


def test_a_mix_goes_on_exactly_with_another_batch_size(datasets: dict[str, Dataset]) -> None:
    mix = mixed(datasets, 0.7, 0.3)
    whole = rows_of(loader(mix))
    first, second = loader(mix, batch_size=5), loader(mix, batch_size=3, threads=4)
    begun = rows_of(itertools.islice(first, 4))
    second.load_state_dict(first.state_dict())
    assert begun + rows_of(second) == whole
    for other in (mixed(datasets, 0.6, 0.4), mixed(datasets, 0.7, 0.3, per_batch="homogeneous")):
        with pytest.raises(UsageError, match="this state"):
            loader(other).load_state_dict(first.state_dict())


def test_each_source_has_its_own_transform_and_selection(datasets: dict[str, Dataset]) -> None:
    def dark(image: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
        return np.zeros_like(image) + np.uint8(random.integers(1, 9))

    few = list(itertools.islice(datasets["b"]["train"].keys(), 3))
    sources = {"a": wt.source(datasets["a"], weight=2, image_transform=dark), "b": wt.source(datasets["b"], keys=few)}
    batches = list(wt.loader(wt.mix(sources, stop="all"), batch_size=6))
    for batch in came(batches):
        images: Any = batch.images
        assert images.shape == (len(batch), SIDE, SIDE, 3)
        for name, key, image, caption in zip(batch.sources, batch.keys, images, batch.captions, strict=True):
            assert (len(np.unique(image)) == 1) == (name == "a")
            assert caption == datasets[name][key]["txt"].decode()
            assert name == "a" or key in few
    again = [batch.images for batch in wt.loader(wt.mix(sources, stop="all"), batch_size=6, threads=1)]
    assert all(np.array_equal(one.images, two) for one, two in zip(batches, again, strict=True))


def test_a_transform_of_samples_may_be_one_sources_alone(datasets: dict[str, Dataset]) -> None:
    def doubled(sample: dict[str, Any]) -> dict[str, Any]:
        return {**sample, "caption": sample["caption"] * 2}

    sources: dict[str, Any] = {"a": wt.source(datasets["a"], transform=doubled), "b": datasets["b"]}
    for first in (sources, dict(reversed(sources.items()))):
        for batch in came(wt.loader(wt.mix(first), batch_size=6)):
            images: Any = batch.images
            assert images.shape == (len(batch), SIDE, SIDE, 3)
            for name, key, caption in zip(batch.sources, batch.keys, batch.captions, strict=True):
                assert caption == datasets[name][key]["txt"].decode() * (2 if name == "a" else 1)


def test_labels_of_all_sources_have_one_numbering(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    names = datasets["a"].manifest.labels
    other = wt.open_dataset(packed(tmp_path, train=12).shards.url)
    mix = wt.mix({"a": datasets["a"], "other": other})
    turned = list(reversed(names))
    for batch in came(wt.loader(mix, batch_size=6, labels=turned, decode="bytes")):
        for key, label in zip(batch.keys, batch.labels, strict=True):
            assert turned[label] == key.partition("/")[0]
    with pytest.raises(UsageError, match="not in the list of labels"):
        wt.loader(mix, batch_size=6, labels=names[:1])


def test_labels_that_only_one_source_has_are_added(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    oslo, rome = (of_many_aspects(tmp_path / name, train=5, val=0, label=name) for name in ("oslo", "rome"))
    assert oslo.manifest.labels == ("oslo",)
    assert rome.manifest.labels == ("rome",)
    mix = wt.mix({"second": rome, "first": oslo, "cities": datasets["c"]}, stop="all")
    names = list(dict.fromkeys(["rome", "oslo", *datasets["c"].manifest.labels]))
    reader = loader(mix)
    assert reader.labels == tuple(names)
    assert wt.loader(oslo, batch_size=2).labels == ("oslo",)
    for batch in came(reader):
        assert [names[label] for label in batch.labels] == [key.partition("/")[0] for key in batch.keys]


def test_damage_in_a_source_is_named_and_may_be_passed_over(tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    hurt = packed(tmp_path, train=20)
    key = flip(hurt, "train", 3)
    mix = wt.mix({"a": datasets["a"], "hurt": hurt}, stop="all")
    with pytest.raises(IntegrityError) as caught:
        list(loader(mix))
    assert key in caught.value.where
    skipping = loader(mix, on_damage="skip")
    rows = rows_of(skipping)
    assert ("hurt", key) not in rows
    assert skipping.state_dict()["damaged"] == [f"hurt: {key}"] * 2  # its second epoch met it again
    assert {finding.key for finding in skipping.report().findings} == {key}


def test_sources_from_afar_are_read_ahead_alike(datasets: dict[str, Dataset]) -> None:
    near = mixed(datasets, 0.7, 0.3)
    far = mixed({name: in_memory(dataset) for name, dataset in datasets.items()}, 0.7, 0.3)
    assert rows_of(loader(near)) == rows_of(loader(far))


def test_what_does_not_fit_a_mix_is_refused(datasets: dict[str, Dataset]) -> None:
    mix = mixed(datasets, 0.5, 0.5)
    for options, says in (
        ({"where": "width > 1"}, "where cannot be given for a whole mix"),
        ({"split": "val"}, "split cannot be given for a whole mix"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            loader(mix, **options)
        assert "wt.source" in caught.value.hint
    anything: Any
    bad: list[Any] = [{}, {"": datasets["a"]}, {"a": 3}, datasets["a"]]
    for sources in bad:
        with pytest.raises(UsageError):
            wt.mix(sources)
    for anything in ({"weight": 0}, {"weight": "2"}, {"weight": float("nan")}, {"batch_size": 3}, {"shufle": True}):
        with pytest.raises(UsageError):
            wt.source(datasets["a"], **anything)
    for anything in ({"stop": "last"}, {"samples": 0}, {"per_batch": "any"}):
        with pytest.raises(UsageError):
            wt.mix({"a": datasets["a"]}, **anything)
    with pytest.raises(UsageError):
        wt.stream(mix)
