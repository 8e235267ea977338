"""A dataset: a manifest, the store of its metadata, and the store of its shards (by default the same)."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal, NewType, Unpack, overload

from wdstools.address import display
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError, option
from wdstools.formats.digest import parse_root, sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest, ShardEntry, loads
from wdstools.log import tell
from wdstools.options.declare import settle
from wdstools.options.read import OpenChoices
from wdstools.results import Proved
from wdstools.stores.cache import Caching
from wdstools.stores.confirmed import is_confirmed
from wdstools.stores.folders import path_here
from wdstools.stores.local import LocalStore
from wdstools.stores.open import open_remote, open_store, remote
from wdstools.stores.read_only import ReadOnly
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from wdstools.options.declare import StrPath
    from wdstools.reader.sample import Sample
    from wdstools.reader.split import Split
    from wdstools.stores.base import Store

#: The name of a split, so that type checkers can tell it from a key.
SplitName = NewType("SplitName", str)
#: The usual names of splits: with these, a type checker knows that ``dataset["train"]`` is a split.
UsualSplit = Literal["train", "val", "valid", "validation", "dev", "test"]

#: Exists in a dataset while a staged change is being moved in.
STAGED_MARK = ".wdstools/staged/commit.json"
#: Exists at a place while a dataset is mirrored to it, and names the root digest.
CLAIM_PATH = ".wdstools/mirroring.json"
#: Exists in a bucket while a dataset is packed into it, and names the plan.
PACK_CLAIM_PATH = ".wdstools/packing/claim.json"
_MAX_INDEX_BYTES = 1 << 30
_MAX_LOCATION_BYTES = 1 << 16
#: In the metadata of tars that are elsewhere: names their place.
LOCATION_PATH = ".wdstools/location.json"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A manifest and where its data is: ``metadata`` holds the indexes and lists, ``shards`` the tars.

    ``root`` is the digest of the manifest's bytes as they were read. ``dataset[split]`` and ``dataset[key]`` read
    samples; see ``wdstools.reader``.
    """

    manifest: Manifest
    root: str
    metadata: Store
    shards: Store
    manifest_key: str = MANIFEST_PATH
    #: Other copies of the shards, tried in this order if ``shards`` does not hold what was packed.
    mirrors: tuple[Store, ...] = ()
    #: Shards that the reader has opened, by path: a cache, not part of the value.
    readers: dict[str, object] = field(default_factory=dict, repr=False, compare=False)
    #: Whether the root digest came from elsewhere, not with the data: then everything read must be proved by SHA-256.
    anchored: bool = False
    #: The signer of the root digest, if there is one: the key, as ``SHA256:`` and its fingerprint.
    signer: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the open shards: they are opened again when they are needed."""
        parts = (self.manifest, self.root, self.metadata, self.shards, self.manifest_key, self.mirrors)
        return Dataset, (*parts, {}, self.anchored, self.signer)

    def anchor(self, root: str | None) -> Dataset:
        """The same dataset, anchored to this root digest, which it must have; unchanged for None.

        Raises IntegrityError (``root-differs``), and UsageError if ``root`` is not a root digest.
        """
        if root is None:
            return self
        if (wanted := parse_root(root)) != self.root:
            raise root_differs(self.metadata.url, wanted, self.root)
        return replace(self, anchored=True, readers={})

    @property
    def strict(self) -> bool:
        """Whether each sample that is read must be proved by the SHA-256 of its group."""
        return self.anchored and self.manifest.authenticated_ranges

    @property
    def proved_by_samples(self) -> Proved:
        """What reading individual samples proves about them."""
        if self.strict:
            return Proved.FORGER
        return Proved.ACCIDENT if all(entry.xxh3_128 for _, entry in self.manifest.shards) else Proved.NOTHING

    @property
    def name(self) -> str:
        """The dataset's name, or its address if it has no name."""
        return self.manifest.name or self.shards.url

    def at(self, url: str) -> Dataset:
        """The same dataset with its shards at another address."""
        return replace(self, shards=open_store(url), readers={})

    def index(self, shard: ShardEntry, columns: Sequence[str] | None = None) -> pa.Table:
        """A shard's index, checked against the manifest's ``rows`` and ``values``; ``columns`` must include the checked ones.

        The index is looked for next to the manifest, then next to the shards. If it arrives damaged from remote storage, it is
        fetched again, and then taken from a mirror. Raises NotFoundError (``index-missing``), StoreError or FormatError
        (``index-damaged``).
        """
        damage: FormatError | None = None
        for data in self._index_readings(shard):
            try:
                return self.checked_index(shard, data, columns)
            except FormatError as error:
                damage = damage or error
        assert damage is not None
        self.refuse_replaced()
        raise damage

    def refuse_replaced(self) -> None:
        """Raise StoreError (``dataset-replaced``) if the manifest there is now another: that explains an earlier failure."""
        try:
            now = sha256_hex(get_whole(self.metadata, self.manifest_key, MAX_MANIFEST_BYTES))
        except (StoreError, FormatError):
            return
        if now != self.root:
            raise StoreError(
                "the dataset was replaced since it was opened",
                code="dataset-replaced",
                where=self.metadata.url,
                expected=f"root {self.root}",
                got=now,
                hint="open it again, or run the same command again",
            ) from None

    def checked_index(self, shard: ShardEntry, data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
        """The bytes of a shard's index as a table; raises FormatError (``index-damaged``) like ``index``."""
        from wdstools.formats.index import (
            SCHEMA,
            VALUE_COLUMNS,
            check_bounds,
            check_foreign_bounds,
            misplaced,
            read_index,
            unlike,
        )

        names = [*(columns or SCHEMA.names)]
        if self.anchored and shard.values and not set(VALUE_COLUMNS).isdisjoint(names):
            names += [name for name in VALUE_COLUMNS if name not in names]  # they are proved together or not at all
        table = read_index(data, where=shard.index_path, columns=names)
        if self.manifest.profile == "canonical":
            check_bounds(table, shard.samples, shard.bytes, where=shard.index_path)
        else:
            limit = shard.bytes if shard.encoding == "tar" else 0
            check_foreign_bounds(table, shard.samples, limit, where=shard.index_path)
        if wrong := unlike(table, shard):
            name, expected, got = wrong
            raise FormatError(
                "an index does not agree with the manifest",
                code="index-damaged",
                where=shard.index_path,
                expected=f"{name} {expected}",
                got=got,
                hint=self.verify_command,
            )
        if columns is None and (column := misplaced(table, self.manifest.split_of(shard))):
            raise FormatError(
                f"column {column} of an index does not match the shard's place",
                code="index-damaged",
                where=shard.index_path,
                hint=self.verify_command,
            )
        return table

    def index_bytes(self, shard: ShardEntry) -> bytes:
        """The bytes of a shard's index file, unchecked."""
        return next(self._index_readings(shard))

    def _index_readings(self, shard: ShardEntry) -> Iterator[bytes]:
        """Read a shard's index file from each place that has it, twice from remote ones; raises an error if none has it."""
        places = (self.metadata,) if self.shards is self.metadata else (self.metadata, self.shards)
        failure: StoreError | None = None
        found = False
        for store in (*places, *self.mirrors):
            for _ in range(1 if isinstance(store, LocalStore) else 2):
                try:
                    data = get_whole(store, shard.index_path, _MAX_INDEX_BYTES)
                except StoreError as error:
                    failure = failure or (None if isinstance(error, NotFoundError) else error)
                    break
                found = True
                yield data
        if not found:
            raise failure or NotFoundError(
                "an index is missing",
                code="index-missing",
                where=f"{self.metadata.url}/{shard.index_path}",
                hint=self.verify_command
                if self.manifest_key == MANIFEST_PATH
                else "a manifest alone does not list samples: give the folder of a copy that has the indexes",
            )

    def read_again(self, path: str, start: int, length: int) -> Iterator[bytes]:
        """Read a range of a shard again that was not as packed, for the caller to check each reading.

        A remote range is fetched once more, bypassing any cache (the network may have damaged it), then from each mirror.
        Places that cannot be read are skipped.
        """
        if isinstance(self.shards, Caching):
            self.shards.forget(path, start, length)
        again = () if isinstance(self.shards, LocalStore) else (self.shards,)
        for store in (*again, *self.mirrors):
            with contextlib.suppress(StoreError):
                yield store.get(path, start, length)

    def save(self, path: str) -> None:
        """Write the manifest to a file, for example to commit or publish it."""
        folder, name = os.path.split(path)
        LocalStore(folder or ".").put(name, self.metadata.get(self.manifest_key))

    @overload
    def __getitem__(self, which: SplitName | UsualSplit) -> Split: ...  # type: ignore[overload-overlap]
    @overload
    def __getitem__(self, which: str) -> Sample: ...
    def __getitem__(self, which: str) -> Split | Sample:
        """A split (a sequence of samples) by name, or a sample by key.

        If a type checker cannot tell which it is, use ``split`` or ``sample``.
        """
        from wdstools.reader.split import get_split_or_sample

        if not isinstance(which, str):
            raise TypeError(f"index a dataset by a split or a key, such as {self.splits[0]!r}, and a split by a number")
        return get_split_or_sample(self, which)

    def split(self, name: str) -> Split:
        """The samples of a split, in shard order; raises KeyError if there is no split of this name."""
        from wdstools.reader.split import Split

        return Split(self, name)

    def sample(self, key: str) -> Sample:
        """The sample with this key; raises KeyError if there is no such sample."""
        from wdstools.reader.split import find_sample

        return find_sample(self, key)

    def __contains__(self, which: object) -> bool:
        """Whether there is such a split or key."""
        try:
            self[which]  # type: ignore[call-overload]
        except (KeyError, TypeError):
            return False
        return True

    def __repr__(self) -> str:
        """Its name, its address, and its splits with their numbers of samples."""
        splits = {name: sum(shard.samples for shard in shards) for name, shards in self.manifest.splits.items()}
        return f"Dataset({self.name!r}, {self.shards.url!r}, {splits}, root {self.root})"

    @property
    def verify_command(self) -> str:
        """The command that shows what is not as it was packed."""
        return f"wdstools verify {quote(self.metadata.url)}"

    @property
    def splits(self) -> list[SplitName]:
        """Names of the splits."""
        return [SplitName(name) for name in self.manifest.splits]


def as_dataset(dataset: Dataset | StrPath) -> Dataset:
    """A dataset, opened if a folder or URL is given; raises what ``open_dataset`` raises."""
    if isinstance(dataset, Dataset):
        return dataset
    given: Any = dataset
    if not isinstance(given, str | os.PathLike):
        raise UsageError(
            "not a dataset",
            where=type(given).__name__,
            expected="a dataset, or its folder or URL",
            got=repr(given)[:100],
            hint="only wt.loader and wt.torch.loader also take a wt.mix",
        )
    return open_dataset(dataset)


def _refuse_unfinished(metadata: Store) -> None:
    """Refuse a place where a change, a pack or a mirror is unfinished: it has no manifest yet."""
    if _lies_at(metadata, STAGED_MARK):
        raise StoreError(
            "a change of this dataset was interrupted",
            code="change-unfinished",
            where=metadata.url,
            hint=f"wdstools repair {quote(metadata.url)} -y    finishes it",
        )
    if _lies_at(metadata, PACK_CLAIM_PATH):
        raise NotFoundError(
            "a dataset is being written to this place and is not finished",
            code="pack-unfinished",
            where=metadata.url,
            hint=f"wait for it, or run the same command again: wdstools pack SRC {quote(metadata.url)}, or remove or append with {option('output', metadata.url)}",
        )
    if _lies_at(metadata, CLAIM_PATH):
        raise NotFoundError(
            "a mirror to this place is not finished",
            code="mirror-unfinished",
            where=metadata.url,
            hint=f"wait for it, or run the same command again: wdstools mirror DATASET {quote(metadata.url)}",
        )


def _lies_at(store: Store, key: str) -> bool:
    try:
        store.head(key)
    except StoreError:
        return False
    return True


def open_dataset(where: StrPath, **choices: Unpack[OpenChoices]) -> Dataset:
    """Open a dataset. Only the manifest is read.

    Args:
        where: A folder or URL that holds ``.wdstools/manifest.json``, or a manifest file with ``at``.
        **choices: Where the shards are, and how to read remote ones; see ``OpenChoices``.

    Returns:
        The dataset.

    Raises:
        NotFoundError: There is no dataset (``dataset-missing``).
        IntegrityError: It does not have the given ``root`` (``root-differs``).
        FormatError: The manifest is damaged, or has a newer format version.
        StoreError: Storage could not be read, or a change of the dataset was interrupted (``change-unfinished``).
    """
    chosen = settle(OpenChoices, choices)
    where = os.fspath(where)
    if os.path.isfile(where):
        folder, key = os.path.split(where)
        metadata: Store = LocalStore(folder or ".")
        # .wdstools/manifest.json given as a file means its dataset
        if key == "manifest.json" and os.path.basename(os.path.abspath(folder or ".")) == ".wdstools":
            metadata, key = LocalStore(os.path.dirname(folder.rstrip("/")) or "."), MANIFEST_PATH
    else:
        metadata, key = open_store(where), MANIFEST_PATH
    try:
        data = get_whole(metadata, key, MAX_MANIFEST_BYTES)
    except NotFoundError as error:
        if error.code == "bucket-missing":
            raise
        _refuse_unfinished(metadata)
        far, shown = "://" in where, display(where)
        there = far or os.path.exists(where)
        hint = f"wdstools scan {quote(shown)}    shows what is there; wdstools verify also takes a single shard"
        if far:
            hint = f"give the folder that holds .wdstools/; for tars made by another tool: wdstools adopt {quote(shown)} -o NEW"
        raise NotFoundError(
            "no dataset here" if there else "no such file or folder",
            code="dataset-missing",
            where=shown,
            expected=f"a folder with {MANIFEST_PATH}",
            hint=hint if there else "",
        ) from None
    found = _required_root(data, chosen["root"], metadata)
    manifest = loads(data, where=f"{metadata.url}/{key}")
    given = chosen["at"] is not None and isinstance(metadata, LocalStore)
    at = os.fspath(chosen["at"]) if chosen["at"] else None
    if at is None and manifest.profile == "foreign":
        at = adopted_from(metadata, where)
    shards = open_store(at) if at else metadata
    anchored = chosen["root"] is not None or (given and not _is_one_place(shards, metadata))
    cache = None if chosen["cache"] is None else path_here(chosen["cache"], option("cache"))
    if cache is not None and not isinstance(shards, LocalStore):
        shards = Caching(remote(shards), cache, found, limit_bytes=chosen["cache_bytes"])
    mirrors = tuple(ReadOnly(open_remote(os.fspath(mirror))) for mirror in chosen["mirrors"])
    tell("dataset", "opened", manifest=f"{metadata.url}/{key}", shards=shards.url, root=found, version=manifest.version)
    return Dataset(manifest, found, metadata, shards, key, mirrors, anchored=anchored)


def _is_one_place(one: Store, other: Store) -> bool:
    """Whether two stores are the same place, even if spelled differently."""
    if isinstance(one, LocalStore) and isinstance(other, LocalStore):
        return os.path.realpath(one.path) == os.path.realpath(other.path)
    return one.url.rstrip("/") == other.url.rstrip("/")


def _required_root(manifest: bytes, root: str | None, metadata: Store) -> str:
    """The root digest of a manifest's bytes; raises IntegrityError (``root-differs``) if it is not ``root``."""
    found = sha256_hex(manifest)
    if root is not None and (wanted := parse_root(root)) != found:
        raise root_differs(metadata.url, wanted, found)
    return found


def root_differs(where: str, wanted: str, found: str) -> IntegrityError:
    """The error for a dataset that does not have the given root digest."""
    return IntegrityError(
        "this is another dataset, or its manifest is damaged",
        code="root-differs",
        where=where,
        expected=wanted,
        got=found,
    )


def adopted_from(metadata: Store, where: str) -> str | None:
    """Where the tars of a foreign dataset are, if not next to its manifest. No digest covers this; the tars are checked anyway.

    The maker of the dataset wrote it, and may be a stranger: a folder or server that this user has not confirmed is not
    accessed. Raises UsageError (``location-unconfirmed``).
    """
    try:
        found = json.loads(get_whole(metadata, LOCATION_PATH, _MAX_LOCATION_BYTES))
    except (NotFoundError, ValueError, RecursionError):
        return None
    at = found.get("shards") if isinstance(found, dict) else None
    if not isinstance(at, str) or at == metadata.url:
        return None
    if isinstance(metadata, LocalStore) and (_is_beside(at, metadata) or is_confirmed(metadata.path, at)):
        return at
    shown = display(at)
    raise UsageError(
        "this dataset names another place for its tars, which is not read until you confirm it",
        code="location-unconfirmed",
        where=display(where),
        got=shown,
        hint=f"{option('at', shown)}    reads them there, if you trust that place; or inspect them yourself: wdstools adopt {quote(shown)} -o NEW",
    )


def _is_beside(at: str, metadata: LocalStore) -> bool:
    """Whether a place is the folder that the manifest is in."""
    return "://" not in at and os.path.isabs(at) and os.path.realpath(at) == os.path.realpath(metadata.path)
