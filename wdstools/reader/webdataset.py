"""Verified samples for existing webdataset scripts: one line changes, the rest of the pipeline stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webdataset as wds
from webdataset.utils import pytorch_worker_info

from wdstools.dataset import as_dataset
from wdstools.reader.stream import stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset


class VerifiedSamples:
    """The source of a pipeline: samples as webdataset's own (``__key__``, ``__url__``, bytes by extension), checked.

    Worker processes and nodes share them out among them, as webdataset's splitters do with shards, but sample by
    sample: nobody gets more than one more than another. Each pass is the next epoch of the order; a worker that is
    started anew begins with ``epoch``.
    """

    def __init__(self, dataset: Dataset | str, split: str, options: dict[str, Any]) -> None:
        self._dataset = as_dataset(dataset)
        self._split = split
        self._options = options
        self._epoch = options.pop("epoch", 0)

    def __call__(self) -> Iterator[dict[str, Any]]:
        """One pass over this worker's samples."""
        rank, world_size, worker, workers = pytorch_worker_info()
        options = {"rank": rank * workers + worker, "world_size": world_size * workers, **self._options}
        samples = stream(self._dataset, self._split, **options)
        samples.set_epoch(self._epoch)
        self._epoch += 1
        url = f"{self._dataset.shards.url}/{self._split}"
        for sample in samples:
            yield {"__key__": sample.key, "__url__": url, **sample}


class VerifiedPipeline(wds.DataPipeline, wds.compat.FluidInterface):  # type: ignore[misc]
    """A pipeline that begins with verified samples; goes to worker processes however they are started."""


def webdataset(dataset: Dataset | str, split: str = "train", *, epoch: int = 0, **options: Any) -> Any:
    """A ``webdataset.DataPipeline`` over the verified samples of a split, with webdataset's fluent methods.

    ``wt.webdataset("shards").decode("pil").to_tuple("jpg", "txt")`` is ``webdataset.WebDataset(urls)...`` but that
    damage is noticed, every sample comes once over all nodes and workers, and ``shuffle="full"`` or ``"block"`` (an
    option of ``wdstools.stream``, as the others) shuffles the whole split. Needs no shard splitter.
    """
    return VerifiedPipeline(VerifiedSamples(dataset, split, {**options, "epoch": epoch}))
