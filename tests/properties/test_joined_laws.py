"""Laws of the joined index: whatever the indexes hold, its rows are theirs, from memory and from the file alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.index_rows import rows_strategy, table_of
from tests.support.laws import LAW
from wdstools.dataset import Dataset
from wdstools.formats.digest import ShardDigester
from wdstools.formats.index import shard_entry, write_index
from wdstools.formats.manifest import MANIFEST_PATH, Manifest, dumps
from wdstools.joined import Joined, kept, open_joined
from wdstools.joined.layout import NULL
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_MEMBERS = ("jpg", "txt", "cls", "json")
_PLAIN = ("key", "label", "cls", "width", "height", "format", "caption")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache folder of these tests' own."""
    before = os.environ.get("XDG_CACHE_HOME")
    folder = tmp_path_factory.mktemp("cache")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    kept.LARGE_BYTES = 1 << 28
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


def _inside(rows: list[dict[str, Any]], *, all_members: bool) -> list[dict[str, Any]]:
    """The rows with at least one member each, or with every one, inside a shard of 2**40 bytes."""
    for number, row in enumerate(rows):
        members = row["members"] or [{"ext": "jpg", "offset": 0, "size": 7, "xxh3_64": 9}]
        if all_members:
            members = [{**members[at % len(members)], "ext": name} for at, name in enumerate(_MEMBERS)]
        row["members"] = [
            {**one, "offset": 512 + one["offset"] % 2**39, "size": one["size"] % 2**30} for one in members
        ]
        row["key"] = f"{number}/{row['key']}"
    return rows


shards_strategy = st.booleans().flatmap(
    lambda whole: st.lists(
        (rows_strategy() if not whole else rows_strategy(authenticated=True)).map(
            lambda rows: _inside(rows, all_members=whole)
        ),
        min_size=1,
        max_size=3,
    )
)


def _dataset(shards: list[list[dict[str, Any]]]) -> tuple[Dataset, list[pa.Table]]:
    """A dataset of which there are only the manifest and the indexes."""
    store = MemoryStore()
    entries, tables = [], [table_of(rows) for rows in shards]
    for number, table in enumerate(tables):
        entry = shard_entry(f"part-{number}.tar", ShardDigester().digests(), table)
        entries.append(type(entry)(**{**{n: getattr(entry, n) for n in entry.__slots__}, "bytes": 2**40}))
        store.put(entries[-1].index_path, write_index(table))
    proved = all(row["sha256"] is not None for rows in shards for row in rows)
    splits = {"train": tuple(entries[:-1]), "val": tuple(entries[-1:])}
    manifest = Manifest("law", 1, (), _MEMBERS, 0, splits, profile="foreign", authenticated_ranges=proved)
    store.put(MANIFEST_PATH, dumps(manifest))
    return Dataset(manifest, manifest.root, store, store), tables


def _check(joined: Joined, tables: list[pa.Table]) -> None:
    rows = [row for table in tables for row in table.to_pylist()]
    everyone = range(len(rows))
    assert len(joined) == len(rows)
    assert joined.keys(everyone) == [row["key"] for row in rows]
    assert joined.captions(everyone) == [row["caption"] for row in rows]
    for name in ("width", "height", "cls"):
        assert [None if value == NULL else value for value in joined.column(name).tolist()] == [r[name] for r in rows]
    assert [joined.labels[code] if code >= 0 else None for code in joined.label.tolist()] == [r["label"] for r in rows]
    for number, table in enumerate(tables):
        assert joined.table(number, _PLAIN).equals(table.select(_PLAIN))
    places = joined.places
    assert places["start"].tolist() == [-1 if row["offset"] is None else row["offset"] for row in rows]
    assert places["xxh3_128"].tobytes() == b"".join(row["xxh3_128"] or bytes(16) for row in rows)
    if joined.columns.layout.authenticated and rows:
        assert places["sha256"].tobytes() == b"".join(row["sha256"] for row in rows)
    for name in (*_MEMBERS, "none"):
        found = joined.members(np.array(everyone, np.int64), name)
        wanted: list[dict[str, Any]] = [{m["ext"]: m for m in row["members"]}.get(name, {"size": -1}) for row in rows]
        assert found.size.tolist() == [member["size"] for member in wanted]
        there = found.size >= 0
        assert found.offset[there].tolist() == [m["offset"] for m in wanted if m["size"] >= 0]
        assert found.xxh3_64[there].tolist() == [m["xxh3_64"] for m in wanted if m["size"] >= 0]


@pytest.mark.parametrize("large", [1 << 28, 0], ids=["mapped", "read row by row"])
@LAW
@given(shards=shards_strategy)
def test_rows_are_those_of_the_indexes_in_memory_and_in_the_file(
    shards: list[list[dict[str, Any]]], large: int
) -> None:
    kept.LARGE_BYTES = large
    dataset, tables = _dataset(shards)
    joined = open_joined(dataset)
    assert len(joined) == sum(table.num_rows for table in tables)
    _check(joined, tables)
    again = Dataset(dataset.manifest, dataset.root, MemoryStore(), MemoryStore())
    if any(table.num_rows for table in tables):
        found = open_joined(again)  # where there is no index to be read
        assert found.is_kept
        _check(found, tables)


def test_a_dataset_whose_values_nothing_proves_is_not_kept(cache: Path) -> None:
    dataset, tables = _dataset([_inside([{**_ROW}], all_members=False)])
    (entry,) = dataset.manifest.splits["val"]
    older = Manifest(
        "law", 1, (), _MEMBERS, 0,
        {"val": (type(entry)(**{**{n: getattr(entry, n) for n in entry.__slots__}, "values": ""}),)}, profile="foreign",
    )  # fmt: skip
    dataset.metadata.put(MANIFEST_PATH, dumps(older))
    joined = open_joined(Dataset(older, older.root, dataset.metadata, dataset.shards))
    assert not joined.is_kept
    _check(joined, tables)
    assert not list((cache / "wdstools" / "joined").glob(f"{older.root}*"))


_ROW: dict[str, Any] = {
    "split": "val",
    "key": "a",
    "label": "x",
    "cls": 1,
    "offset": None,
    "length": None,
    "xxh3_128": None,
    "sha256": None,
    "width": 3,
    "height": None,
    "format": "jpg",
    "caption": "é",
    "source": None,
    "members": [{"ext": "jpg", "offset": 512, "size": 4, "xxh3_64": 5}],
}
