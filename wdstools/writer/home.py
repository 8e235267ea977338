"""What a place is asked for that takes the shards of a pack: see ``landing/homes.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from wdstools.writer.buffer import BlockSink


class ShardInMaking(Protocol):
    """One shard, until it is there with its index."""

    def filling(self) -> AbstractContextManager[BlockSink]:
        """The file to write to."""

    def land(self, line: dict[str, Any], index: bytes) -> Mapping[str, str]:
        """Let the shard and its index be there; ``line`` is what is to be noted of it."""


class ShardHome(Protocol):
    """Where shards go: a small value that travels to the workers."""

    def noted(self, path: str) -> dict[str, Any] | None:
        """What is noted where the shards go of one that is finished."""

    def vouches_for(self, path: str, line: dict[str, Any]) -> bool:
        """Whether this user, or another one with the same secret, has noted that."""

    def making(self, path: str) -> AbstractContextManager[ShardInMaking]:
        """A shard to be made; nothing is left of it where the block raises."""

    def index_if_held(self, line: dict[str, Any]) -> bytes | None:
        """The index of a finished shard, if both are there as they were noted; raises StoreError."""
