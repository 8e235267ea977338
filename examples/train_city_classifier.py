"""Which city is it? A small CNN on a dataset of images by city, with checkpoints from which training resumes exactly.

    python examples/train_city_classifier.py shards
    torchrun --nproc-per-node 2 examples/train_city_classifier.py shards     # the same global batches, divided among ranks

Stopped in the middle of an epoch (by ``--stop-after``, or by Ctrl-C after a checkpoint), it resumes with the next global
batch, on any number of ranks: ``--batch-size`` is the batch size of all ranks together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import wdstools as wt

if TYPE_CHECKING:
    from collections.abc import Iterator


class CityNet(nn.Module):
    """Three strided convolutions and a linear layer: small enough for a CPU."""

    def __init__(self, cities: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=4),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, cities),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores of the cities, [B, cities], for uint8 images [B, 3, H, W]."""
        scores: torch.Tensor = self.layers(images.float() / 127.5 - 1)
        return scores


def train(options: argparse.Namespace) -> Iterator[tuple[int, int, float]]:
    """Train; yields epoch, position and loss of every global batch."""
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    world_size = distributed.get_world_size() if distributed.is_initialized() else 1
    dataset = wt.open_dataset(options.dataset)
    loader = wt.torch.loader(
        dataset,
        batch_size=options.batch_size // world_size,
        seed=options.seed,
        rank=rank,
        world_size=world_size,
        image_size=options.image_size,
        remainder="drop",
    )
    torch.manual_seed(options.seed)
    plain = CityNet(len(dataset.manifest.labels))
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9)
    if os.path.exists(options.checkpoint):
        saved = torch.load(options.checkpoint, weights_only=True)
        plain.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        loader.load_state_dict(saved["loader"])
        if rank == 0:
            at = f"epoch {saved['loader']['epoch']}, position {saved['loader']['position']}"
            print(f"resumed from {options.checkpoint}: {at}", file=sys.stderr, flush=True)
    model = DistributedDataParallel(plain) if world_size > 1 else plain
    steps = 0
    while loader.epoch < options.epochs:
        for batch in loader:
            loss = nn.functional.cross_entropy(model(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            whole = loss.detach().clone()
            if world_size > 1:
                distributed.all_reduce(whole)
            state = loader.state_dict()
            yield state["epoch"], state["position"], float(whole) / world_size
            steps += 1
            stop = steps == options.stop_after
            if rank == 0 and (stop or steps % options.checkpoint_every == 0):
                saved = {"model": plain.state_dict(), "optimizer": optimizer.state_dict(), "loader": state}
                torch.save(saved, f"{options.checkpoint}.new")
                os.replace(f"{options.checkpoint}.new", options.checkpoint)
            if stop:
                return


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=64, help="of all ranks together (%(default)s)")
    parser.add_argument("--image-size", type=int, default=None, help="needed if images have different sizes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", default="city_classifier.pt")
    parser.add_argument("--checkpoint-every", type=int, default=100, help="global batches (%(default)s)")
    parser.add_argument("--stop-after", type=int, default=None, help="stop after this many global batches")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.init_process_group("gloo")
    try:
        for epoch, position, loss in train(options):
            if not distributed.is_initialized() or distributed.get_rank() == 0:
                print(json.dumps({"epoch": epoch, "position": position, "loss": round(loss, 6)}), flush=True)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


if __name__ == "__main__":
    main()
