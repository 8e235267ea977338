"""wdstools with augmentation: ``default`` by wt.image, ``Pillow`` by the function that the others call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import clip
from PIL import Image

import wdstools as wt

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "wdstools"


def pipeline(task: dict[str, Any]) -> Iterator[int]:
    """Batches as a CLIP training takes them."""
    crop, normal = wt.image.random_resized_crop(clip.SIDE), wt.image.normalize(clip.MEAN, clip.STD)
    steps: Any = wt.image.pipeline(crop, wt.image.flip(), normal, layout="NCHW")
    own = task["variant"] == "default"
    loader = wt.loader(
        task["dataset"],
        "train",
        batch_size=task["batch_size"],
        threads=task["threads"],
        remainder="drop",
        image_transform=steps if own else _augment,
        fit="stretch" if own else "list",
        tokenizer=clip.tokens,
    )
    while True:
        for batch in loader:
            yield len(batch.images)


def _augment(image: Any) -> Any:
    return clip.augment(Image.fromarray(image))
