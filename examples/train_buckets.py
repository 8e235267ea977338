"""Aspect buckets, as for diffusion models: each batch has one shape, and the buckets are printed before training.

python examples/train_buckets.py shards --area 262144 --step 64
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset of images, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--area", type=int, default=512 * 512, help="most pixels of a shape")
parser.add_argument("--step", type=int, default=64, help="sides are multiples of this")


def network() -> nn.Module:
    """A small network that predicts the noise in an image of any shape."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 3, 1)
    )


def main() -> None:
    """Train, and print the buckets and the mean loss of each epoch."""
    options = parser.parse_args()
    torch.manual_seed(0)
    buckets = wt.aspect_buckets(options.area, step=options.step)
    loader = wt.torch.loader(options.dataset, batch_size=8, buckets=buckets)
    print(loader.buckets)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for epoch in range(options.epochs):
        losses = []
        for batch in loader:
            images = batch.images / 127.5 - 1
            noise = torch.randn(images.shape)
            loss = nn.functional.mse_loss(model(images / 2 + noise), noise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses)}))


if __name__ == "__main__":
    main()
