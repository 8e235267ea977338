"""Hugging Face Trainer: epochs by number, with its own DataLoader and with ours, and on after a checkpoint.

    python trainer_driver.py SHARDS FOLDER EPOCHS WORKERS

Prints a JSON object: the keys of each epoch for every way of giving Trainer the data, and of a run that went on.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Trainer, TrainerCallback, TrainingArguments

import wdstools as wt

BATCH = 8


class Brightness(torch.nn.Module):
    """Two numbers of an image's mean; takes a batch as Trainer gives it: ``model(**batch)``."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)
        self.seen: list[str] = []

    def forward(self, images: torch.Tensor, labels: torch.Tensor, keys: list[str], **_: Any) -> dict[str, torch.Tensor]:
        """The loss."""
        self.seen += list(keys)
        scores = self.layer(images.float().mean((2, 3)) / 255)
        return {"loss": torch.nn.functional.cross_entropy(scores, labels % 2), "scores": scores}


class Epochs(TrainerCallback):  # type: ignore[misc]
    """Notes which keys were seen in which epoch."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.epochs: list[list[str]] = []
        self.stop_after = stop_after

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Another epoch is over."""
        self.epochs.append(model.seen)
        model.seen = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where a run is to be stopped."""
        if state.global_step == self.stop_after:
            control.should_save = control.should_training_stop = True


def decoded(sample: dict[str, Any]) -> dict[str, Any]:
    """A sample of bytes as the model wants it."""
    pixels = np.array(Image.open(io.BytesIO(sample["jpg"])).convert("RGB"))
    return {
        "images": torch.from_numpy(pixels).permute(2, 0, 1),
        "labels": int(sample["cls"]),
        "keys": sample["__key__"],
    }


def together(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch of samples."""
    return {
        "images": torch.stack([sample["images"] for sample in samples]),
        "labels": torch.tensor([sample["labels"] for sample in samples]),
        "keys": [sample["keys"] for sample in samples],
    }


class OurLoader(Trainer):  # type: ignore[misc]
    """Trainer with batches of ``wt.torch.loader``."""

    def get_train_dataloader(self) -> Any:
        """The batches."""
        return self.accelerator.prepare(self.train_dataset)


def train(how: str, shards: str, folder: str, epochs: int, workers: int, **stop: Any) -> Epochs:
    """Train for some epochs; ``how`` is stream, map or loader."""
    made = {
        "stream": lambda: wt.torch.StreamDataset(shards, batch_size=BATCH, transform=decoded),
        "map": lambda: wt.torch.MapDataset(shards, transform=decoded),
        "loader": lambda: wt.torch.loader(shards, batch_size=BATCH),
    }[how]()
    resume = stop.pop("resume", None)
    noted = Epochs(**stop)
    arguments = TrainingArguments(
        folder,
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        dataloader_num_workers=workers,
        remove_unused_columns=False,
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    kind = OurLoader if how == "loader" else Trainer
    trainer = kind(Brightness(), arguments, train_dataset=made, data_collator=together, callbacks=[noted])
    trainer.train(resume_from_checkpoint=resume)
    return noted


def main() -> None:
    """The command line."""
    shards, folder, epochs, workers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    found: dict[str, Any] = {}
    for how in ("stream", "map", *(() if workers else ("loader",))):
        found[how] = train(how, shards, f"{folder}/{how}", epochs, workers).epochs
    train("stream", shards, f"{folder}/begun", 3, workers, stop_after=11)
    resumed = train("stream", shards, f"{folder}/begun", 3, workers, resume=f"{folder}/begun/checkpoint-11")
    found["resumed"] = resumed.epochs
    print(json.dumps(found))


if __name__ == "__main__":
    main()
