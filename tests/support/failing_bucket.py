"""A bucket in memory whose writer dies, or whose server fails, at a chosen change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wdstools.dataset import Dataset, open_dataset
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class FailingBucket(MemoryStore):
    """``act`` is called before each change, with the key; what it raises is what the writer sees."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        super().__init__()
        self._objects = dict(objects)
        self.act: Callable[[str], object] = lambda _: None

    @property
    def url(self) -> str:
        """A URL like that of a bucket."""
        return "s3://bucket/cities"

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        self.act(key)
        super().put(key, data)

    def create(self, key: str, data: bytes) -> None:
        """Store an object under a new key."""
        self.act(key)
        super().create(key, data)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.act(key)
        super().delete(key)

    def contents(self) -> dict[str, bytes]:
        """All objects, by key."""
        return dict(self._objects)


def dataset_in(bucket: FailingBucket, packed: Path) -> Dataset:
    """The dataset of a folder, in a bucket with the same objects."""
    return replace(open_dataset(packed), metadata=bucket, shards=bucket, readers={})
