"""Webdataset adapter (skeleton)."""

from __future__ import annotations

from typing import Any


def webdataset(dataset: Any, split: str = "train", **options: Any) -> Any:
    """A ``webdataset.DataPipeline`` over verified samples (``__key__``, ``__url__``, one bytes per member)."""
    raise NotImplementedError
