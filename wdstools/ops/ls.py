"""ls, head and cat: list what is in a dataset, from its indexes alone, and read one member of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple, Unpack

import numpy as np
import pyarrow as pa

from wdstools.columns.sets import fields_of, find_fields
from wdstools.columns.values import with_columns
from wdstools.dataset import as_dataset
from wdstools.errors import NotFoundError, UsageError, option
from wdstools.formats.arrow import list_lengths, one_chunk, to_array, to_list, to_numpy
from wdstools.reader.select import Selection, select

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry
    from wdstools.options.declare import StrPath
    from wdstools.options.read import SelectChoices

#: How many rows are turned into Python objects at once.
_BLOCK = 1_000
EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard as ``ls`` lists it."""

    split: str
    path: str
    samples: int
    bytes: int
    sha256: str
    xxh3_128: str


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """What the index says about one sample; no shard is read.

    ``shard`` and ``row`` say where it is; ``bytes`` is the size of the payloads of its ``members``. ``label``, ``width``,
    ``height``, ``format`` and ``caption`` are None if the sample has none. ``columns`` are values of added columns, if any
    were asked for.
    """

    split: str
    key: str
    shard: str
    row: int
    bytes: int
    members: tuple[str, ...]
    label: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    caption: str | None = None
    columns: Mapping[str, bool | int | float | str | list[float] | None] | None = None


class ChosenRows(NamedTuple):
    """Rows of one shard's index: ``table`` has only these, ``rows`` their numbers in the shard; ``columns`` were added to it."""

    split: str
    entry: ShardEntry
    table: pa.Table
    rows: NDArray[np.int64]
    columns: tuple[str, ...] = ()


def list_shards(dataset: Dataset) -> Iterator[ShardInfo]:
    """Every shard, from the manifest alone."""
    for split, entry in dataset.manifest.shards:
        yield ShardInfo(split, entry.path, entry.samples, entry.bytes, entry.sha256, entry.xxh3_128)


def shards_called(dataset: Dataset, which: str | None) -> list[tuple[str, ShardEntry]]:
    """The shards of a split, or the shard with this path or file name; all for None. Raises NotFoundError."""
    shards = dataset.manifest.shards
    if which is None:
        return shards
    if which in dataset.manifest.splits:
        return [(split, entry) for split, entry in shards if split == which]
    for split, entry in shards:
        name = entry.path.rpartition("/")[2]
        if which in (entry.path, name, name.removesuffix(".tar")):
            return [(split, entry)]
    raise NotFoundError(
        "no such split or shard",
        where=which,
        expected=", ".join(dataset.manifest.splits),
        hint=f"wdstools ls {quote(dataset.metadata.url)}",
    )


def chosen_rows(
    dataset: Dataset, which: str | None, selection: Selection, columns: Sequence[str] = ()
) -> Iterator[ChosenRows]:
    """The selected rows of each shard's index, in order, with added ``columns``; each index is read only in its turn."""
    selection.check(dataset)
    names = _fields_called(dataset, columns)
    for split, entry in shards_called(dataset, which):
        if selection.splits is None or split in selection.splits:
            yield rows_of(dataset, (split, entry), selection, names)


def _fields_called(dataset: Dataset, names: Sequence[str]) -> tuple[str, ...]:
    """Added columns by name, or all of them for ``all``; raises UsageError (``column-missing``, ``columns-stale``)."""
    known = fields_of(dataset) if "all" in names else {}
    if "all" in names and "all" not in known:
        find_fields(dataset, [name for name in names if name != "all"])
        return tuple(known)
    find_fields(dataset, names)
    return tuple(names)


def rows_of(
    dataset: Dataset, shard: tuple[str, ShardEntry], selection: Selection, columns: tuple[str, ...] = ()
) -> ChosenRows:
    """The selected rows of one shard's index, with added ``columns``."""
    split, entry = shard
    table = with_columns(dataset, entry, dataset.index(entry), columns)
    if selection.is_everything:
        return ChosenRows(split, entry, table, np.arange(table.num_rows, dtype=np.int64), columns)
    rows = np.flatnonzero(selection.rows(dataset, split, entry, table)).astype(np.int64)
    return ChosenRows(split, entry, table.take(to_array(rows, pa.int64())), rows, columns)


def list_keys(dataset: Dataset, which: str | None, selection: Selection = EVERYTHING) -> Iterator[str]:
    """The keys of a split, or of a shard by its path or file name."""
    for found in chosen_rows(dataset, which, selection):
        yield from to_list(found.table.column("key"))


def list_samples(
    dataset: Dataset, which: str | None, selection: Selection = EVERYTHING, columns: Sequence[str] = ()
) -> Iterator[SampleInfo]:
    """What the index says about each selected sample of a split or shard, in order; and added ``columns``."""
    for found in chosen_rows(dataset, which, selection, columns):
        for start in range(0, len(found.rows), _BLOCK):
            yield from samples_of(found, slice(start, start + _BLOCK))


def samples_of(found: ChosenRows, part: slice) -> Iterator[SampleInfo]:
    """Some of the selected rows of a shard as values."""
    start, stop, _ = part.indices(len(found.rows))
    table = found.table.slice(start, stop - start)
    members = one_chunk(table.column("members"))
    values = members.flatten()
    extensions, sizes = to_list(values.field("ext")), to_numpy(values.field("size"))
    names = ("key", "label", "width", "height", "format", "caption")
    first = 0
    columns = zip(*(to_list(table.column(name)) for name in names), strict=True)
    rows = found.rows[start:stop].tolist()
    added = table.select(found.columns).to_pylist() if found.columns else None
    lines = zip(rows, list_lengths(members).tolist(), columns, strict=True)
    for number, (row, count, (key, *values_of)) in enumerate(lines):
        held = tuple(extensions[first : first + count])
        total = int(sizes[first : first + count].sum())
        first += count
        info = SampleInfo(found.split, key, found.entry.path, row, total, held, *values_of)
        yield info if added is None else replace(info, columns=added[number])


def head(
    dataset: Dataset | StrPath, samples: int = 10, *, columns: Sequence[str] = (), **choices: Unpack[SelectChoices]
) -> tuple[SampleInfo, ...]:
    """The first samples of a dataset, as its index describes them; no shard is opened.

    Args:
        dataset: A dataset, its folder or URL.
        samples: The most samples to return.
        columns: Added columns whose values to return as well; ``["all"]`` means all of them.
        **choices: Which samples to consider: splits, a file of keys, a condition; see ``SelectChoices``.

    Returns:
        What the index says about each, in stored order, split by split.

    Raises:
        UsageError: ``samples`` is negative, there is no such split or column, or the condition cannot be parsed.
        NotFoundError: There is no dataset, or an index is missing.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage could not be read.
    """
    return first_samples(as_dataset(dataset), samples, select(**choices), columns)


def first_samples(
    dataset: Dataset, samples: int, selection: Selection, columns: Sequence[str] = ()
) -> tuple[SampleInfo, ...]:
    """``head`` for a selection."""
    given: object = samples
    if not isinstance(given, int) or given < 0:
        raise UsageError("out of range", where=option("samples"), expected="a whole number, at least 0", got=str(given))
    return tuple(islice(list_samples(dataset, None, selection, columns), min(samples, sys.maxsize)))
