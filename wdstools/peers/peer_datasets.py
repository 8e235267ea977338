"""Hugging Face datasets: ``load_dataset("webdataset", streaming=True)``, batches through torch's DataLoader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Image, load_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "datasets"


def _stream(task: dict[str, Any], *, decode: bool) -> Any:
    made = load_dataset("webdataset", data_files={"train": task["shards"]}, split="train", streaming=True)
    made = made.cast_column("jpg", Image(decode=decode))
    return made.shuffle(seed=0, buffer_size=1000) if task["shuffle"] else made


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, in one process."""
    while True:
        for _ in _stream(task, decode=False):
            yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches, from worker processes."""
    from torch.utils.data import DataLoader

    best = task["variant"] == "best"
    collate = _decode if best else _stack
    stream = _stream(task, decode=not best)
    loader = DataLoader(
        stream, task["batch_size"], num_workers=task["threads"], collate_fn=collate, persistent_workers=True
    )
    while True:
        for images, _ in loader:
            yield len(images)


def _stack(samples: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    import torch

    images = np.stack([np.asarray(sample["jpg"].convert("RGB")) for sample in samples])
    return torch.from_numpy(images), [sample["txt"] for sample in samples]


def _decode(samples: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    import simplejpeg
    import torch

    images = np.stack([simplejpeg.decode_jpeg(sample["jpg"]["bytes"]) for sample in samples])
    return torch.from_numpy(images), [sample["txt"] for sample in samples]
