"""wdstools: verified samples and batches. ``default`` gives numpy arrays, ``torch`` tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wdstools as wt

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "wdstools"


def raw(task: dict[str, Any]) -> Iterator[int]:
    """Undecoded samples, every member checked, one thread."""
    samples = wt.stream(task["dataset"], "train", shuffle="full" if task["shuffle"] else None)
    while True:
        for _ in samples:
            yield 1


def batches(task: dict[str, Any]) -> Iterator[int]:
    """Decoded batches."""
    make = wt.torch.loader if task["variant"] == "torch" else wt.loader
    shuffle = "full" if task["shuffle"] else None
    loader = make(
        task["dataset"],
        "train",
        batch_size=task["batch_size"],
        shuffle=shuffle,
        threads=task["threads"],
        remainder="drop",
    )
    while True:
        for batch in loader:
            yield len(batch.images)
