"""webdataset with augmentation, as its README has it: decoded by Pillow, mapped, batched in worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import clip
import webdataset

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "webdataset"


def pipeline(task: dict[str, Any]) -> Iterator[int]:
    """Batches as a CLIP training takes them."""
    shards = task["shards"]
    samples = webdataset.WebDataset(shards, shardshuffle=len(shards), nodesplitter=webdataset.single_node_only)
    made = samples.shuffle(1000).decode("pil").to_tuple("jpg", "txt").map_tuple(clip.augment, _tokens)
    made = made.batched(task["batch_size"]).repeat()
    for images, _ in webdataset.WebLoader(made, batch_size=None, num_workers=min(task["threads"], len(shards))):
        yield len(images)


def _tokens(caption: str) -> Any:
    return clip.tokens([caption])[0]
