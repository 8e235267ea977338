"""LitData: ``optimize`` once, then StreamingDataset and StreamingDataLoader."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from litdata import StreamingDataLoader, StreamingDataset, optimize

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "litdata"


def _read(stem: str) -> dict[str, Any]:
    with open(f"{stem}.jpg", "rb") as image, open(f"{stem}.txt", encoding="utf-8") as caption:
        return {"image": image.read(), "caption": caption.read()}


def prepare(task: dict[str, Any]) -> None:
    """Chunks of 64 MB, as its README makes them."""
    folder = task["files"]
    stems = sorted(f"{folder}/{name[:-4]}" for name in os.listdir(folder) if name.endswith(".jpg"))
    optimize(fn=_read, inputs=stems, output_dir=task["prepared"], chunk_bytes="64MB", num_workers=1)


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, one process."""
    while True:
        for _ in StreamingDataset(task["prepared"], shuffle=task["shuffle"]):
            yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches by worker processes."""
    loader = StreamingDataLoader(
        StreamingDataset(task["prepared"], shuffle=task["shuffle"]),
        batch_size=task["batch_size"],
        num_workers=task["threads"],
        persistent_workers=True,
        collate_fn=_decode if task["variant"] == "best" else _decode_with_pillow,
    )
    while True:
        for images, _ in loader:
            yield len(images)


def _decode_with_pillow(samples: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    from PIL import Image

    images = [np.asarray(Image.open(io.BytesIO(sample["image"])).convert("RGB")) for sample in samples]
    return torch.from_numpy(np.stack(images)), [sample["caption"] for sample in samples]


def _decode(samples: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    import simplejpeg

    images = [simplejpeg.decode_jpeg(sample["image"]) for sample in samples]
    return torch.from_numpy(np.stack(images)), [sample["caption"] for sample in samples]
