"""What was made from a dataset's samples, outside its shards and indexes: every change has to deal with it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import TYPE_CHECKING, Any

from wdstools.address import display
from wdstools.columns.kept import files_of as kept_values
from wdstools.columns.sets import digest_of_list, fits, listed_files, names_in, read_set, read_sums
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.formats.columns import column_path, damaged, set_path
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import COLUMNS_FOLDER, COLUMNS_LIST, HASHES_FOLDER, like_index
from wdstools.interop.emitted import EMITTED_PATH, Emitted, read_emitted
from wdstools.joined.kept import files_of as joined_files
from wdstools.landing.inside import lies
from wdstools.landing.small_files import read_provenance
from wdstools.ops.next_version.unfinished import COMPUTING, computing, left_by_the_killed
from wdstools.plan import Step
from wdstools.stores.cache import Caching
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote
from wdstools.stores.reading import get_whole, sha256_there
from wdstools.transfer.known import NAME as KNOWN_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from wdstools.dataset import Dataset
    from wdstools.formats.columns import ColumnSet
    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import Store

_SIGNATURES = ".wdstools/signatures/"
_MAX_EMITTED_BYTES = 1 << 40
_MAX_KNOWN_BYTES = 1 << 24
#: Every page that wdstools writes has this near its beginning.
_PAGE_MARK = b'<meta name="generator" content="wdstools">'
_PAGE_HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Derived:
    """Files below the dataset that go with the samples, and places that will still hold samples afterwards.

    ``deleted`` maps each file to what it is. ``emitted`` is the old list of emitted files; ``elsewhere`` names what the
    change leaves alone. ``cached`` are files in caches outside the dataset.
    """

    deleted: dict[str, str] = field(default_factory=dict)
    #: Added columns that are rewritten for the next version.
    columns: tuple[ColumnSet, ...] = ()
    #: The digest of the list of sets when it was read.
    listed: str = ""
    touched: tuple[str, ...] = ()
    emitted: Emitted | None = None
    elsewhere: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()
    #: Sets of columns that somebody has begun to compute for this version.
    computing: tuple[str, ...] = ()

    @property
    def steps(self) -> list[Step]:
        """The steps of a plan."""
        return [
            *(Step("delete", path, detail=what) for path, what in sorted(self.deleted.items())),
            *(Step("delete", path, detail="cached") for path in self.cached),
            *(Step("delete", f"{COMPUTING}/{name}", detail="unfinished columns") for name in self.computing),
            *(
                Step("rewrite", path, detail=f"the columns {one.name}")
                for one in self.columns
                for path in (*(column_path(one.name, shard) for shard in self.touched), one.path)
            ),
        ]

    def rewritten(self, root: str) -> tuple[str, ...]:
        """What is rewritten in addition to the shards, for the next version with this root."""
        lists = (*self.emitted_list(root), *(one.path for one in self.columns))
        return (*lists, *(column_path(one.name, shard) for one in self.columns for shard in self.touched))

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The places of unfinished columns."""
        return tuple(f"{COMPUTING}/{name}" for name in self.computing)

    def emitted_list(self, root: str) -> dict[str, bytes]:
        """The list of emitted files once they are deleted: it still says which keys of the card emit added."""
        if self.emitted is None or not self.emitted.card_keys:
            return {}
        return {EMITTED_PATH: replace(self.emitted, root=root, files={}, links=(), earlier={}).dumps()}


def as_left_behind(derived: Derived) -> Derived:
    """For a new dataset: nothing is deleted from the old one, so it is a place that still holds the samples."""
    kept = tuple(f"{path}: {what}, in the old dataset" for path, what in sorted(derived.deleted.items()))
    kept += tuple(f"{one.path}: columns, in the old dataset" for one in derived.columns)
    kept += tuple(f"{COMPUTING}/{name}: unfinished columns, in the old dataset" for name in derived.computing)
    return Derived(columns=derived.columns, elsewhere=(*derived.elsewhere, *kept), cached=derived.cached)


def find_derived(dataset: Dataset, touched: Sequence[ShardEntry], caches: Sequence[str]) -> Derived:
    """All of it, for a change in place: what can be made again is deleted; what is not ours to change is named."""
    store = dataset.metadata
    deleted: dict[str, str] = {}
    for entry in touched:
        path = like_index(entry.path, HASHES_FOLDER)
        if lies(store, path):
            deleted[path] = "hashes of images"
    for info in store.list(".wdstools/"):
        if info.key.startswith(_SIGNATURES):
            deleted[info.key] = "a signature of this version"
    listed = digest_of_list(store)  # before the list is read: a later change shows as another digest
    sets, stale = _columns(dataset, store)
    deleted |= dict.fromkeys(stale, "columns of another version")
    emitted, changed = _emitted(dataset)
    if emitted is not None:
        deleted |= {
            path: "for other readers; run emit to make it again" for path in emitted.files if path not in changed
        }
        if not emitted.card_keys:
            deleted[EMITTED_PATH] = "the list of emitted files"
    there = {path: what for path, what in deleted.items() if lies(store, path)}
    elsewhere = (
        *_mirrors(dataset),
        *(f"{path}: changed since it was emitted" for path in changed),
        *(f"{path}: a file that does not belong to any set of columns" for path in _strangers(store, sets, stale)),
        *_pages(store),
        *(left_by_the_killed(store, dataset.manifest) if isinstance(store, LocalStore) else ()),
    )
    return Derived(
        there,
        sets,
        listed,
        tuple(entry.path for entry in touched),
        emitted,
        elsewhere,
        tuple(_cached(dataset, touched, caches)),
        computing(store) if isinstance(store, LocalStore) else (),
    )


