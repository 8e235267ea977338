"""What a place must offer to receive the shards of a pack; implemented in ``landing/homes.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from wdstools.writer.buffer import BlockSink


class ShardInMaking(Protocol):
    """A shard being made, until it is in place with its index."""

    def filling(self) -> AbstractContextManager[BlockSink]:
        """The file to write to."""

    def land(self, line: dict[str, Any], index: bytes) -> Mapping[str, str]:
        """Put the shard and its index in place; ``line`` is what to note about it."""


class ShardHome(Protocol):
    """Where shards go: a small value that travels to the workers."""

    def noted(self, path: str) -> dict[str, Any] | None:
        """What the place has noted about a finished shard; None if nothing."""

    def vouches_for(self, path: str, line: dict[str, Any]) -> bool:
        """Whether this user, or another one with the same secret, wrote that note."""

    def making(self, path: str) -> AbstractContextManager[ShardInMaking]:
        """A shard to make; nothing is left of it if the block raises."""

    def index_if_held(self, line: dict[str, Any]) -> bytes | None:
        """The index of a finished shard, if shard and index are as noted; raises StoreError."""
