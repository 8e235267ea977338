"""NVIDIA DALI on the processor with augmentation: its decoder that decodes only the part, its fused crop_mirror_normalize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import clip
import numpy as np
from nvidia.dali import fn, pipeline_def, types
from peer_dali import index_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "nvidia-dali-cuda130"


def pipeline(task: dict[str, Any]) -> Iterator[int]:
    """Batches as a CLIP training takes them."""
    indexes = [index_of(shard, task["scratch"]) for shard in task["shards"]]

    @pipeline_def(batch_size=task["batch_size"], num_threads=task["threads"], device_id=None)
    def read() -> Any:
        images, captions = fn.readers.webdataset(
            paths=task["shards"],
            index_paths=indexes,
            ext=["jpg", "txt"],
            missing_component_behavior="error",
            random_shuffle=True,
            initial_fill=1000,
        )
        parts = fn.decoders.image_random_crop(
            images, device="cpu", output_type=types.RGB, random_area=[0.08, 1.0], random_aspect_ratio=[3 / 4, 4 / 3]
        )
        sized = fn.resize(parts, size=(clip.SIDE, clip.SIDE), interp_type=types.INTERP_LINEAR, antialias=True)
        made = fn.crop_mirror_normalize(
            sized,
            dtype=types.FLOAT,
            output_layout="CHW",
            mirror=fn.random.coin_flip(),
            mean=[255 * one for one in clip.MEAN],
            std=[255 * one for one in clip.STD],
        )
        return made, captions

    made = read()
    made.build()
    while True:
        images, captions = made.run()
        batch = np.asarray(images.as_tensor())
        clip.tokens([captions.at(number).tobytes().decode() for number in range(len(captions))])
        yield len(batch)
