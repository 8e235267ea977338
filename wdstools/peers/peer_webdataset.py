"""webdataset: its pipeline as in its README, batches through WebLoader. ``best`` decodes with simplejpeg."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import webdataset

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "webdataset"


def _pipeline(task: dict[str, Any]) -> Any:
    shards = task["shards"]
    made = webdataset.WebDataset(
        shards, shardshuffle=len(shards) if task["shuffle"] else False, nodesplitter=webdataset.single_node_only
    )
    return made.shuffle(1000) if task["shuffle"] else made


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, in one process."""
    while True:
        for _ in _pipeline(task):
            yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches, from worker processes if torch is installed."""
    samples = _pipeline(task).repeat()  # worker processes live on from epoch to epoch
    if task["variant"] == "best":
        pipeline = samples.to_tuple("jpg", "txt").batched(task["batch_size"], collation_fn=_decode_batch)
    else:
        pipeline = samples.decode("rgb8").to_tuple("jpg", "txt").batched(task["batch_size"])
    for images, _ in _loaded(pipeline, task):
        yield len(images)


def _loaded(pipeline: Any, task: dict[str, Any]) -> Any:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        return pipeline
    return webdataset.WebLoader(pipeline, batch_size=None, num_workers=min(task["threads"], len(task["shards"])))


def _decode_batch(samples: list[tuple[bytes, bytes]]) -> tuple[Any, list[str]]:
    import simplejpeg

    return np.stack([simplejpeg.decode_jpeg(image) for image, _ in samples]), [
        caption.decode() for _, caption in samples
    ]
