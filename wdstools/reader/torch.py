"""Torch (skeleton): ``wt.torch.loader`` takes ``wt.loader``'s options and gives TorchBatch."""

from __future__ import annotations

from typing import Any


def loader(dataset: Any, split: str = "train", *, device: str | None = None, distributed: bool = False, **options: Any) -> Any:
    """The loader as torch tensors: images uint8 [B, 3, H, W] in channels_last memory, labels int64, mask bool."""
    raise NotImplementedError
