"""Where record groups lie in a shard that is damaged, or cannot be read everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import wdstools
from tests.support.city_pairs import write_city_pairs
from wdstools.checks.salvage import find_groups, rows_of
from wdstools.errors import StoreError
from wdstools.executors.open import open_executor
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path


class _BadSector(MemoryStore):
    """A store of which one byte cannot be read."""

    bad = 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Fail where the byte is asked for."""
        if start <= self.bad < start + (length if length is not None else 1 << 60):
            raise StoreError("a bad sector", where=key)
        return super().get(key, start, length)


@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_group_that_cannot_be_read_is_nowhere_and_hides_no_other(place: int, tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=5, val=0)
    dataset = wdstools.pack(source, tmp_path / "shards", executor=open_executor("serial")).dataset
    ((_, entry),) = dataset.manifest.shards
    rows = rows_of(dataset.index(entry))
    offsets = [row["offset"] for row in rows]
    store = _BadSector()
    store.put(entry.path, dataset.shards.get(entry.path))
    store.bad = offsets[place] + 100
    expected = [*offsets]
    expected[place] = -1
    assert find_groups(store, entry.path, rows).tolist() == expected
