"""Two datasets in one loader, seven samples of the first for three of the second; resumes exactly from a checkpoint.

It also prints what each epoch waited for.

python examples/train_mix.py shards --other more-shards
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--other", help="another dataset; default: the first one again, mirrored")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--per-batch", choices=("mixed", "homogeneous"), default="mixed")
parser.add_argument("--state", type=Path, help="file for the loader's state after each batch, and to resume from")
parser.add_argument("--stop-after", type=int, default=0, help="stop after this many batches")


def network(labels: int) -> nn.Module:
    """A small network for images of one size, uint8 [B, 3, H, W]."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


def main() -> None:
    """Train, and print the mean loss of each epoch, and the epoch that each source is in."""
    options = parser.parse_args()
    torch.manual_seed(0)
    other = wt.source(
        options.other or options.dataset,
        weight=0.3,
        image_transform=None if options.other else lambda image: image[:, ::-1],
    )
    mixed = wt.mix(
        {"first": wt.source(options.dataset, weight=0.7), "second": other}, stop="all", per_batch=options.per_batch
    )
    loader = wt.torch.loader(mixed, batch_size=8, image_size=64, metrics=True)
    if options.state and options.state.exists():
        loader.load_state_dict(json.loads(options.state.read_text()))
    model = network(len(wt.open_dataset(options.dataset).manifest.labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    steps = 0
    while loader.epoch < options.epochs:
        losses, epoch = [], loader.epoch
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch.images / 127.5 - 1), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            steps += 1
            if options.state:
                options.state.write_text(json.dumps(loader.state_dict()))
            if steps == options.stop_after:
                return
        sources = {source.name: [source.epoch, source.position] for source in loader.sources}
        print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses), "sources": sources}))
        print(loader.metrics(reset=True))


if __name__ == "__main__":
    main()
