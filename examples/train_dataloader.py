"""For those who keep their DataLoader: StreamDataset in its workers, or MapDataset in the order of wdstools.

python examples/train_dataloader.py shards --workers 2
"""

from __future__ import annotations

import argparse
import io
import json
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--workers", type=int, default=2)
parser.add_argument("--map", action="store_true", help="read by number, with BatchSampler")
BATCH = 8


def network(labels: int) -> nn.Module:
    """A small network for images of one size, uint8 [B, 3, H, W]."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


def decoded(sample: dict[str, Any]) -> tuple[torch.Tensor, int]:
    """Turn bytes by extension into an image and a label; runs in the workers."""
    image = Image.open(io.BytesIO(sample["jpg"])).convert("RGB").resize((64, 64))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1), int(sample["cls"])


def main() -> None:
    """Train, and print the mean loss of each epoch."""
    options = parser.parse_args()
    torch.manual_seed(0)
    loader: DataLoader[Any]
    if options.map:
        sampler = wt.torch.BatchSampler(options.dataset, batch_size=BATCH)
        samples = wt.torch.MapDataset(options.dataset, transform=decoded)
        loader = DataLoader(samples, batch_sampler=sampler, num_workers=options.workers)
    else:
        # because it knows the batch size, its batches are the same with any number of workers
        stream = wt.torch.StreamDataset(options.dataset, batch_size=BATCH, transform=decoded)
        loader = DataLoader(stream, batch_size=BATCH, num_workers=options.workers)
    model = network(len(wt.open_dataset(options.dataset).manifest.labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(options.epochs):
        losses = []
        for images, labels in loader:
            loss = nn.functional.cross_entropy(model(images / 127.5 - 1), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses)}))


if __name__ == "__main__":
    main()
