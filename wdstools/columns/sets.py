"""Which column sets a dataset has, and which column belongs to which set.

Their list, ``.wdstools/columns/SHA256SUMS``, says which sets exist, even in stores that cannot list. All of this came
with the dataset and is not trusted: a set is used only for the root digest for which it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.columns.waiting import in_place_or_waiting
from wdstools.errors import FormatError, NotFoundError, StoreError, UsageError
from wdstools.formats.columns import MAX_SET_BYTES, ColumnSet, damaged, is_set_name, loads, set_of, set_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_FOLDER, COLUMNS_LIST, is_plain_path
from wdstools.formats.sums import parse_sums
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from wdstools.dataset import Dataset
    from wdstools.stores.base import Store

_MAX_LIST_BYTES = 1 << 30
#: The key under which a dataset keeps the sets read so far.
_KEY = "\0columns"


@dataclass(frozen=True, slots=True)
class Field:
    """An added column: its set, and the store that has it."""

    name: str
    columns: ColumnSet
    store: Store

    @property
    def kind(self) -> str:
        """The type of its values."""
        return self.columns.field(self.name).kind


def read_sums(store: Store) -> dict[str, str]:
    """The list of a dataset's sets, path -> SHA-256; empty if there is none. Raises FormatError (``sums-damaged``)."""
    try:
        data = get_whole(store, COLUMNS_LIST, _MAX_LIST_BYTES)
    except NotFoundError:
        return {}
    return sums_in(data)


def sums_in(data: bytes) -> dict[str, str]:
    """Parse a list, path -> SHA-256; raises FormatError (``sums-damaged``)."""
    return {line.path: line.digest for line in parse_sums(data, where=COLUMNS_LIST)}


def digest_of_list(store: Store) -> str:
    """The SHA-256 of the list of a dataset's sets, damaged or not; empty if there is none. Raises StoreError."""
    try:
        return sha256_hex(get_whole(store, COLUMNS_LIST, _MAX_LIST_BYTES))
    except NotFoundError:
        return ""


def names_in(sums: Collection[str]) -> list[str]:
    """The sets that a list names."""
    found = [path.removeprefix(COLUMNS_FOLDER).removesuffix(".json") for path in sums if path.endswith(".json")]
    return sorted(name for name in found if is_set_name(name) and set_path(name) in sums)


def read_set(store: Store, name: str, digest: str) -> ColumnSet:
    """A set that the list names; raises NotFoundError, StoreError, or FormatError (``columns-damaged``)."""
    path = set_path(name)
    data = in_place_or_waiting(store, path, digest, MAX_SET_BYTES)
    if (got := sha256_hex(data)) != digest:
        raise damaged(path, "its document differs from the one that was written", expected=digest, got=got)
    columns = loads(data, where=path)
    if columns.name != name:
        raise damaged(path, "its document belongs to another set", expected=name, got=columns.name)
    return columns


def uncovered(names: Iterable[str]) -> tuple[str, ...]:
    """How sets are named in an answer in which the root digest proves everything else."""
    return tuple(f"added columns {name}" for name in names)


def listed_files(sums: Collection[str]) -> list[str]:
    """The files of sets that a list names.

    Names that the format does not allow for files of a set are left out, because the list may come from anywhere.
    """
    names = frozenset(names_in(sums))
    return [path for path in sums if set_of(path) in names and is_of(path, set_of(path))]


def is_of(path: str, name: str) -> bool:
    """Whether a file may belong to this set: its document, or a file below its folder."""
    if path == set_path(name):
        return True
    folder = f"{COLUMNS_FOLDER}{name}/"
    return path.startswith(folder) and path.endswith(".parquet") and is_plain_path(path.removeprefix(folder))


def store_of(dataset: Dataset) -> Store:
    """The store of a dataset's sets: that of its metadata, or else that of its shards."""
    if dataset.shards is dataset.metadata or read_sums(dataset.metadata):
        return dataset.metadata
    return dataset.shards if read_sums(dataset.shards) else dataset.metadata


