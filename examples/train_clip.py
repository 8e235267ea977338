"""CLIP-style training on two mixed datasets, in aspect buckets, on any number of ranks; resumes exactly from a checkpoint.

python examples/train_clip.py shards --other more-shards --where "width >= 256"
torchrun --nproc-per-node 2 examples/train_clip.py shards --other more-shards --checkpoint state.pt
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import wdstools as wt

if TYPE_CHECKING:
    from collections.abc import Iterator

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset of images and captions, packed by wdstools")
parser.add_argument("--other", help="another dataset; default: the first one again")
parser.add_argument("--where", help="a condition on the columns of both, such as width >= 256")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--global-batch-size", type=int, default=16)
parser.add_argument("--area", type=int, default=224 * 224, help="most pixels of a shape")
parser.add_argument("--step", type=int, default=32, help="sides are multiples of this")
parser.add_argument("--checkpoint", type=Path, help="checkpoint to write, and to resume from")
parser.add_argument("--stop-after", type=int, default=0, help="stop after this many batches")
WORDS, VOCABULARY = 16, 4096


def tokens(captions: list[str]) -> torch.Tensor:
    """The first words of each caption as hashes: this stands in for a tokenizer that would have to be downloaded."""
    found = torch.zeros(len(captions), WORDS, dtype=torch.int64)
    for row, caption in enumerate(captions):
        for place, word in enumerate(caption.lower().split()[:WORDS]):
            found[row, place] = 1 + int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big") % (VOCABULARY - 1)
    return found


class Towers(nn.Module):
    """An encoder of images of any shape, and one of captions."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 32)
        )
        self.text = nn.EmbeddingBag(VOCABULARY, 32, padding_idx=0)

    def forward(self, images: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both embeddings, of length 1."""
        normalize = nn.functional.normalize
        return normalize(self.image(images / 127.5 - 1), dim=1), normalize(self.text(words), dim=1)


def gathered(embeddings: torch.Tensor) -> torch.Tensor:
    """The rows of all ranks; those of this rank keep their gradient."""
    if not torch.distributed.is_initialized():
        return embeddings
    parts = [torch.empty_like(embeddings) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, embeddings.detach())
    parts[torch.distributed.get_rank()] = embeddings
    return torch.cat(parts)


def contrastive(images: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """The contrastive loss over the global batch, from images to captions and from captions to images."""
    scores = 10 * gathered(images) @ gathered(words).T
    right = torch.arange(len(scores))
    return (nn.functional.cross_entropy(scores, right) + nn.functional.cross_entropy(scores.T, right)) / 2


def open_loader(options: argparse.Namespace) -> Any:
    """Batches of both datasets, each of one shape."""
    sources = {
        "first": wt.source(options.dataset, weight=0.7, where=options.where),
        "second": wt.source(options.other or options.dataset, weight=0.3, where=options.where),
    }
    return wt.torch.loader(
        wt.mix(sources, stop="all"),
        global_batch_size=options.global_batch_size,
        buckets=wt.aspect_buckets(options.area, step=options.step),
        tokenizer=tokens,
        remainder="drop",
        metrics=True,
    )


def train(loader: Any, model: Towers, optimizer: torch.optim.Optimizer, stop_after: int) -> Iterator[dict[str, Any]]:
    """Train the rest of an epoch, or a number of its steps; yields what each rank may print for a step."""
    for number, batch in enumerate(loader, 1):
        loss = contrastive(*model(batch.images, batch.tokens))
        optimizer.zero_grad()
        loss.backward()
        if torch.distributed.is_initialized():
            for parameter in model.parameters():
                torch.distributed.all_reduce(parameter.grad)  # each rank has the gradient of its own rows
        optimizer.step()
        state = loader.state_dict()
        place = {"epoch": state["epoch"], "position": state["position"], "shape": [*batch.images.shape[2:]]}
        yield {"loss": loss.item(), **place}
        if number == stop_after:
            return


def main() -> None:
    """Train; print the loss of each step, and at the end of each epoch what training waited for."""
    options = parser.parse_args()
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    torch.manual_seed(0)
    loader, model = open_loader(options), Towers()
    if first:
        print(loader.buckets)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    if options.checkpoint and options.checkpoint.exists():
        saved = torch.load(options.checkpoint)
        model.load_state_dict(saved["model"])
        loader.load_state_dict(saved["loader"])
    steps = 0
    while loader.epoch < options.epochs and not 0 < options.stop_after <= steps:
        for step in train(loader, model, optimizer, options.stop_after - steps):
            steps += 1
            if first:
                print(json.dumps(step))
        if first:
            print(loader.metrics(reset=True))
    if options.checkpoint and first:
        torch.save({"model": model.state_dict(), "loader": loader.state_dict()}, options.checkpoint)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
