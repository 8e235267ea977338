"""An existing webdataset script with one line changed."""

from __future__ import annotations

import pickle
import warnings
from typing import TYPE_CHECKING

import pytest
import webdataset as wds

import wdstools as wt
from tests.support.streams import flip, packed

if TYPE_CHECKING:
    from pathlib import Path


def test_a_script_changes_one_line(tmp_path: Path) -> None:
    dataset = packed(tmp_path, train=20)
    urls = [f"{dataset.shards.url}/{entry.path}" for entry in dataset.manifest.splits["train"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves shards open to the garbage collector
        theirs = wds.WebDataset(urls, shardshuffle=False)
        expected = [
            (key, jpg.tobytes(), txt) for key, jpg, txt in theirs.decode("pil").to_tuple("__key__", "jpg", "txt")
        ]
    ours = wt.webdataset(dataset, split="train", shuffle=None)
    got = [(key, jpg.tobytes(), txt) for key, jpg, txt in ours.decode("pil").to_tuple("__key__", "jpg", "txt")]
    assert got == expected


def test_each_pass_is_another_epoch_and_batches_work(tmp_path: Path) -> None:
    dataset = packed(tmp_path, train=20)
    pipeline = wt.webdataset(dataset, shuffle="full").to_tuple("__key__", "txt").batched(5)
    first, second = ([key for keys, _ in pipeline for key in keys] for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second) == sorted(dataset["train"].keys())


def test_damage_ends_a_pipeline_with_an_error(tmp_path: Path) -> None:
    dataset = packed(tmp_path, train=20)
    flip(dataset, "train", 3)
    with pytest.raises(wt.IntegrityError):
        list(wt.webdataset(dataset))


def test_a_pipeline_goes_to_a_process_that_is_started_anew(tmp_path: Path) -> None:
    pipeline = wt.webdataset(packed(tmp_path, train=20), shuffle="full").to_tuple("__key__", "cls")
    assert list(pickle.loads(pickle.dumps(pipeline))) == list(pipeline)  # noqa: S301
