"""NVIDIA DALI on the CPU: its webdataset reader and image decoder. ``best`` returns batches without a copy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nvidia.dali import fn, pipeline_def, types

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "nvidia-dali-cuda130"


def _pipeline(task: dict[str, Any], *, decode: bool) -> Any:
    indexes = [index_of(shard, task["scratch"]) for shard in task["shards"]]

    @pipeline_def(batch_size=task["batch_size"], num_threads=task["threads"], device_id=None)
    def read() -> Any:
        images, captions = fn.readers.webdataset(
            paths=task["shards"],
            index_paths=indexes,
            ext=["jpg", "txt"],
            missing_component_behavior="error",
            random_shuffle=task["shuffle"],
            initial_fill=1000,
        )
        decoded = fn.decoders.image(images, device="cpu", output_type=types.RGB) if decode else images
        return decoded, captions

    made = read()
    made.build()
    return made


def index_of(shard: str, scratch: str) -> str:
    """DALI's own index of a tar, made once."""
    from wds2idx import IndexCreator

    path = Path(scratch, shard.replace("/", "_") + ".idx")
    if not path.exists():
        with IndexCreator(shard, str(path)) as creator:
            creator.create_index()
    return str(path)


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples as arrays."""
    made = _pipeline(task, decode=False)
    while True:
        images, captions = made.run()
        for number in range(len(images)):
            _ = images.at(number), captions.at(number)
        yield len(images)


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches as one array each, captions as text."""
    made = _pipeline(task, decode=True)
    while True:
        images, captions = made.run()
        tensor = images.as_tensor()
        batch = np.asarray(tensor) if task["variant"] == "best" else images.as_array()
        _ = [captions.at(number).tobytes().decode() for number in range(len(captions))]
        yield len(batch)
