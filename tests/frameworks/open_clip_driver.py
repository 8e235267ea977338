"""open_clip's own training loop on batches of ``wt.torch.loader``: its preprocessing, its tokenizer, its loss.

    python open_clip_driver.py SHARDS EPOCHS

Prints a JSON object: the keys of each epoch, and the losses' first and last.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import open_clip
import torch
from open_clip_train.train import train_one_epoch
from PIL import Image

import wdstools as wt

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 8
SIDE = 32


class Data:
    """What open_clip asks of its training data: pairs of images and texts, how many, and to begin an epoch."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self.dataloader = self
        self.num_batches = len(loader)
        self.num_samples = len(loader) * BATCH
        self.batch_size = BATCH
        self.seen: list[list[str]] = []

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        self.loader.set_epoch(epoch)
        self.seen.append([])

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for batch in self.loader:
            self.seen[-1] += batch.keys
            yield batch.images, batch["tokens"]


def main() -> None:
    """The command line."""
    shards, epochs = sys.argv[1], int(sys.argv[2])
    torch.manual_seed(0)
    tower = {"layers": 1, "width": 32}
    model = open_clip.CLIP(
        16,
        vision_cfg={**tower, "patch_size": 8, "image_size": SIDE, "head_width": 16},
        text_cfg={**tower, "heads": 2, "context_length": 77, "vocab_size": 49408},
        output_dict=True,
    )
    preprocess = open_clip.image_transform(SIDE, is_train=True)
    loader = wt.torch.loader(
        shards,
        batch_size=BATCH,
        image_size=SIDE,
        image_transform=lambda image: preprocess(Image.fromarray(image)),
        tokenizer=open_clip.tokenizer.SimpleTokenizer(),
    )
    data = Data(loader)
    args = SimpleNamespace(
        device="cpu",
        precision="fp32",
        distill=False,
        accum_freq=1,
        skip_scheduler=True,
        horovod=False,
        grad_clip_norm=None,
        rank=0,
        local_rank=0,
        world_size=1,
        batch_size=BATCH,
        log_every_n_steps=100,
        wandb=False,
        tensorboard=False,
        save_logs=False,
        distributed=False,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(epochs):
        train_one_epoch(model, {"train": data}, open_clip.ClipLoss(), epoch, optimizer, None, None, None, args)
    print(json.dumps({"epochs": data.seen}))


if __name__ == "__main__":
    main()
