"""What a repair tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.ops.made import Made
from wdstools.results import Proved

if TYPE_CHECKING:
    from wdstools.results import Finding


@dataclass(frozen=True, slots=True)
class RepairResult(Made):
    """What a repair has written. ``bytes`` came from copies; ``unsolved`` could not be mended and was kept as it is.

    ``deleted`` are the tars that were not of the dataset; ``proved`` is against whom the dataset is found to be whole now,
    ``not_covered`` what the root digest that was given does not cover.
    """

    path: str
    root: str
    shards: tuple[str, ...]
    indexes: int
    files: tuple[str, ...]
    bytes: int
    unsolved: tuple[Finding, ...] = ()
    proved: Proved = Proved.NOTHING
    deleted: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
