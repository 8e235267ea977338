"""Make the next version of a dataset under another prefix of an object store: write what changes, copy what stays.

As in a pack, the prefix is claimed, objects are noted, and the manifest comes last; until then there is no dataset. The
server copies what stays if both prefixes are on the same service; otherwise it goes through a worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wdstools.columns.sets import read_sums, store_of
from wdstools.dataset import CLAIM_PATH
from wdstools.errors import BusyError, NotFoundError, SourceChangedError, StoreError, UsageError, option
from wdstools.executors.base import run_all
from wdstools.formats.columns import COLUMNS_WAITING, waiting_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_LIST, SKIPPED_PATH, index_path
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.landing.bucket_site import BucketSite
from wdstools.landing.inside import lies, read_inside
from wdstools.landing.notes import BEGUN, note_path, read_note
from wdstools.landing.site import site_at
from wdstools.ops.next_version.columns import carry_columns, column_names
from wdstools.ops.next_version.place import BucketPlace, line_of
from wdstools.ops.next_version.shard import not_whole
from wdstools.progress import under_way
from wdstools.stores.open import is_bucket, remote
from wdstools.stores.reading import get_whole, read_blocks, sha256_there
from wdstools.stores.remote import disagreements
from wdstools.transfer.columns import fetch_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Executor, Tick
    from wdstools.formats.columns import ColumnSet, ColumnShard
    from wdstools.formats.manifest import ShardEntry
    from wdstools.landing.homes import BucketHome
    from wdstools.ops.next_version.derived import Derived
    from wdstools.ops.next_version.files import NextVersion
    from wdstools.ops.next_version.place import Place
    from wdstools.progress import Progress
    from wdstools.stores.base import Store


@dataclass(frozen=True, slots=True)
class Crew:
    """The executor and the progress to report to; ``plan`` is a digest of everything that decides what is written."""

    executor: Executor
    progress: Progress
    plan: str


def make_in_bucket(
    dataset: Dataset,
    shards: Sequence[str],
    output: str,
    derived: Derived,
    write: Callable[[Place], NextVersion],
    crew: Crew,
) -> NextVersion:
    """Make a new dataset under an empty prefix; calling it again resumes an interrupted run.

    Raises StoreError (``destination-not-empty``), BusyError (``partial-of-other-plan``), SourceChangedError if added
    columns changed meanwhile, and what a pack raises.
    """
    site = site_at(output)
    assert isinstance(site, BucketSite)
    if output.rstrip("/") == dataset.shards.url.rstrip("/"):
        raise UsageError(
            "a new version needs a place of its own",
            where=option("output", output),
            hint="choose another prefix; wdstools mirror --replace then puts it in the old one's place",
        )
    old = {entry.path for _, entry in dataset.manifest.shards}
    paths = sorted({*old, *(path for path in shards if path.endswith(".tar"))})
    names = [*paths, *map(index_path, paths), *column_names(derived.columns, paths)]
    with site:
        _begin(site, crew.plan, names)
        made = write(BucketPlace(site.home))
        stay: list[CopyColumnsTask] = []
        put_aside = partial(_put_aside, stay, site.home, _waiting(dataset))
        noted = _Noted(site)
        carry_columns(dataset, derived.columns, made.manifest, noted, put_aside)
        small = dict(made.small)
        if SKIPPED_PATH not in small:
            with contextlib.suppress(NotFoundError):
                small[SKIPPED_PATH] = read_inside(dataset.metadata, SKIPPED_PATH)
        sums = {line.path: line.digest for line in parse_sums(small[SUMS_PATH], where=SUMS_PATH)}
        written = {one.entry.path for one in made.shards}
        entries = [entry for _, entry in made.manifest.shards]
        tasks = [
            CopyTask(dataset, entry, sums[entry.index_path], site.home)
            for entry in entries
            if entry.path not in written
        ]
        total = sum(task.entry.bytes for task in tasks) + sum(task.shard.bytes for task in stay)
        with under_way(crew.progress, "copy", total, "bytes") as tick:
            by_server = run_all(crew.executor, copy_columns, stay, tick)
            copied = {task.path for task, server in zip(stay, by_server, strict=True) if server}
            stored = noted.sums | {task.path: task.shard.sha256 for task in stay}
            if copied:
                _refuse_changed(stay[0].source, derived.columns, site.home, stored, copied)
            run_all(crew.executor, copy_into_bucket, tasks, tick)
        site.publish(small, {entry.path: entry.bytes for entry in entries})
    return made


def _begin(site: BucketSite, plan: str, names: Sequence[str]) -> None:
    """Begin or resume; raises BusyError if other work is unfinished there, which a change of a dataset never overwrites."""
    try:
        site.begin(plan, names, restart=False)
    except BusyError as error:
        if error.code == "partial-of-other-plan":
            error.hint = (
                "choose another prefix, or finish the other work with its own command; "
                "what is there is not a dataset yet: if nobody needs it, delete it"
            )
        raise


class _Noted:
    """Small files under a prefix, each noted before it is stored."""

    def __init__(self, site: BucketSite) -> None:
        self._site = site
        #: What was stored, with the SHA-256 of each.
        self.sums: dict[str, str] = {}

    def get(self, key: str) -> bytes:
        """A file that is there."""
        return get_whole(self._site.home.store, key)

    def put(self, key: str, data: bytes) -> None:
        """Store a file."""
        self._site.add(_note_of(key), key, data)
        self.sums[key] = sha256_hex(data)


def _note_of(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", key)


def _waiting(dataset: Dataset) -> set[str] | None:
    """The files of columns that have not been moved into place yet; None if there is no telling."""
    try:
        return {info.key for info in store_of(dataset).list(COLUMNS_WAITING)}
    except StoreError:  # read access need not include listing
        return None


def _put_aside(
    tasks: list[CopyColumnsTask],
    home: BucketHome,
    waiting: set[str] | None,
    store: Store,
    path: str,
    shard: ColumnShard,
) -> None:
    in_place = waiting is not None and waiting_path(path, shard.sha256) not in waiting
    tasks.append(CopyColumnsTask(store, path, shard, home, in_place))


@dataclass(frozen=True, slots=True)
class CopyColumnsTask:
    """A file of added columns that stays unchanged; ``in_place``: it is known not to be waiting in ``source`` to be moved."""

    source: Store
    path: str
    shard: ColumnShard
    home: BucketHome
    in_place: bool


def copy_columns(task: CopyColumnsTask, tick: Tick) -> bool:
    """Copy such a file, by the server if it can and its digest of the file matches; returns whether the server did.

    What goes through this process is proved. Raises as ``fetch_columns``.
    """
    path, sha256, name = task.path, task.shard.sha256, _note_of(task.path)
    if task.in_place and _is_as_noted(task):
        try:
            task.home.copy_file(name, path, sha256, task.source)
        except StoreError as error:
            if error.code != "store-cannot":
                raise
        else:
            tick(task.shard.bytes)
            return True
    task.home.put_file(name, path, fetch_columns(task.source, path, sha256))
    tick(task.shard.bytes)
    return False


def _refuse_changed(
    source: Store, sets: Sequence[ColumnSet], home: BucketHome, stored: Mapping[str, str], copied: Collection[str]
) -> None:
    """Raise SourceChangedError if a set has changed since it was read: the server ``copied`` whichever files were there.

    Files are replaced after the list names a set's next version, after it has dropped a set that is then added again, or
    while a mirror has claimed the place. What was ``stored`` is deleted, so that the same command can go on.
    """
    claimed = lies(source, CLAIM_PATH)  # before the list is read: a finished mirror has stored its own list
    now = read_sums(source)
    same = all(now.get(path) == digest for one in sets for path, digest in one.files().items())
    if same and not claimed:
        return
    _take_back(home, stored, copied)
    raise SourceChangedError(
        "a mirror is being made over the columns of the dataset"
        if same
        else "the columns of the dataset changed while they were copied",
        where=f"{source.url}/{CLAIM_PATH if same else COLUMNS_LIST}",
        hint="finish that mirror with its own command, then run this one again"
        if same
        else "run the same command again: it goes on with the columns as they are now",
    )


def _take_back(home: BucketHome, stored: Mapping[str, str], copied: Collection[str]) -> None:
    """Delete what this run has stored and noted. What another run has noted since, or what appeared since, is not ours."""
    for path, digest in stored.items():
        begun = read_note(home.store, note_path(home.plan, _note_of(path))).get(BEGUN)
        if begun == {path: digest} and (path in copied or sha256_there(home.store, path) == digest):
            with contextlib.suppress(NotFoundError):
                home.store.delete(path)


def _is_as_noted(task: CopyColumnsTask) -> bool:
    """Whether a file has the expected size and, if its store gives one, the expected digest."""
    if not is_bucket(task.source.url):
        return False
    store = remote(task.source)
    try:
        there = store.head(task.path).bytes
        differing = disagreements({"sha256": task.shard.sha256}, store.remote_digests(task.path))
    except NotFoundError:
        return False
    return there == task.shard.bytes and not differing


@dataclass(frozen=True, slots=True)
class CopyTask:
    """A shard that stays unchanged, and its index, with the SHA-256 from the checksum list."""

    dataset: Dataset
    entry: ShardEntry
    index_sha256: str
    home: BucketHome


def copy_into_bucket(task: CopyTask, tick: Tick) -> bool:
    """Copy a shard with its index, unless an interrupted run has; returns whether it was already there.

    The server copies what it has, including damage: the manifest says what it should be. What goes through this process is
    proved.
    Raises IntegrityError (``shard-damaged``), FormatError (``index-damaged``).
    """
    entry, home = task.entry, task.home
    line = line_of(entry, task.index_sha256)
    there = BucketPlace(home).held(entry.path)
    if there is None:
        try:
            home.copy(line, task.dataset.shards)
        except StoreError as error:
            if error.code != "store-cannot":
                raise
            _bring(task)
    tick(entry.bytes)
    return there is not None


def _bring(task: CopyTask) -> None:
    """Copy through this worker, reading the shard once."""
    dataset, entry = task.dataset, task.entry
    index = dataset.index_bytes(entry)
    dataset.checked_index(entry, index)
    with task.home.making(entry.path) as made:
        digest = hashlib.sha256()
        with made.filling() as out:
            for block in read_blocks(dataset.shards, entry.path):
                digest.update(block)
                out.write(block)
        if digest.hexdigest() != entry.sha256:
            raise not_whole(dataset, entry, digest.hexdigest())
        made.land(line_of(entry, sha256_hex(index)), index)
