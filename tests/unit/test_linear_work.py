"""Twice as many samples, in twice as many shards, are twice the work, whatever is done with them."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.calls import calls
from tests.support.city_pairs import write_city_pairs

if TYPE_CHECKING:
    from pathlib import Path


def _append(dataset: Path, out: Path) -> object:
    more = write_city_pairs(out / "more", train=0, val=int(dataset.name))
    return wt.append(dataset, more, output=out / "grown")


def _adopt(dataset: Path, out: Path) -> object:
    for tar in dataset.glob("**/*.tar"):
        shutil.copy(tar, out)
    return wt.adopt(out)


def _read(dataset: Path, _out: Path) -> list[str]:
    return [sample.key for sample in wt.open_dataset(dataset)["train"]]


def _remove(dataset: Path, out: Path) -> object:
    every_second = wt.Selection(keys=frozenset(_read(dataset, out)[::2]))
    return wt.remove(dataset, every_second, output=out / "without")


VERBS = {
    "add to": _append,
    "adopt": _adopt,
    "compare": lambda dataset, _: wt.diff(dataset, dataset),
    "emit": lambda dataset, _: wt.emit(dataset, ["huggingface", "croissant"]),
    "extract": lambda dataset, out: wt.extract(dataset, out / "files"),
    "find duplicates in": lambda dataset, _: wt.find_duplicates(dataset),
    "mirror": lambda dataset, out: wt.mirror(dataset, out / "copy"),
    "pull": lambda dataset, out: wt.pull(dataset, out / "copy"),
    "read": _read,
    "remove from": _remove,
    "repair": lambda dataset, _: wt.repair(dataset),
    "verify": lambda dataset, _: wt.verify(dataset),
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first is for loading modules; each of the others has twice the samples and shards of the one before."""
    made = []
    for count in (20, 40, 80, 160):
        folder = tmp_path_factory.mktemp("linear")
        source = write_city_pairs(folder / "source", train=count, val=4)
        made.append(folder / f"{count}")
        wt.pack(source, made[-1], shard_samples=5)
    return made


@pytest.mark.parametrize("verb", VERBS)
def test_work_grows_with_the_samples_and_no_faster(verb: str, datasets: list[Path], tmp_path: Path) -> None:
    outs = [tmp_path / dataset.name for dataset in datasets]
    for out in outs:
        out.mkdir()
    _, few, more, most = (calls(partial(VERBS[verb], *places)) for places in zip(datasets, outs, strict=True))
    assert 0 < most - more < 2.4 * (more - few)
