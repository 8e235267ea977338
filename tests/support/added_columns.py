"""Tables whose columns are added to a dataset, and what a dataset's columns hold afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

import wdstools as wt
from tests.support.city_pairs import write_city_pairs
from wdstools.columns.sets import column_sets, store_of
from wdstools.columns.values import shard_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wdstools.formats.columns import ColumnSet
    from wdstools.stores.base import Store


def pack_cities(work: Path, *, train: int, val: int, shard_samples: int = 4) -> Path:
    """A dataset of a few pairs, in small shards."""
    source = write_city_pairs(work / "source", train=train, val=val)
    wt.pack(source, work / "packed", shard_samples=shard_samples, name="cities")
    return work / "packed"


def keys_of(dataset: Path | str) -> list[str]:
    """Every key, split by split."""
    opened = wt.open_dataset(dataset)
    return [key for split in opened.splits for key in opened[split].keys()]  # noqa: SIM118  a split is no mapping


def score_of(key: str) -> float:
    """A score that float32 holds exactly."""
    return (37 * sum(key.encode()) % 64) / 64


def score_table(keys: Sequence[str]) -> pa.Table:
    """A score, a caption, a vector, a count and a mark for each key."""
    return pa.table(
        {
            "key": list(keys),
            "score": pa.array(map(score_of, keys), pa.float32()),
            "recaption": [f"again {key}" for key in keys],
            "vector": pa.array([[score_of(key), -1.0, 2.5] for key in keys], pa.list_(pa.float32())),
            "people": pa.array((len(key) for key in keys), pa.int16()),
            "is_good": [score_of(key) >= 0.5 for key in keys],
        }
    )


def write_scores(path: Path, keys: Sequence[str]) -> Path:
    """The table as a Parquet file."""
    pq.write_table(score_table(keys), path)
    return path


def add_scores(dataset: Path, *, name: str = "scores", keys: Sequence[str] | None = None) -> wt.ColumnsResult:
    """Add the table's columns to a dataset, of all samples or of some."""
    result = wt.add_columns(dataset, score_table(keys_of(dataset) if keys is None else keys), name=name)
    assert isinstance(result, wt.ColumnsResult)
    return result


def values_of(dataset: Path | str, name: str) -> dict[str, dict[str, Any]]:
    """The values of a column set, by key."""
    opened = wt.open_dataset(dataset)
    (columns,) = (one for one in column_sets(opened) if one.name == name)
    return values_in(store_of(opened), columns)


def values_in(store: Store, columns: ColumnSet) -> dict[str, dict[str, Any]]:
    """The values of a column set in a store, by key."""
    fields = ["key", *(field.name for field in columns.fields)]
    found = {}
    for shard in columns.shards:
        for row in shard_values(store, columns, shard.path, fields).to_pylist():
            found[row.pop("key")] = row
    return found
