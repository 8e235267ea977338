"""How the next version of a dataset appears: in the old one's place, or as a new dataset, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.address import display, is_address
from wdstools.columns.sets import digest_of_list
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError, option
from wdstools.formats.card import CARD_PATH
from wdstools.formats.manifest import COLUMNS_LIST, MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.interop.emitted import EMITTED_PATH
from wdstools.landing.inside import read_inside, refuse_elsewhere, refuse_in_the_way, refuse_outside, require_inside
from wdstools.landing.new_folder import new_folder
from wdstools.landing.small_files import SMALL_FILES
from wdstools.landing.staging import commit, refuse_replaced, staged
from wdstools.ops.canonical import require_canonical
from wdstools.ops.next_version.columns import bring, carry_columns, column_names
from wdstools.ops.next_version.in_bucket import Crew, make_in_bucket
from wdstools.ops.next_version.place import FolderPlace
from wdstools.ops.next_version.shard import copy_shard
from wdstools.ops.next_version.unfinished import forget_computing
from wdstools.stores.local import LocalStore
from wdstools.stores.locks import locked_folder
from wdstools.stores.open import is_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.dataset import Dataset
    from wdstools.ops.next_version.derived import Derived
    from wdstools.ops.next_version.files import NextVersion
    from wdstools.ops.next_version.place import Place


def choose_place(verb: str, output: str | None, *, in_place: bool, dry_run: bool) -> None:
    """Refuse a change that does not say where the result goes; raises UsageError."""
    if (output is not None) + in_place != 1 and not (dry_run and not (output and in_place)):
        raise UsageError(
            "no place for the result was given",
            where=verb,
            expected=f"{option('output', 'NEW')} for a new dataset, or {option('in_place', True)} to change this one",
        )


def refuse_unchangeable(dataset: Dataset, output: str | None) -> None:
    """Refuse a dataset that cannot have a next version, or not in its own place.

    Raises UsageError (``not-canonical``, ``change-elsewhere``), and StoreError for small files that are links leading outside.
    """
    refuse_in_place(dataset.metadata.url, output)
    require_canonical(
        dataset.manifest, dataset.metadata.url, "these shards were not written by wdstools and cannot be changed"
    )
    refuse_outside(dataset.metadata, (CARD_PATH, PROVENANCE_PATH, SKIPPED_PATH))


def refuse_in_place(where: str, output: str | None) -> None:
    """Refuse a change in place except in a local folder: buckets cannot rename, and web servers cannot be written to.

    The next version of a dataset in a bucket goes elsewhere. Raises UsageError (``change-elsewhere``), and
    (``destination-elsewhere``) if ``output`` cannot be written to.
    """
    if output is not None and not is_bucket(output):
        refuse_elsewhere(output)
    if not is_address(where) or where.startswith("file://") or os.path.exists(where):
        return
    bucket, shown = is_bucket(where), display(where)
    if output is not None and bucket:
        return
    new = "s3://BUCKET/NEW"
    raise UsageError(
        "a dataset in a bucket cannot be changed in place" if bucket else "this place can only be read",
        code="change-elsewhere",
        where=shown,
        hint=f"write the next version elsewhere with {option('output', new)}; then wdstools mirror {new} {quote(shown)} --replace puts it here"
        if bucket
        else "pull it first: wdstools pull URL DIR",
    )


def change_in_place(
    dataset: Dataset, shards: Sequence[str], derived: Derived, write: Callable[[Place], NextVersion]
) -> NextVersion:
    """Replace the old version by what ``write`` makes: at any moment the dataset is the old one, absent, or the new one.

    ``shards`` are the paths of all shards and indexes to write; old ones that the manifest no longer has are deleted.
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
        with staged(target, (*shards, *SMALL_FILES, EMITTED_PATH, *names)) as work:
            made = write(FolderPlace(work))
            made.put_small(work)
            columns = carry_columns(dataset, sets, made.manifest, LocalStore(work))
        stays = {path for _, entry in made.manifest.shards for path in (entry.path, entry.index_path)}
        stays |= set(column_names(sets, (entry.path for _, entry in made.manifest.shards)))
        commit(target, (*made.files, *columns), sorted({*derived.deleted, *(old - stays)}))
        _forget_cached(derived)
        for path in derived.deleted:
            LocalStore(target).remove_empty_folders(path)
    return made


def make_elsewhere(
    dataset: Dataset,
    shards: Sequence[str],
    output: str,
    derived: Derived,
    write: Callable[[Place], NextVersion],
    crew: Crew,
) -> NextVersion:
    """Make a new dataset, in a folder or an object store, from what ``write`` makes and copies of everything that stays."""
    if is_bucket(output):
        made = make_in_bucket(dataset, shards, output, derived, write, crew)
    else:
        made = make_new(dataset, shards, output, derived, write)
    _forget_cached(derived)
    return made


def make_new(
    dataset: Dataset, shards: Sequence[str], output: str, derived: Derived, write: Callable[[Place], NextVersion]
) -> NextVersion:
    """Make a new dataset in a folder from what ``write`` makes and copies of everything that stays."""
    with new_folder(output) as scratch:
        work = scratch.new
        here = LocalStore(work)
        there = [path for _, entry in dataset.manifest.shards for path in (entry.path, entry.index_path)]
        scratch.note((*there, *shards, *SMALL_FILES, *column_names(derived.columns, {*there, *shards})))
        made = write(FolderPlace(work))
        made.put_small(work)
        carry_columns(dataset, derived.columns, made.manifest, here, partial(bring, here))
        for _, entry in made.manifest.shards:
            if entry.path not in made.files:
                copy_shard(dataset, entry, work)
        if SKIPPED_PATH not in made.files:
            with contextlib.suppress(NotFoundError):
                here.put(SKIPPED_PATH, read_inside(dataset.metadata, SKIPPED_PATH))
    return made


def _forget_cached(derived: Derived) -> None:
    for path in derived.cached:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


@contextlib.contextmanager
def beside_others(dataset: Dataset) -> Iterator[None]:
    """Report a failure caused by another process that replaces the dataset as that, and not as damage.

    Raises BusyError, or StoreError (``dataset-replaced``) if the other process has finished.
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
    """Raise StoreError if columns were added or removed since the plan was made, which does not cover them."""
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
    message = "files that are not part of this dataset have the names of new shards"
    refuse_in_the_way(target, paths, message, "move them away, or write the new version elsewhere")
