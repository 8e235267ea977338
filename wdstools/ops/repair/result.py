"""What a repair tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.ops.made import Made

if TYPE_CHECKING:
    from wdstools.results import Finding


@dataclass(frozen=True, slots=True)
class RepairResult(Made):
    """What a repair has written. ``bytes`` came from copies; ``unsolved`` could not be mended and was kept as it is."""

    path: str
    root: str
    shards: tuple[str, ...]
    indexes: int
    files: tuple[str, ...]
    bytes: int
    unsolved: tuple[Finding, ...] = ()
