"""Evaluation that counts every sample exactly once, on any number of ranks: ``mask`` excludes padding.

python examples/evaluate.py shards --split val
torchrun --nproc-per-node 2 examples/evaluate.py shards --split val
"""

from __future__ import annotations

import argparse
import json
import os

import torch
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--split", default="val")
parser.add_argument("--batch-size", type=int, default=4)


def network(labels: int) -> nn.Module:
    """A small untrained network for images of one size, uint8 [B, 3, H, W]; the same on each rank."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


def main() -> None:
    """Print the number of samples, the number of right predictions, and the mean loss: the same on any number of ranks."""
    options = parser.parse_args()
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    loader = wt.torch.loader(
        options.dataset, options.split, batch_size=options.batch_size, image_size=64, shuffle=None, remainder="pad"
    )
    model = network(len(wt.open_dataset(options.dataset).manifest.labels)).eval()
    totals = torch.zeros(3, dtype=torch.float64)  # samples, right predictions, sum of losses
    with torch.inference_mode():
        for batch in loader:
            outputs = model(batch.images / 127.5 - 1)
            losses = nn.functional.cross_entropy(outputs, batch.labels, reduction="none")
            right = outputs.argmax(dim=1) == batch.labels
            # rows whose mask is False repeat a sample that is counted elsewhere
            totals[0] += batch.mask.sum()
            totals[1] += (right & batch.mask).sum()
            totals[2] += losses[batch.mask].double().sum()
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(totals)  # sum over ranks first, then divide
    samples, right, loss = totals.tolist()
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        print(json.dumps({"samples": int(samples), "accuracy": right / samples, "loss": loss / samples}))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
