"""Verified samples for existing webdataset scripts: change one line, and the rest of the pipeline stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import webdataset as wds

from wdstools.dataset import as_dataset
from wdstools.errors import UsageError
from wdstools.reader.options import UndecodedOptions, settled
from wdstools.reader.stream import open_stream

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from typing import Unpack

    from wdstools.dataset import Dataset


class VerifiedSamples:
    """The source of a pipeline: checked samples in webdataset's form (``__key__``, ``__url__``, bytes by extension).

    Worker processes and nodes share the samples, as webdataset's splitters share shards, but one by one: the shares
    differ by at most one sample. Each pass is the next epoch of the order, even in new worker processes.
    """

    def __init__(self, dataset: Dataset, split: str, options: UndecodedOptions, epoch: int) -> None:
        self._url = f"{dataset.shards.url}/{split}"
        self._samples = _samples_for_workers(dataset, split, options)
        self._samples.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be this epoch."""
        self._samples.set_epoch(epoch)

    def __call__(self) -> Iterator[dict[str, Any]]:
        """One pass over this worker's samples."""
        for sample in self._samples:
            yield {"__key__": sample["__key__"], "__url__": self._url, **sample}


def _samples_for_workers(dataset: Dataset, split: str, options: UndecodedOptions) -> Any:
    """Samples as dictionaries; with torch, shared out to worker processes, which do not exist without it."""
    try:
        from wdstools.reader.torch import StreamDataset
    except ModuleNotFoundError:
        return _Plain(dataset, split, options)
    return StreamDataset(dataset, split, **options)


class _Plain:
    """StreamDataset without torch, and so without worker processes."""

    def __init__(self, dataset: Dataset, split: str, options: UndecodedOptions) -> None:
        self._stream = open_stream(dataset, split, options)

    def set_epoch(self, epoch: int) -> None:
        self._stream.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return ({"__key__": sample.key, **sample, **sample.columns} for sample in self._stream)


class VerifiedPipeline(wds.DataPipeline, wds.compat.FluidInterface):  # type: ignore[misc]
    """A pipeline that begins with verified samples; it can go to worker processes, however they are started."""

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be this epoch."""
        self.pipeline[0].set_epoch(epoch)


def webdataset(
    dataset: Dataset | str | os.PathLike[str],
    split: str = "train",
    *,
    epoch: int = 0,
    **options: Unpack[UndecodedOptions],
) -> Any:
    """A ``webdataset.DataPipeline`` over the verified samples of a split, with webdataset's fluent methods.

    ``wt.webdataset("shards").decode("pil").to_tuple("jpg", "txt")`` is ``webdataset.WebDataset(urls)...``, except that
    damage is detected, every sample comes once over all nodes and workers, and the whole split is shuffled. ``options``
    are those of ``wdstools.stream``; ``epoch`` is that of the first pass, and ``set_epoch`` sets another. Needs no shard
    splitter.
    """
    chosen = settled(UndecodedOptions, options, "wt.webdataset")
    if isinstance(epoch, bool) or not isinstance(epoch, int):
        raise UsageError("not a whole number", where="epoch", expected="a whole number", got=repr(epoch)[:100])
    return VerifiedPipeline(VerifiedSamples(as_dataset(dataset), split, chosen, epoch))
