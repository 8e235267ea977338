"""The golden dataset in memory: any of its files may be changed, and a store may fail at some of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdstools.dataset import open_dataset
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.errors import StoreError
    from wdstools.stores.base import ObjectInfo

GOLDEN = Path(__file__).parents[1] / "golden/v2/dataset"


class Held(MemoryStore):
    """A store that raises an error for some keys; ``asked`` are those that were asked for."""

    def __init__(self, files: Mapping[str, bytes] | None = None, fails: Mapping[str, StoreError] | None = None) -> None:
        super().__init__()
        self.fails = dict(fails or {})
        self.asked: list[str] = []
        for path, data in (files or {}).items():
            self.put(path, data)

    def head(self, key: str) -> ObjectInfo:
        """Fails for those keys."""
        self.asked.append(key)
        if key in self.fails:
            raise self.fails[key]
        return super().head(key)


@cache
def golden_files() -> dict[str, bytes]:
    """Its files by path; not to be changed."""
    files = (path for path in sorted(GOLDEN.rglob("*")) if path.is_file())
    return {path.relative_to(GOLDEN).as_posix(): path.read_bytes() for path in files}


@cache
def golden() -> Dataset:
    """The dataset as it lies on disk."""
    return open_dataset(str(GOLDEN))


def held(changed: Mapping[str, bytes | None] | None = None, fails: Mapping[str, StoreError] | None = None) -> Held:
    """A store of its files; ``changed`` have other bytes, or are not there (None)."""
    files = {**golden_files(), **(changed or {})}
    return Held({path: data for path, data in files.items() if data is not None}, fails)


def opened(store: Held, **fields: Any) -> Dataset:
    """The dataset as it was packed, with its files in this store."""
    return replace(golden(), metadata=store, shards=store, readers={}, **fields)
