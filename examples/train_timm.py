"""timm: its augmentation as image_transform, its model, and the loader of wdstools.

python examples/train_timm.py shards
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import timm
import torch
from PIL import Image
from timm.data import create_transform
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)

SIDE = 32


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    options = parser.parse_args()
    torch.manual_seed(0)
    augment: Any = create_transform(SIDE, is_training=True, scale=(0.8, 1.0))
    loader = wt.torch.loader(
        options.dataset,
        batch_size=8,
        image_size=64,
        # for a function of one argument, the global generators are seeded for each sample
        image_transform=lambda image: augment(Image.fromarray(image)),
    )
    labels = len(wt.open_dataset(options.dataset).manifest.labels)
    model = timm.create_model("test_resnet", num_classes=labels)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for epoch in range(options.epochs):
        losses = []
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses)}))


if __name__ == "__main__":
    main()
