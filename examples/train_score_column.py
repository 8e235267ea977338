"""A score for every image, computed once, stored next to the shards, and used to select samples and to weight the loss.

python examples/train_score_column.py shards --least 0.1
"""

from __future__ import annotations

import argparse
import io
import json

import numpy as np
import torch
from PIL import Image
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset of images with labels, packed by wdstools")
parser.add_argument("--least", type=float, default=0.1, help="the lowest contrast to train on")
parser.add_argument("--epochs", type=int, default=2)


def contrast(sample: wt.Sample) -> dict[str, float]:
    """How much an image's brightness varies, 0 to about 0.5: a stand-in for a model's score."""
    gray = Image.open(io.BytesIO(sample.view(next(iter(sample))))).convert("L")
    return {"contrast": float(np.asarray(gray).std() / 255)}


def network(labels: int) -> nn.Module:
    """A small network for images of one size, uint8 [B, 3, H, W]."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


def main() -> None:
    """Compute the score if it is missing, train, and print the mean loss of each epoch."""
    options = parser.parse_args()
    torch.manual_seed(0)
    if all("contrast" not in one.fields for one in wt.list_columns(options.dataset)):
        executor = wt.open_executor("processes")
        wt.map_columns(options.dataset, contrast, columns={"contrast": "float32"}, name="contrast", executor=executor)
        executor.close()
    loader = wt.torch.loader(
        options.dataset,
        batch_size=8,
        image_size=64,
        where=f"contrast >= {options.least}",
        columns=["contrast"],
        metrics=True,
    )
    model = network(len(wt.open_dataset(options.dataset).manifest.labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for epoch in range(options.epochs):
        losses, samples = [], 0
        for batch in loader:
            each = nn.functional.cross_entropy(model(batch.images / 255), batch.labels, reduction="none")
            loss = (each * batch["contrast"] * batch.mask).sum() / batch.mask.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            samples += int(batch.mask.sum())
        print(json.dumps({"epoch": epoch, "samples": samples, "loss": sum(losses) / len(losses)}))
    print(loader.metrics())


if __name__ == "__main__":
    main()
