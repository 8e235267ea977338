"""Megatron Energon over the same shards, prepared with ``energon prepare``; its own loader and decoder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from megatron.energon import DefaultTaskEncoder, SampleDecoder, WorkerConfig, get_loader, get_train_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "megatron-energon"


def prepare(task: dict[str, Any]) -> None:
    """Links to the shards, and energon's own metadata beside them."""
    folder = task["prepared"]
    os.makedirs(folder)
    for shard in task["shards"]:
        os.symlink(shard, f"{folder}/{os.path.basename(shard)}")
    command = [
        os.path.join(os.path.dirname(sys.executable), "energon"),
        "prepare",
        "--non-interactive",
        "--no-progress",
    ]
    command += ["--split-parts", "train:.*", "--sample-type", "CaptioningSample"]
    subprocess.run([*command, "--field-map", '{"image": "jpg", "caption": "txt"}', folder], check=True)


class _Plain(DefaultTaskEncoder):
    """Samples as they lie in the shards."""

    decoder = None

    def batch(self, samples: list[Any]) -> Any:
        return samples


class _Decoding(DefaultTaskEncoder):
    """Energon's own decoder (Pillow), images as bytes of colour."""

    decoder = SampleDecoder(image_decode="rgb8")

    def batch(self, samples: list[Any]) -> Any:
        return torch.from_numpy(np.stack([sample.image for sample in samples])), [sample.caption for sample in samples]


class _DecodingFast(_Plain):
    """simplejpeg."""

    def batch(self, samples: list[Any]) -> Any:
        import simplejpeg

        images = np.stack([simplejpeg.decode_jpeg(sample.image) for sample in samples])
        return torch.from_numpy(images), [sample.caption for sample in samples]


def _loader(task: dict[str, Any], encoder: Any, batch_size: int | None, workers: int) -> Any:
    config = WorkerConfig(rank=0, world_size=1, num_workers=workers)
    made = get_train_dataset(
        task["prepared"],
        worker_config=config,
        batch_size=batch_size,
        shuffle_buffer_size=1000 if task["shuffle"] else None,
        max_samples_per_sequence=100 if task["shuffle"] else None,
        task_encoder=encoder,
    )
    return get_loader(made)


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, one process."""
    for _ in _loader(task, _Plain(), None, 0):
        yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches by worker processes."""
    encoder = _DecodingFast() if task["variant"] == "best" else _Decoding()
    for images, _ in _loader(task, encoder, task["batch_size"], task["threads"]):
        yield len(images)
