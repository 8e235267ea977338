"""Accelerate: ``prepare`` returns the loader unchanged, because the loader finds its rank by itself.

accelerate launch examples/train_accelerate.py shards
"""

from __future__ import annotations

import argparse
import json

import torch
from accelerate import Accelerator
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)


def network(labels: int) -> nn.Module:
    """A small network for images of one size, uint8 [B, 3, H, W]."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    options = parser.parse_args()
    torch.manual_seed(0)
    accelerator = Accelerator()
    model = network(len(wt.open_dataset(options.dataset).manifest.labels))
    model, optimizer = accelerator.prepare(model, torch.optim.Adam(model.parameters(), lr=0.01))
    loader = wt.torch.loader(options.dataset, global_batch_size=8, image_size=64, device=accelerator.device)
    for epoch in range(options.epochs):
        losses = []
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch.images / 127.5 - 1), batch.labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        accelerator.print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses)}))


if __name__ == "__main__":
    main()
