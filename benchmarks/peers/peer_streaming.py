"""MosaicML Streaming: MDS shards, StreamingDataset in torch's DataLoader."""

from __future__ import annotations

import io
import os
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from collections.abc import Iterator

# It imports torchvision for classes that nobody uses here; torch's build for processors alone has none.
_STUBS = {
    "torchvision": (),
    "torchvision.datasets": ("VisionDataset", "CIFAR10", "ImageFolder"),
    "torchvision.transforms": (),
    "torchvision.transforms.functional": ("to_tensor",),
}
try:
    import torchvision  # noqa: F401
except ImportError:
    for _name, _classes in _STUBS.items():
        _made = sys.modules[_name] = ModuleType(_name)
        _made.__spec__ = ModuleSpec(_name, None, is_package=True)
        for _class in _classes:
            setattr(_made, _class, type(_class, (), {}))

from streaming import MDSWriter, StreamingDataset  # noqa: E402
from streaming.base.util import clean_stale_shared_memory  # noqa: E402

PACKAGE = "mosaicml-streaming"


def prepare(task: dict[str, Any]) -> None:
    """MDS shards of the default size."""
    folder = task["files"]
    with MDSWriter(out=task["prepared"], columns={"image": "bytes", "caption": "str"}) as writer:
        for name in sorted(os.listdir(folder)):
            if name.endswith(".jpg"):
                with open(f"{folder}/{name}", "rb") as image, open(f"{folder}/{name[:-4]}.txt", "rb") as caption:
                    writer.write({"image": image.read(), "caption": caption.read().decode()})


def _dataset(task: dict[str, Any], batch_size: int) -> Any:
    clean_stale_shared_memory()
    return StreamingDataset(local=task["prepared"], shuffle=task["shuffle"], batch_size=batch_size)


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, one process."""
    made = _dataset(task, 1)
    while True:
        for _ in made:
            yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches by worker processes."""
    loader = DataLoader(
        _dataset(task, task["batch_size"]),
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
