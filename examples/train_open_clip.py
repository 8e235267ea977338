"""open_clip: image and caption pairs, its preprocessing and its tokenizer in the loader's threads.

python examples/train_open_clip.py shards
"""

from __future__ import annotations

import argparse
import json

import open_clip
import torch
from PIL import Image

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)

SIDE = 32


def main() -> None:
    """Train a small model from scratch, and print the mean loss of each epoch."""
    options = parser.parse_args()
    torch.manual_seed(0)
    preprocess = open_clip.image_transform(SIDE, is_train=True)
    loader = wt.torch.loader(
        options.dataset,
        batch_size=20,
        image_size=64,
        image_transform=lambda image: preprocess(Image.fromarray(image)),
        tokenizer=open_clip.tokenizer.SimpleTokenizer(),
        caption="random",  # if samples have several
        remainder="drop",
    )
    tower = {"layers": 1, "width": 32}
    model = open_clip.CLIP(
        32,
        vision_cfg={**tower, "patch_size": 8, "image_size": SIDE, "head_width": 16},
        text_cfg={**tower, "heads": 2, "context_length": 77, "vocab_size": 49408},
        output_dict=True,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    contrast = open_clip.ClipLoss()
    for epoch in range(options.epochs):
        losses = []
        for batch in loader:
            loss = contrast(**model(batch.images, batch["tokens"]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(json.dumps({"epoch": epoch, "loss": sum(losses) / len(losses)}))


if __name__ == "__main__":
    main()
