"""Tensors, DataLoaders and the example; where torch is installed (``make test-torch``)."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.command import environment
from tests.support.streams import SIDE, packed

if TYPE_CHECKING:
    from wdstools import Dataset

torch = pytest.importorskip("torch")
EXAMPLE = Path(__file__).parents[2] / "examples" / "train_city_classifier.py"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"))


def test_tensors_are_the_arrays_in_channels_last_without_a_copy(dataset: Dataset) -> None:
    arrays = list(wt.loader(dataset, batch_size=8))
    tensors = list(wt.torch.loader(dataset, batch_size=8))
    for ours, theirs in came(zip(arrays, tensors, strict=True)):
        assert isinstance(theirs.images, torch.Tensor)
        assert tuple(theirs.images.shape) == (len(ours), 3, SIDE, SIDE)
        assert theirs.images.is_contiguous(memory_format=torch.channels_last)
        assert np.array_equal(theirs.images.permute(0, 2, 3, 1).numpy(), ours.images)
        assert theirs.labels.tolist() == ours.labels.tolist()
        assert theirs.labels.dtype == torch.int64
        assert theirs.keys == ours.keys


def test_a_tensor_that_is_kept_is_not_overwritten(dataset: Dataset) -> None:
    kept, copies = [], []
    for batch in wt.torch.loader(dataset, batch_size=4):
        assert isinstance(batch.images, torch.Tensor)
        kept.append(batch.images[1])
        copies.append(batch.images[1].clone())
    assert all(torch.equal(a, b) for a, b in came(zip(kept, copies, strict=True)))


def test_a_torch_loader_resumes(dataset: Dataset) -> None:
    whole = [batch.keys for batch in wt.torch.loader(dataset, batch_size=8)]
    loader = wt.torch.loader(dataset, batch_size=8)
    first = next(iter(loader)).keys
    other = wt.torch.loader(dataset, batch_size=8)
    other.load_state_dict(loader.state_dict())
    assert [first, *(batch.keys for batch in other)] == whole


def test_ranks_are_asked_of_torch_only_where_there_are_any(dataset: Dataset) -> None:
    with pytest.raises(wt.UsageError, match="not initialised"):
        wt.torch.loader(dataset, batch_size=8, distributed=True)


@pytest.mark.parametrize("workers", [0, 2])
def test_data_loaders_workers_share_the_samples_out(dataset: Dataset, workers: int) -> None:
    stream = wt.torch.StreamDataset(dataset, shuffle="full")
    context: dict[str, Any] = {"multiprocessing_context": "spawn"} if workers else {}
    keys = [s["__key__"] for s in torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers, **context)]
    assert sorted(keys) == sorted(dataset["train"].keys())
    assert len(pickle.dumps(stream)) < 100_000


def test_a_split_by_number_works_with_a_sampler(dataset: Dataset) -> None:
    loader = torch.utils.data.DataLoader(wt.torch.MapDataset(dataset), batch_size=None, shuffle=True)
    assert sorted(sample["__key__"] for sample in loader) == sorted(dataset["train"].keys())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata calls it
@pytest.mark.parametrize("stop", [0, 3, 9])
def test_a_stateful_data_loader_goes_on_where_its_state_was_taken(dataset: Dataset, workers: int, stop: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def opened() -> Any:
        return stateful(
            wt.torch.StreamDataset(dataset, shuffle="full", seed=5),
            batch_size=4,
            num_workers=workers,
            collate_fn=_keys_of,
        )

    whole = list(opened())
    assert sorted(key for keys in whole for key in keys) == sorted(dataset["train"].keys())
    first = opened()
    begun = list(itertools.islice(first, stop))
    second = opened()
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))  # noqa: S301
    begun += itertools.islice(second, 2)
    third = opened()
    third.load_state_dict(second.state_dict())
    assert begun + list(third) == whole


def _keys_of(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["__key__"] for sample in samples]


_SCRIPT = """
import hashlib, json, sys
import numpy as np
import torch
import webdataset as wds
import wdstools as wt

url, shards = sys.argv[1:]

def preprocess(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)

def main():
    dataset = wds.WebDataset(url, shardshuffle=100)
    dataset = dataset.shuffle(1000).decode("pil").to_tuple("jpg", "cls").map_tuple(preprocess, int).batched(4)
    loader = wds.WebLoader(dataset, batch_size=None, num_workers=2).unbatched().shuffle(100).batched(8)
    seen = []
    for images, labels in loader:
        assert images.shape[1:] == (3, 24, 24)
        seen += [[hashlib.md5(image.numpy().tobytes()).hexdigest(), int(label)] for image, label in zip(images, labels)]
    print(json.dumps(sorted(seen)))

main()
"""


def test_a_training_script_of_webdataset_runs_with_one_line_changed(dataset: Dataset, tmp_path: Path) -> None:
    lines = _SCRIPT.splitlines()
    (at,) = (number for number, line in enumerate(lines) if "wds.WebDataset(" in line)
    lines[at] = "    dataset = wt.webdataset(shards)"
    last = len(dataset.manifest.splits["train"]) - 1
    url = f"{dataset.shards.url}/train/train-{{000000..{last:06d}}}.tar"
    outputs = []
    for name, text in (("theirs", _SCRIPT), ("ours", "\n".join(lines))):
        script = tmp_path / f"{name}.py"
        script.write_text(text)
        command = [sys.executable, str(script), url, dataset.shards.url]
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment(**paths))
        outputs.append(json.loads(done.stdout))
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 60


def _train(dataset: Dataset, folder: Path, ranks: int, *options: str) -> list[dict[str, float]]:
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "error::UserWarning:wdstools", str(EXAMPLE), dataset.shards.url]
    command += ["--batch-size", "8", "--epochs", "2", "--checkpoint", str(folder / "state.pt"), *options]
    running = []
    for rank in range(ranks):
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(ranks)}
        paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        running.append(subprocess.Popen(command, env=environment(**place, **paths), stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate(timeout=250)[0] for process in running]
    assert [process.returncode for process in running] == [0] * ranks
    return [json.loads(line) for line in outputs[0].splitlines()]


def test_the_example_stops_and_goes_on_exactly_on_another_number_of_ranks(dataset: Dataset, tmp_path: Path) -> None:
    whole = _train(dataset, tmp_path / "whole", 1)
    ends = [(e, p) for e in (0, 1) for p in range(8, 49, 8)]
    assert [(step["epoch"], step["position"]) for step in whole] == [*ends[:6], (1, 0), *ends[6:], (2, 0)]
    parts = _train(dataset, tmp_path / "parts", 2, "--stop-after", "3")
    parts += _train(dataset, tmp_path / "parts", 1, "--stop-after", "6")
    parts += _train(dataset, tmp_path / "parts", 2)
    assert [(s["epoch"], s["position"]) for s in parts] == [(s["epoch"], s["position"]) for s in whole]
    # the mean of two halves and the mean of the whole differ in the last digits
    assert [step["loss"] for step in parts] == pytest.approx([step["loss"] for step in whole], abs=2e-5)
    again = _train(dataset, tmp_path / "again", 1, "--stop-after", "5") + _train(dataset, tmp_path / "again", 1)
    assert again == whole
