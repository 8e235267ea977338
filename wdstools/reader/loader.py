"""Loader (skeleton)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.reader.batch import Batch
    from wdstools.results import Report


class Loader:
    """Batches of one split in an epoch's order; each ``for`` goes on to the end of the epoch.

    A context manager; ``close()`` ends its threads.
    """

    epoch: int

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise NotImplementedError

    def set_epoch(self, epoch: int) -> None:
        raise NotImplementedError

    def report(self) -> Report:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def loader(
    dataset: Dataset | str,
    split: str = "train",
    *,
    batch_size: int,
    shuffle: str | None = "full",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    where: str | None = None,
    keys: Iterable[str] | None = None,
    limit: int | None = None,
    decode: str = "rgb",
    image_size: int | tuple[int, int] | None = None,
    fit: str = "stretch",
    transform: Callable[[NDArray[np.uint8], np.random.Generator], NDArray[Any]] | None = None,
    threads: int | None = None,
    on_damage: str = "raise",
    remainder: str = "pad",
    block_samples: int = 64,
    window_blocks: int = 64,
) -> Loader:
    """Verified, decoded batches of a split.

    ``shuffle``: "full", "block" or None. ``decode``: "rgb", "gray" or "bytes". ``fit`` (with ``image_size``): "stretch",
    "crop", "pad"; "list": each at its own size. ``on_damage``: "raise" or "skip". ``remainder``: "pad" or "drop".
    ``threads``: None is one a core.
    """
    raise NotImplementedError
