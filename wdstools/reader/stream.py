"""Stream (skeleton)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.dataset import Dataset
    from wdstools.reader.shard import Sample
    from wdstools.results import Report


class Stream:
    """Samples of one split in an epoch's order; each ``for`` goes on to the end of the epoch."""

    epoch: int

    def __iter__(self) -> Iterator[Sample]:
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


def stream(
    dataset: Dataset | str,
    split: str = "train",
    *,
    shuffle: str | None = None,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    where: str | None = None,
    keys: Iterable[str] | None = None,
    limit: int | None = None,
    on_damage: str = "raise",
    remainder: str = "pad",
    block_samples: int = 64,
    window_blocks: int = 64,
) -> Stream:
    """Verified samples (``Sample``: member bytes) of a split."""
    raise NotImplementedError
