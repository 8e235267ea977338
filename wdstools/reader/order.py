"""Order (skeleton)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Order:
    """One epoch's global order of ``count`` samples: which sample stands at which position."""

    count: int
    seed: int = 0
    epoch: int = 0
    shuffle: str | None = "full"
    block_samples: int = 64
    window_blocks: int = 64

    def rows(self, start: int, stop: int) -> NDArray[np.int64]:
        """The samples at positions ``start`` to ``stop`` (not included)."""
        raise NotImplementedError


def mixing_score(order: Order, batch_size: int) -> float:
    """How well batches are mixed: 0 is the shards' order, 1 a true permutation."""
    raise NotImplementedError
