"""Lightning: epochs whole, validation whole after the sanity check, and on in the middle of an epoch.

    python lightning_driver.py SHARDS FOLDER EPOCHS

Prints a JSON object: the keys of each epoch of training, of each validation, and of a run that was stopped and went on.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

import wdstools as wt

warnings.simplefilter("ignore")


class Pixels(lightning.LightningDataModule):
    """The loaders of a dataset, as Lightning asks for them."""

    def __init__(self, shards: str) -> None:
        super().__init__()
        self.shards = shards
        self.loader: Any = None

    def train_dataloader(self) -> Any:
        """Batches of the training split."""
        if self.loader is None:
            self.loader = wt.torch.loader(self.shards, batch_size=8)
        return self.loader

    def val_dataloader(self) -> Any:
        """Batches of the validation split."""
        return wt.torch.loader(self.shards, "val", batch_size=4)


class Brightness(lightning.LightningModule):
    """Two numbers of an image's mean; what it was shown is noted."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.epochs: list[list[str]] = [[]]
        self.validations: list[list[str]] = []
        self.stop_after = stop_after

    def on_train_epoch_start(self) -> None:
        """Another epoch; one that goes on has begun before."""
        if self.epochs[-1]:
            self.epochs.append([])

    def on_validation_epoch_start(self) -> None:
        """Another validation."""
        self.validations.append([])

    def training_step(self, batch: Any, number: int) -> torch.Tensor:
        """The loss of a batch."""
        self.epochs[-1] += list(batch["keys"])
        if self.global_step + 1 == self.stop_after:
            self.trainer.should_stop = True
        return self._loss(batch)

    def validation_step(self, batch: Any, number: int) -> None:
        """Note the batch."""
        self.validations[-1] += list(batch["keys"])
        self._loss(batch)

    def _loss(self, batch: Any) -> torch.Tensor:
        scores = self.layer(batch["images"].float().mean((2, 3)) / 255)
        return torch.nn.functional.cross_entropy(scores, batch["labels"] % 2)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain descent."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(shards: str, folder: str, epochs: int, steps: int = -1, resume: str | None = None) -> Brightness:
    """Train for some epochs or steps; the state is saved after the last step."""
    model = Brightness()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=3, save_top_k=-1)],
        default_root_dir=folder,
    )
    trainer.fit(model, datamodule=Pixels(shards), ckpt_path=resume)
    return model


def main() -> None:
    """The command line."""
    shards, folder, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    whole = fit(shards, f"{folder}/whole", epochs)
    begun = fit(shards, f"{folder}/begun", 3, steps=12)
    resumed = fit(shards, f"{folder}/resumed", 3, resume=f"{folder}/begun/last.ckpt")
    print(
        json.dumps(
            {
                "epochs": whole.epochs,
                "validations": whole.validations,
                "begun": [key for epoch in begun.epochs for key in epoch],
                "resumed": [key for epoch in resumed.epochs for key in epoch],
            }
        )
    )


if __name__ == "__main__":
    main()
