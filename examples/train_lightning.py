"""Lightning: a data module with two loaders, which find their ranks; checkpoints hold the loader's state.

python examples/train_lightning.py shards
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import lightning
import torch
from torch import nn

import wdstools as wt

parser = argparse.ArgumentParser()
parser.add_argument("dataset", help="a dataset with labels, packed by wdstools")
parser.add_argument("--epochs", type=int, default=3)


def network(labels: int) -> nn.Module:
    """A small network for images of one size, uint8 [B, 3, H, W]."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, labels)
    )


class Data(lightning.LightningDataModule):
    """The loaders, made once for the whole run, so that each epoch follows the last."""

    def __init__(self, dataset: str) -> None:
        super().__init__()
        self.train = wt.torch.loader(dataset, batch_size=8, image_size=64)
        self.val = wt.torch.loader(dataset, "val", batch_size=8, image_size=64)

    def train_dataloader(self) -> Any:
        """Batches of the training split."""
        return self.train

    def val_dataloader(self) -> Any:
        """Batches of the validation split."""
        return self.val


class Classifier(lightning.LightningModule):
    """Predicts the label of an image."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.network = network(labels)
        self.losses: list[float] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """The loss of a batch."""
        loss = nn.functional.cross_entropy(self.network(batch["images"] / 127.5 - 1), batch["labels"])
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        """Count right predictions; rows that repeat a sample do not count."""
        right = (self.network(batch["images"] / 127.5 - 1).argmax(1) == batch["labels"]) & batch["mask"]
        self.log("right", right.sum().float() / batch["mask"].sum(), batch_size=len(batch))

    def on_train_epoch_end(self) -> None:
        """Print the mean loss of the epoch."""
        print(json.dumps({"epoch": self.current_epoch, "loss": sum(self.losses) / len(self.losses)}))
        self.losses.clear()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=0.01)


def main() -> None:
    """Train."""
    options = parser.parse_args()
    lightning.seed_everything(0)
    trainer = lightning.Trainer(max_epochs=options.epochs, accelerator="auto", logger=False, enable_progress_bar=False)
    trainer.fit(Classifier(len(wt.open_dataset(options.dataset).manifest.labels)), datamodule=Data(options.dataset))


if __name__ == "__main__":
    main()