def _emitted(dataset: Dataset) -> tuple[Emitted | None, list[str]]:
    """What was emitted, and the paths that somebody has changed since: those are theirs."""
    try:
        emitted = read_emitted(dataset.metadata, dataset.manifest)
    except FormatError:
        return None, [EMITTED_PATH]
    if not emitted.root:
        return None, []
    changed = list(emitted.others)
    for path in emitted.files:
        try:
            same = emitted.made(path, sha256_hex(get_whole(dataset.metadata, path, _MAX_EMITTED_BYTES)))
        except NotFoundError:
            continue
        except StoreError:  # it cannot be read, so it may be anybody's
            same = False
        if not same:
            changed.append(path)
    return emitted, changed


def _mirrors(dataset: Dataset) -> Iterator[str]:
    """Where the dataset was mirrored to, as far as noted: samples stay there until it is mirrored again."""
    noted: list[Any] = []
    provenance = read_provenance(dataset.metadata)
    for name in ("mirrors", "published"):
        found = provenance.get(name)
        noted += found if isinstance(found, list) else []
    try:
        known = json.loads(get_whole(dataset.metadata, f".wdstools/{KNOWN_NAME}", _MAX_KNOWN_BYTES))
    except (StoreError, FormatError, ValueError, RecursionError):
        known = {}
    etags = known.get("etags") if isinstance(known, dict) else None
    noted += list(etags) if isinstance(etags, dict) else []
    for url in sorted({url for url in noted if isinstance(url, str)}):
        kept = "; its history keeps every version" if url.startswith("hf://") else ""
        yield f"{display(url)}: a mirror, as noted earlier{kept}"


def _columns(dataset: Dataset, store: Store) -> tuple[tuple[ColumnSet, ...], list[str]]:
    """The sets of columns of this version, and the files of other sets, with the list of sets if it names no others.

    Nothing if the list cannot be read. A set counts as another version's only if its document is whole and says so: raises
    FormatError (``columns-damaged``) for one that is damaged or missing. Files whose bytes do not match the list are not
    ours, and are left out.
    """
    try:
        sums = read_sums(store)
    except FormatError:
        return (), []
    sets = tuple(columns for name in names_in(sums) if fits(columns := _read_whole(store, name, sums), dataset))
    carried = {path for one in sets for path in one.files()}
    stale = [path for path in listed_files(sums) if path not in carried and sha256_there(store, path) == sums[path]]
    return sets, stale if sets or not sums else [*stale, COLUMNS_LIST]


def _read_whole(store: Store, name: str, sums: Mapping[str, str]) -> ColumnSet:
    try:
        return read_set(store, name, sums[set_path(name)])
    except NotFoundError:
        where = quote(display(store.url))
        raise damaged(
            set_path(name),
            "its document is missing",
            hint=f"wdstools repair {where} --from COPY    or, without a copy: wdstools columns rm {where} {name}",
        ) from None


def _strangers(store: Store, sets: Sequence[ColumnSet], stale: Collection[str]) -> Iterator[str]:
    """Files among the columns that belong to no set, and so may be anybody's."""
    ours = {path for one in sets for path in (*one.files(), COLUMNS_LIST)}.union(stale)
    for info in store.list(COLUMNS_FOLDER):
        if info.key not in ours:
            yield info.key


def _pages(store: Store) -> Iterator[str]:
    """Pages that wdstools wrote into the folder, which may show the images."""
    for info in store.list():
        if info.key.endswith((".html", ".htm")):
            try:
                head = store.get(info.key, 0, _PAGE_HEAD_BYTES)
            except StoreError:
                continue
            if _PAGE_MARK in head:
                yield f"{info.key}: a page that may show the images"


def _cached(dataset: Dataset, touched: Sequence[ShardEntry], caches: Sequence[str]) -> Iterator[str]:
    """What caches have of the shards: blocks, hashes of images, the joined index with its captions, and column values."""
    for folder in caches:
        hashes = [os.path.join(folder, f"{entry.sha256}.parquet") for entry in touched if entry.sha256]
        yield from (path for path in hashes if os.path.isfile(path) and not os.path.islink(path))
        cache = Caching(remote(dataset.shards), folder, dataset.root, limit_bytes=0)
        for entry in touched:
            yield from cache.kept(entry.path, entry.bytes)
    yield from joined_files(dataset.root)
    yield from kept_values(dataset.root)