def column_sets(dataset: Dataset, *, but: str = "") -> tuple[ColumnSet, ...]:
    """All sets of a dataset except ``but``, by name, including those made for another root digest. Raises as ``read_set``."""
    store = store_of(dataset)
    sums = read_sums(store)
    return tuple(read_set(store, name, sums[set_path(name)]) for name in names_in(sums) if name != but)


def fits(columns: ColumnSet, dataset: Dataset) -> bool:
    """Whether a set was made for this version of the dataset."""
    return columns.root == dataset.root and [(shard.path, shard.rows) for shard in columns.shards] == [
        (entry.path, entry.samples) for _, entry in dataset.manifest.shards
    ]


def find_fields(dataset: Dataset, names: Collection[str]) -> dict[str, Field]:
    """Columns of a dataset's sets, by name.

    Raises UsageError: there is no such column (``column-missing``), or only in a set made for another
    version of the dataset (``columns-stale``); and as ``column_sets``
    if a set cannot be read and no other has the column.
    """
    if not names:
        return {}
    known = dataset.readers.get(_KEY)
    held: dict[str, Field] = known if isinstance(known, dict) else {}
    if not held.keys() >= set(names):
        held = _all_fields(dataset, names)
        dataset.readers[_KEY] = held
    return {name: held[name] for name in names}


def forget_fields(dataset: Dataset) -> None:
    """Forget a dataset's sets, which have changed: they are read again on demand."""
    dataset.readers.pop(_KEY, None)


def each_set(store: Store, sums: Mapping[str, str]) -> Iterator[tuple[str, ColumnSet | FormatError | StoreError]]:
    """Every set in a list, by name; in place of a set that cannot be read, its error."""
    for name in names_in(sums):
        try:
            yield name, read_set(store, name, sums[set_path(name)])
        except (FormatError, StoreError) as error:
            yield name, error


def fields_of(dataset: Dataset) -> dict[str, Field]:
    """Every usable column of a dataset's sets, by name: intact, and for this version. Raises as ``read_sums``."""
    return _look(dataset).found


@dataclass(frozen=True, slots=True)
class _Looked:
    """The usable columns, those made for another version, and the error of a set that could not be read."""

    found: dict[str, Field]
    stale: dict[str, ColumnSet]
    unread: FormatError | StoreError | None


def _look(dataset: Dataset) -> _Looked:
    store = store_of(dataset)
    sums = read_sums(store)
    found: dict[str, Field] = {}
    stale: dict[str, ColumnSet] = {}
    unread: FormatError | StoreError | None = None
    for _, columns in each_set(store, sums):
        if not isinstance(columns, ColumnSet):
            unread = unread or columns
            continue
        good = fits(columns, dataset)
        for field in columns.fields:
            if good:
                found[field.name] = Field(field.name, columns, store)
            else:
                stale[field.name] = columns
    return _Looked(found, stale, unread)


def _all_fields(dataset: Dataset, names: Collection[str]) -> dict[str, Field]:
    looked = _look(dataset)
    for name in names:
        if name in looked.found:
            continue
        if name in looked.stale:
            raise stale_set(dataset, looked.stale[name])
        if looked.unread is not None:  # the column may be in this set
            raise looked.unread
        raise UsageError(
            "no such column",
            code="column-missing",
            where=name,
            expected=", ".join(looked.found) or f"a column of the index: {dataset.metadata.url} has no added columns",
            hint=f"wdstools columns ls {quote(dataset.metadata.url)}    lists the added columns",
        )
    return looked.found


def stale_set(dataset: Dataset, columns: ColumnSet) -> UsageError:
    """The error for a set made for another version of the dataset."""
    where = quote(dataset.metadata.url)
    return UsageError(
        "these columns were made for another version of the dataset",
        code="columns-stale",
        where=columns.name,
        expected=f"root {dataset.root}",
        got=f"root {columns.root}",
        hint=f"wdstools columns rm {where} {columns.name}    then add them again for this version",
    )
