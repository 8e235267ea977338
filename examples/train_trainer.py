"""Hugging Face Trainer with batches from wt.torch.loader, which it passes to the model as model(**batch).

python examples/train_trainer.py shards
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)


def network(labels: int) -> nn.Module:
    """A small network for images of one size, uint8 [B, 3, H, W]."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


class Classifier(nn.Module):
    """Predicts the label of an image. Takes the fields of a batch by name; those that it does not need are in ``_``."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.network = network(labels)

    def forward(self, images: torch.Tensor, labels: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        """Scores and their loss."""
        scores = self.network(images / 127.5 - 1)
        return {"loss": nn.functional.cross_entropy(scores, labels), "scores": scores}


class LoaderTrainer(Trainer):
    """A Trainer whose training set is already a loader."""

    def get_train_dataloader(self) -> Any:
        """The loader, which finds its rank and decodes in threads."""
        return self.train_dataset


class Printed(TrainerCallback):
    """Prints the loss when Trainer logs it."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Print one line."""
        if logs and "loss" in logs:
            print(json.dumps({"epoch": logs["epoch"], "loss": float(logs["loss"])}))


def main() -> None:
    """Train."""
    options = parser.parse_args()
    torch.manual_seed(0)
    arguments = TrainingArguments(
        "trainer",
        num_train_epochs=options.epochs,
        learning_rate=0.01,
        lr_scheduler_type="constant",
        logging_strategy="epoch",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    loader = wt.torch.loader(options.dataset, batch_size=8, image_size=64)
    model = Classifier(len(wt.open_dataset(options.dataset).manifest.labels))
    LoaderTrainer(model, arguments, train_dataset=loader, callbacks=[Printed()]).train()


if __name__ == "__main__":
    main()
