"""Worker processes of DataLoader, and ranks of torch.distributed: every sample once, another order in each epoch."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import os
import pickle
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support.command import environment
from tests.support.streams import packed
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools import Dataset

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated", "ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return packed(tmp_path_factory.mktemp("whole"), train=40, val=4)


def loader_of(stream: Any, workers: int, how: str = "fork", **options: Any) -> Any:
    context = {"multiprocessing_context": how} if workers else {}
    options = {"batch_size": None, **options}
    return torch.utils.data.DataLoader(stream, num_workers=workers, **context, **options)


def keys(loader: Any) -> list[str]:
    return [sample["__key__"] for sample in loader]


def keys_of(samples: list[dict[str, Any]]) -> list[str]:
    return [sample["__key__"] for sample in samples]


ACTS: dict[str, Callable[[Any], object]] = {
    "a look": lambda stream: next(iter(stream)),
    "an epoch": list,
    "set_epoch": lambda stream: stream.set_epoch(3),
    "state_dict": lambda stream: stream.state_dict(),
    "a length": len,
    "repr": repr,
    "another": lambda stream: list(loader_of(stream, 1)),
}


@pytest.mark.parametrize("act", ACTS)
def test_what_the_parent_did_makes_no_worker_read_everything(dataset: Dataset, act: str) -> None:
    stream = wt.torch.StreamDataset(dataset)
    ACTS[act](stream)
    for _ in range(2):
        assert sorted(keys(loader_of(stream, 2))) == sorted(dataset["train"].keys())


@pytest.mark.parametrize(
    ("how", "persistent"), [("fork", False), ("fork", True), ("spawn", False), ("forkserver", False)]
)
def test_each_pass_of_workers_is_the_next_epoch(dataset: Dataset, how: str, persistent: bool) -> None:
    stream = wt.torch.StreamDataset(dataset, batch_size=4)
    loader = loader_of(stream, 2, how, batch_size=4, persistent_workers=persistent, collate_fn=keys_of)
    expected = wt.stream(dataset)
    orders = [[sample.key for sample in expected] for _ in range(4)]
    for order in orders[:2]:
        assert list(itertools.chain(*loader)) == order
    stream.set_epoch(3)
    assert list(itertools.chain(*loader)) == orders[3]
    stream.set_epoch(0)
    next(iter(loader))  # a pass that is left has had its epoch
    assert list(itertools.chain(*loader)) == orders[1]


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_told_the_batch_size_batches_do_not_depend_on_workers(dataset: Dataset, workers: int) -> None:
    stream = wt.torch.StreamDataset(dataset, batch_size=6, limit=33)
    loader = loader_of(stream, workers, batch_size=6, collate_fn=keys_of)
    batches = list(loader)
    assert batches == [batch.keys for batch in wt.loader(dataset, batch_size=6, limit=33)]
    assert len(loader) == len(batches)


def test_a_state_of_the_parent_is_where_workers_go_on_once(dataset: Dataset) -> None:
    reader = wt.stream(dataset)
    begun = [sample.key for sample in itertools.islice(reader, 11)]
    stream = wt.torch.StreamDataset(dataset)
    stream.load_state_dict(reader.state_dict())
    loader = loader_of(stream, 2)
    assert sorted(begun + keys(loader)) == sorted(dataset["train"].keys())
    assert sorted(keys(loader)) == sorted(dataset["train"].keys())


def test_copies_are_readers_of_their_own(dataset: Dataset) -> None:
    stream = wt.torch.StreamDataset(dataset)
    for other in (copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):  # noqa: S301
        stream.set_epoch(5)
        first, second = keys(loader_of(other, 2)), keys(loader_of(other, 2))
        assert first != second
        assert sorted(first) == sorted(second) == sorted(dataset["train"].keys())


def test_workers_and_ranks_are_told(dataset: Dataset) -> None:
    stream = wt.torch.StreamDataset(dataset, rank=1, world_size=2)
    assert "rank 1 of 2 (rank and world_size were given)" in repr(stream)
    (told,) = loader_of(_Told(stream), 1)
    assert "worker 0 of 1" not in told
    assert any("worker 1 of 2" in told for told in loader_of(_Told(stream), 2))
    with pytest.raises(UsageError, match="did you mean shuffle"):
        wt.torch.StreamDataset(dataset, shufle=True)  # type: ignore[call-arg]


class _Told(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __iter__(self) -> Any:
        yield repr(self.stream)


def test_a_state_of_other_workers_is_refused_clearly(dataset: Dataset) -> None:
    stream = wt.torch.StreamDataset(dataset)
    with pytest.raises(UsageError, match="another number of workers") as caught:
        stream.load_state_dict({**stream.state_dict(), "worker": 1, "workers": 2})
    assert "num_workers" in caught.value.hint


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_data_loader_has_whole_epochs_after_it_went_on(dataset: Dataset, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader() -> Any:
        stream = wt.torch.StreamDataset(dataset, batch_size=8)
        return stateful(stream, batch_size=8, num_workers=workers, collate_fn=keys_of)

    first = loader()
    orders = [list(first) for _ in range(3)]
    for stop in (2, 4):
        second = loader()
        begun = list(itertools.islice(second, stop))
        third = loader()
        third.load_state_dict(pickle.loads(pickle.dumps(second.state_dict())))  # noqa: S301
        assert begun + list(third) == orders[0]
        assert list(third) == orders[1]
        assert list(third) == orders[2]


def test_a_batch_sampler_gives_the_loaders_batches(dataset: Dataset) -> None:
    sampler = wt.torch.BatchSampler(dataset, batch_size=6)
    loader = torch.utils.data.DataLoader(wt.torch.MapDataset(dataset), batch_sampler=sampler, collate_fn=keys_of)
    ours = wt.loader(dataset, batch_size=6)
    assert len(loader) == len(ours) == 7
    for _ in range(2):
        assert list(loader) == [batch.keys for batch in ours]
    for _, _batch in zip(range(len(loader)), loader, strict=False):
        state = sampler.state_dict()
    sampler.load_state_dict(state)
    assert sampler.state_dict()["epoch"] == 3


_RANKS = """
import json, sys
import torch, torch.distributed as dist
import wdstools as wt
loader = wt.loader(sys.argv[1], batch_size=4)  # made before the ranks are known
tensors = wt.torch.loader(sys.argv[1], global_batch_size=8)
stream = wt.torch.StreamDataset(sys.argv[1], batch_size=4)
pipeline = wt.webdataset(sys.argv[1])
if __name__ == "__main__":
    dist.init_process_group("gloo", init_method=sys.argv[2], rank=int(sys.argv[3]), world_size=2)
    own = lambda batches: [k for b in batches for k, mine in zip(b.keys, b.mask) if mine]
    spawned = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    forked = torch.utils.data.DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context="fork")
    print(json.dumps({
        "loader": own(loader), "torch": own(tensors),
        "spawned": [s["__key__"] for s in spawned], "forked": [s["__key__"] for s in forked],
        "webdataset": [s["__key__"] for s in pipeline], "told": repr(loader),
    }))
    dist.destroy_process_group()
