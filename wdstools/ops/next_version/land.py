"""How the next version of a dataset appears: in the old one's place, or as a new dataset, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.columns.sets import digest_of_list
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError, option
from wdstools.formats.card import CARD_PATH
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, Manifest
from wdstools.interop.emitted import EMITTED_PATH
from wdstools.landing.inside import read_inside, refuse_in_the_way, refuse_outside, require_inside
from wdstools.landing.new_folder import new_folder
from wdstools.landing.small_files import SMALL_FILES
from wdstools.landing.staging import commit, refuse_replaced, staged
from wdstools.ops.canonical import require_canonical
from wdstools.ops.next_version.columns import carry_columns, column_names
from wdstools.ops.next_version.shard import ADDED_SUFFIX, copy_shard
from wdstools.ops.next_version.unfinished import forget_computing
from wdstools.stores.local import LocalStore
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.dataset import Dataset
    from wdstools.ops.next_version.derived import Derived
    from wdstools.ops.next_version.shard import Rewritten


@dataclass(frozen=True, slots=True)
class NextVersion:
    """What was written: the manifest, every file that is not as it was, and the shards among them."""

    manifest: Manifest
    files: tuple[str, ...]
    shards: tuple[Rewritten, ...]


def choose_place(verb: str, output: str | None, *, in_place: bool, dry_run: bool) -> None:
    """Refuse a change that does not say where the result goes; raises UsageError."""
    if (output is not None) + in_place != 1 and not (dry_run and not (output and in_place)):
        raise UsageError(
            "it is not said where the result goes",
            where=verb,
            expected=f"{option('output', 'NEW')} for a new dataset, or {option('in_place', True)} to change this one",
        )


def refuse_unchangeable(dataset: Dataset, elsewhere: tuple[str, str]) -> None:
    """Refuse what has no next version; ``elsewhere`` is what to say, and what to do, of one that lies in no folder.

    Raises UsageError (``not-canonical``), and StoreError for small files that are links leading outside.
    """
    if not isinstance(dataset.metadata, LocalStore):
        message, hint = elsewhere
        raise UsageError(message, where=dataset.metadata.url, hint=hint)
    require_canonical(
        dataset.manifest, dataset.metadata.url, "these shards were not written by wdstools, and are not changed"
    )
    refuse_outside(dataset.metadata, (CARD_PATH, PROVENANCE_PATH, SKIPPED_PATH))


def change_in_place(
    dataset: Dataset, shards: Sequence[str], derived: Derived, write: Callable[[str], NextVersion]
) -> NextVersion:
    """Put what ``write`` makes in a folder in the place of the old version, which is then there, absent, or the new one.

    ``shards`` are the paths of all shards and indexes that are written; old ones that the manifest no longer has are deleted.
    """
    target = dataset.metadata.url
    require_inside(target, [*shards, MANIFEST_PATH])
    old = {path for _, entry in dataset.manifest.shards for path in (entry.path, entry.index_path)}
    with locked_folder(os.path.join(target, ".wdstools"), target):
        refuse_replaced(dataset.metadata, dataset.root)
        _refuse_other_columns(dataset, derived)
        _refuse_in_the_way(target, sorted({*shards} - old))
        for name in derived.computing:
            forget_computing(target, name)
        sets = derived.columns
        old |= {path for one in sets for path in one.files()}
        names = column_names(sets, {*shards, *(entry.path for _, entry in dataset.manifest.shards)})
        with staged(target, (*_scratch_names(shards), *SMALL_FILES, EMITTED_PATH, *names)) as work:
            made = write(work)
            columns = carry_columns(dataset, sets, made.manifest, work, whole=False)
        stays = {path for _, entry in made.manifest.shards for path in (entry.path, entry.index_path)}
        stays |= set(column_names(sets, (entry.path for _, entry in made.manifest.shards)))
        commit(target, (*made.files, *columns), sorted({*derived.deleted, *(old - stays)}))
        _forget_cached(derived)
        for path in derived.deleted:
            LocalStore(target).remove_empty_folders(path)
    return made


def make_new(
    dataset: Dataset, shards: Sequence[str], output: str, derived: Derived, write: Callable[[str], NextVersion]
) -> NextVersion:
    """Make a new dataset of what ``write`` makes and, copied, of everything that stays as it is."""
    with new_folder(output) as scratch:
        work = scratch.new
        there = [path for _, entry in dataset.manifest.shards for path in (entry.path, entry.index_path)]
        scratch.note((*there, *_scratch_names(shards), *SMALL_FILES, *column_names(derived.columns, {*there, *shards})))
        made = write(work)
        carry_columns(dataset, derived.columns, made.manifest, work, whole=True)
        for _, entry in made.manifest.shards:
            if entry.path not in made.files:
                copy_shard(dataset, entry, work)
        if SKIPPED_PATH not in made.files:
            with contextlib.suppress(NotFoundError):
                LocalStore(work).put(SKIPPED_PATH, read_inside(dataset.metadata, SKIPPED_PATH))
    _forget_cached(derived)
    return made


def _forget_cached(derived: Derived) -> None:
    for path in derived.cached:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def beside_others(dataset: Dataset) -> Iterator[None]:
    """What fails since another process puts another version in the dataset's place is told as that, and not as damage.

    Raises BusyError, or StoreError (``dataset-replaced``) where the other one is done.
    """
    try:
        yield
    except (FormatError, IntegrityError, NotFoundError):
        if isinstance(dataset.metadata, LocalStore):
            target = dataset.metadata.path
            try:
                with locked_folder(os.path.join(target, ".wdstools"), target):
                    refuse_replaced(dataset.metadata, dataset.root)
            except StoreError as other:
                if other.code == "dataset-replaced":
                    raise
        raise


def _refuse_other_columns(dataset: Dataset, derived: Derived) -> None:
    """Raise StoreError where columns were added or removed since the plan was made: it says nothing of them."""
    if (now := digest_of_list(dataset.metadata)) != derived.listed:
        raise StoreError(
            "the columns of the dataset have changed since the plan was made",
            code="dataset-replaced",
            where=f"{dataset.metadata.url}/{COLUMNS_LIST}",
            expected=derived.listed or "no columns",
            got=now or "no columns",
            hint="run the same command again; nothing was changed",
        )


def _refuse_in_the_way(target: str, paths: Sequence[str]) -> None:
    message = "files that are not of this dataset have the names of new shards"
    refuse_in_the_way(target, paths, message, "move them away, or write the new version elsewhere")


def _scratch_names(shards: Sequence[str]) -> list[str]:
    return [*shards, *(path + ADDED_SUFFIX for path in shards if path.endswith(".tar"))]
