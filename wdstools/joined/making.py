"""Makes the columns of a dataset from its indexes, many at once, and writes them to the cache."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, TypeVar

from wdstools.errors import FormatError
from wdstools.executors.open import processors
from wdstools.joined import kept
from wdstools.joined.index_columns import INDEX_COLUMNS, Columns, NotInlineError
from wdstools.joined.layout import Layout
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Future

    import pyarrow as pa

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

Item = TypeVar("Item")
Value = TypeVar("Value")

#: With more rows, they are written directly to the file, not held in memory first.
HELD_ROWS = 1 << 20
_REQUESTS = 16
#: How many indexes are read ahead.
_AHEAD = 32


def make_columns(dataset: Dataset) -> Columns:
    """The columns of all rows: from a file of the cache if one can be made, else in memory.

    Raises FormatError (``index-damaged``), NotFoundError (``index-missing``) or StoreError.
    """
    if kept.is_keepable(dataset) and dataset.manifest.totals["samples"] > HELD_ROWS:
        try:
            return _made_in_file(dataset)
        except OSError:
            pass
    columns = in_memory(dataset)
    return keep(dataset, columns) or columns


def in_memory(dataset: Dataset) -> Columns:
    """The columns of all rows, in memory."""
    columns = Columns.in_memory(Layout.of(dataset), dataset)
    try:
        deque(_fill(dataset, columns), 0)
    except NotInlineError:
        columns = Columns.in_memory(Layout.of(dataset, inline=False), dataset)
        deque(_fill(dataset, columns), 0)
    return columns


def keep(dataset: Dataset, columns: Columns) -> kept.Kept | None:
    """Write complete columns to the cache; None if that is not possible."""
    if not kept.is_keepable(dataset):
        return None
    try:
        writing = kept.Writing(dataset, columns.layout)
    except OSError:
        return None
    try:
        writing.write_fixed(columns)
        for shard, rows in enumerate(rows_of_shards(dataset)):
            writing.add_texts(columns, shard, rows)
        writing.keep(columns)
    except OSError:
        return None
    finally:
        writing.close()
    return kept.open_kept(dataset)


def _made_in_file(dataset: Dataset) -> Columns:
    """Columns filled directly in the file. Raises OSError if no file can be made."""
    try:
        found = _filled_file(dataset, Layout.of(dataset))
    except NotInlineError:
        found = _filled_file(dataset, Layout.of(dataset, inline=False))
    if found is None:
        raise OSError("a joined index disappeared after it was made")
    return found


def _filled_file(dataset: Dataset, layout: Layout) -> kept.Kept | None:
    writing = kept.Writing(dataset, layout)
    try:
        columns = writing.mapped(dataset)
        for shard, rows in _fill(dataset, columns):
            writing.add_texts(columns, shard, rows)
            columns.texts[shard] = None
        writing.keep(columns)
    finally:
        writing.close()
    return kept.open_kept(dataset)


def _fill(dataset: Dataset, columns: Columns) -> Iterator[tuple[int, slice]]:
    """Fill in all shards, in order, so that names get the same numbers every time; yields each finished shard with its rows."""
    entries = [entry for _, entry in dataset.manifest.shards]
    threads = processors() if isinstance(dataset.metadata, LocalStore) else max(_REQUESTS, processors())
    with ThreadPoolExecutor(threads, thread_name_prefix="wdstools-index") as pool:
        tables = _in_order(pool, lambda entry: checked_index(dataset, entry), entries)
        for shard, (rows, table) in enumerate(zip(rows_of_shards(dataset), tables, strict=True)):
            columns.fill(shard, rows, table)
            yield shard, rows


def checked_index(dataset: Dataset, entry: ShardEntry, columns: Sequence[str] = INDEX_COLUMNS) -> pa.Table:
    """A shard's index, checked against the manifest. Raises as ``make_columns``."""
    table = dataset.index(entry, columns)
    if table.num_rows != entry.samples:
        raise FormatError(
            "an index cannot be used: its number of rows differs from the manifest",
            code="index-damaged",
            where=entry.index_path,
            hint=dataset.verify_command,
        )
    return table


def rows_of_shards(dataset: Dataset) -> Iterator[slice]:
    """The rows of each shard, numbered consecutively through all shards."""
    counts = (entry.samples for _, entry in dataset.manifest.shards)
    return (slice(first, last) for first, last in pairwise(accumulate(counts, initial=0)))


def _in_order(pool: ThreadPoolExecutor, work: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[Value]:
    coming: deque[Future[Value]] = deque()
    for item in items:
        coming.append(pool.submit(work, item))
        if len(coming) > _AHEAD:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()