"""


def test_ranks_of_torch_distributed_are_found_by_all(dataset: Dataset, tmp_path: Any) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(_RANKS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    running = [
        subprocess.Popen(
            [sys.executable, str(script), dataset.shards.url, place, str(rank)],
            env=environment(**paths),
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    first, second = (json.loads(process.communicate(timeout=250)[0]) for process in running)
    assert "rank 1 of 2 (torch.distributed)" in second["told"]
    for name in ("loader", "torch", "spawned", "forked", "webdataset"):
        assert sorted(first[name] + second[name]) == sorted(dataset["train"].keys()), name


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_webdataset_pipeline_has_epochs_with_new_workers_too(dataset: Dataset, how: str) -> None:
    wds = pytest.importorskip("webdataset")
    pipeline = wt.webdataset(dataset, epoch=3).to_tuple("__key__")
    loader = wds.WebLoader(pipeline, batch_size=None, num_workers=2, multiprocessing_context=how)
    orders = [[key for (key,) in loader] for _ in range(2)]
    assert [sorted(order) for order in orders] == [sorted(dataset["train"].keys())] * 2
    assert orders[0] != orders[1]
    pipeline.set_epoch(3)
    assert [key for (key,) in loader] == orders[0]
    expected = wt.stream(dataset)
    expected.set_epoch(3)
    assert [key for (key,) in wt.webdataset(dataset, epoch=3).to_tuple("__key__")] == [s.key for s in expected]


# the iterator of torch that was being made then is taken down half made
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("options", [{"batch_size": None}, {"batch_size": 4, "shuffle": True}])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_in_a_data_loader_is_refused_before_workers_start(
    dataset: Dataset, workers: int, options: dict[str, Any]
) -> None:
    loader = wt.torch.loader(dataset, batch_size=4)
    with pytest.raises(UsageError, match="is not a dataset for a DataLoader") as caught:
        list(torch.utils.data.DataLoader(loader, num_workers=workers, **options))
    code, hint = caught.value.code, caught.value.hint
    del caught
    gc.collect()  # while its complaint is passed over
    assert code == "not-a-dataset"
    assert "StreamDataset" in hint


def test_options_of_loaders_are_told_from_misspelt_ones(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no option decode: samples come undecoded") as caught:
        wt.torch.StreamDataset(dataset, decode="gray")  # type: ignore[call-arg]
    assert "wt.torch.loader" in caught.value.hint


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize(
    ("workers", "others", "stop"), [(3, 2, 0), (3, 2, 4), (2, 0, 7), (0, 3, 1), (1, 4, 99), (2, 3, 99)]
)
def test_the_state_of_a_stateful_data_loader_goes_on_with_other_workers(
    dataset: Dataset, workers: int, others: int, stop: int
) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def opened(number: int, state: Any = None) -> Any:
        stream = wt.torch.StreamDataset(dataset, batch_size=3)
        if state is not None:
            stream.load_state_dict(state)
        return stateful(stream, batch_size=3, num_workers=number, collate_fn=keys_of)

    whole = wt.stream(dataset)
    expected = [[sample.key for sample in whole] for _ in range(2)]
    first = opened(workers)
    begun = list(itertools.chain(*itertools.islice(first, stop)))
    second = opened(others, pickle.loads(pickle.dumps(first.state_dict())))  # noqa: S301
    rest = list(itertools.chain(*second))
    assert begun + rest == (expected[0] + expected[1] if len(begun) == len(expected[0]) else expected[0])


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
def test_the_state_of_workers_whose_batches_were_their_own_is_refused(dataset: Dataset) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    first = stateful(wt.torch.StreamDataset(dataset), batch_size=4, num_workers=2, collate_fn=keys_of)
    next(iter(first))
    with pytest.raises(UsageError, match="its batches are not those of the dataset") as caught:
        wt.torch.StreamDataset(dataset).load_state_dict(first.state_dict())
    assert "batch_size" in caught.value.hint
    odd: list[Any] = [
        {"_snapshot": 3},
        {"_snapshot": {}},
        {"_num_yielded": 2},
        {"_snapshot": {"_worker_snapshots": {"a": 1}}},
    ]
    for bad in odd:
        with pytest.raises(UsageError, match="cannot continue with another number of workers"):
            wt.torch.StreamDataset(dataset).load_state_dict(bad)
