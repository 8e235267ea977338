"""The result of a repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.ops.made import Made
from wdstools.results import Proved

if TYPE_CHECKING:
    from wdstools.results import Finding


@dataclass(frozen=True, slots=True)
class RepairResult(Made):
    """What a repair wrote. ``bytes`` came from copies; ``unsolved`` could not be repaired and was left as it is.

    ``deleted`` are files that were not part of the dataset; ``proved`` says what the dataset is now proved against, and
    ``not_covered`` what the given root digest does not cover.
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
