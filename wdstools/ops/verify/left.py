"""What unfinished work has left next to a dataset. It is neither part of it nor damage, and may still be in progress."""

from __future__ import annotations

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.address import display
from wdstools.columns.sets import names_in, read_sums, store_of
from wdstools.errors import FormatError, StoreError
from wdstools.formats.columns import COLUMNS_WAITING, is_column_file, is_waiting, set_of
from wdstools.formats.manifest import COLUMNS_FOLDER, COLUMNS_LIST
from wdstools.ops.next_version.unfinished import COMPUTING, computing, left_by_the_killed
from wdstools.stores.local import LocalStore
from wdstools.stores.open import is_bucket
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import Manifest
    from wdstools.stores.base import Store

_STAYS = "files not known to be ours are not removed: move them away yourself"


def left_over(dataset: Dataset) -> tuple[str, ...]:
    """One line for each leftover: what it is, and what to do. Empty if the store cannot be listed."""
    try:
        store = store_of(dataset)
        if isinstance(store, LocalStore):
            return tuple(_in_folder(store, dataset.manifest))
        return tuple(_in_bucket(store)) if is_bucket(store.url) else ()
    except (StoreError, FormatError, OSError):  # other checks report what cannot be read
        return ()


def _in_folder(store: LocalStore, manifest: Manifest) -> Iterator[str]:
    for name in computing(store):
        yield f"{COMPUTING}/{name}: unfinished columns; repeat the call that computes them to go on from there"
    yield from left_by_the_killed(store, manifest)


def _in_bucket(store: Store) -> Iterator[str]:
    """Waiting files of columns, and files of sets, that the list does not name."""
    sums = read_sums(store)
    names, listed = set(names_in(sums)), {(set_of(path), digest) for path, digest in sums.items()}
    found: Counter[str] = Counter()
    for info in store.list(COLUMNS_WAITING):
        name, _, digest = info.key.removeprefix(COLUMNS_WAITING).partition("/")
        found[name] += is_waiting(name, digest) and (name, digest) not in listed
    for info in store.list(COLUMNS_FOLDER):
        found[set_of(info.key)] += is_column_file(info.key) and info.key not in sums and info.key != COLUMNS_LIST
    for name, count in sorted(found.items()):
        if not count:
            continue
        files = f"{counted(count, 'file')} of the columns {name}"
        if name in names:
            yield f"{files}, from an unfinished change; run it again, or any other change of these columns clears them up; {_STAYS}"
            continue
        again = f"if nobody is adding them now, wdstools columns rm {quote(display(store.url))} {name}; {_STAYS}"
        yield f"{files}, which were begun and not finished; run the same command again, or {again}"
