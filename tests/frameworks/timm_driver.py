"""timm: a model and the augmentation of timm on ``wt.torch.loader``, and timm's own loader on ``wt.torch.MapDataset``.

    python timm_driver.py SHARDS EPOCHS

Prints a JSON object: the keys of each epoch, and how many samples timm's loader gave.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_loader, create_transform
from timm.optim import create_optimizer_v2

import wdstools as wt

SIDE = 32


def main() -> None:
    """The command line."""
    shards, epochs = sys.argv[1], int(sys.argv[2])
    torch.manual_seed(0)
    augment: Any = create_transform(SIDE, is_training=True)
    loader = wt.torch.loader(
        shards, batch_size=8, fit="list", image_transform=lambda image: augment(Image.fromarray(image))
    )
    model = timm.create_model("test_resnet", num_classes=8)
    optimizer = create_optimizer_v2(model, "sgd", lr=0.01)
    seen: list[list[str]] = []
    for _ in range(epochs):
        seen.append([])
        for batch in loader:
            seen[-1] += batch.keys
            loss = torch.nn.functional.cross_entropy(model(torch.stack(batch.images)), batch.labels % 8)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    whole = wt.torch.MapDataset(
        shards, transform=lambda sample: (Image.open(io.BytesIO(sample["jpg"])).convert("RGB"), int(sample["cls"]))
    )
    theirs = create_loader(
        _Transformed(whole), (3, SIDE, SIDE), 8, is_training=False, use_prefetcher=False, num_workers=0
    )
    counted = sum(len(labels) for _, labels in theirs)
    print(json.dumps({"epochs": seen, "theirs": counted}))


class _Transformed(torch.utils.data.Dataset[Any]):
    """A map-style dataset with the ``transform`` that timm's loader sets."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples
        self.transform: Any = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Any:
        image, label = self.samples[number]
        return self.transform(image), label


if __name__ == "__main__":
    main()
