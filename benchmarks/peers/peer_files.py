"""torch's Dataset and DataLoader over loose files, as torch's tutorial on custom datasets has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "torch"


class Pairs(Dataset):
    """A folder of ``x.jpg`` and ``x.txt``: images decoded with Pillow, or bytes."""

    def __init__(self, folder: str, *, decode: bool) -> None:
        self._stems = sorted(os.path.join(folder, name[:-4]) for name in os.listdir(folder) if name.endswith(".jpg"))
        self._decode = decode

    def __len__(self) -> int:
        return len(self._stems)

    def __getitem__(self, number: int) -> tuple[Any, str]:
        with open(f"{self._stems[number]}.txt", encoding="utf-8") as file:
            caption = file.read()
        with open(f"{self._stems[number]}.jpg", "rb") as file:
            if not self._decode:
                return file.read(), caption
            from PIL import Image

            return np.asarray(Image.open(file).convert("RGB")), caption


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Files read one by one, one process."""
    pairs = Pairs(task["files"], decode=False)
    while True:
        for number in torch.randperm(len(pairs)).tolist() if task["shuffle"] else range(len(pairs)):
            _ = pairs[number]
            yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches by worker processes."""
    best = task["variant"] == "best"
    loader = DataLoader(
        Pairs(task["files"], decode=not best),
        task["batch_size"],
        shuffle=task["shuffle"],
        num_workers=task["threads"],
        persistent_workers=True,
        collate_fn=_decode if best else None,
        drop_last=True,
    )
    while True:
        for images, _ in loader:
            yield len(images)


def _decode(samples: list[tuple[bytes, str]]) -> tuple[Any, list[str]]:
    import simplejpeg

    images = np.stack([simplejpeg.decode_jpeg(image) for image, _ in samples])
    return torch.from_numpy(images), [caption for _, caption in samples]
