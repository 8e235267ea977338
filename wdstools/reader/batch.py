"""A batch of samples, as the loader hands it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(slots=True, weakref_slot=True)
class Batch:
    """``len(batch)`` samples; row i of every field belongs to one sample.

    ``images``: uint8 [B, H, W, 3] (``decode="gray"``: [B, H, W, 1]; a transform's own shape and dtype), a list of
    [H, W, C] arrays with ``fit="list"``, or a list of bytes with ``decode="bytes"``. ``captions``: "" where the
    dataset has none. ``labels``: int64 [B], -1 where it has none. ``mask``: bool [B], False in a row that holds no
    sample of its own: padding that makes ranks equal, or a damaged sample under ``on_damage="skip"``; such a row
    repeats another sample. Evaluation counts ``mask``, training may ignore it. ``damaged``: keys of this batch's
    damaged samples.
    """

    images: NDArray[np.uint8] | list[NDArray[np.uint8]] | list[bytes]
    captions: list[str]
    labels: NDArray[np.int64]
    keys: list[str]
    mask: NDArray[np.bool_]
    damaged: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)
