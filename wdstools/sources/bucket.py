"""Sources in object stores: the objects under a prefix as a tree of files, and a reader that requests several at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from wdstools.errors import NotFoundError, SourceChangedError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.tar_names import encoding_of
from wdstools.sources.base import DamagedEntryError, NeedSpaceError
from wdstools.sources.beside_tars import beside_walked
from wdstools.sources.bucket_listing import ENTRY, digest_of_etag
from wdstools.sources.readers import place_of_entry
from wdstools.sources.shards import ShardsSource, tar_of
from wdstools.sources.tree import ArchiveTree, Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wdstools.sources.base import SourceOpener
    from wdstools.sources.beside_tars import BesideTars
    from wdstools.sources.bucket_listing import BucketListing
    from wdstools.stores.base import RemoteStore, Store

#: How many files are requested at once; how many files, and how many bytes, are read ahead.
_AT_ONCE = 16
_AHEAD_FILES, _AHEAD_BYTES = 64, 64 << 20


class BucketTree(ArchiveTree):
    """The objects of a listing as files in folders; for each folder it knows where the listing has its files."""

    by_entry = False

    def __init__(self, listing: BucketListing) -> None:
        super().__init__(listing.store.url)
        self._listing = listing
        self._runs: dict[str, list[tuple[int, int]]] = {}
        self._latest: tuple[str, Folder] | None = None
        for key, _, begin, end in listing.records():
            parts = self._parts(key)
            if parts is None:
                continue
            name = "/".join(parts[:-1])
            self._folder(name)
            runs = self._runs.setdefault(name, [])
            start = runs.pop()[0] if runs and runs[-1][1] == begin else begin
            runs.append((start, end))
        if not listing.count:
            raise NotFoundError("there are no objects under this prefix", where=self.path)

    def list(self, folder: str) -> Folder | None:
        """The contents of a folder; those of the last one are cached."""
        packed = self._folders.get(folder)
        if packed is None:
            return None
        if self._latest is None or self._latest[0] != folder:
            entries: dict[str, bytes] = {}
            for run in self._runs.get(folder, ()):
                entries |= {key.rpartition("/")[2]: entry for key, entry, _, _ in self._listing.records(*run)}
            files = sorted(entries)
            held = Folder(sorted(packed.folders), files, [entries[name] for name in files], packed.hidden)
            self._latest = folder, held
        return self._latest[1]

    def close(self) -> None:
        """Forget the files."""
        super().close()
        self._runs.clear()
        self._latest = None

    @property
    def opener(self) -> SourceOpener:
        """Reads objects by their keys."""
        return BucketOpener(self._listing.store)


@dataclass(frozen=True, slots=True)
class BucketOpener:
    """Reads the objects of a store as files."""

    travels_once: ClassVar[bool] = True

    store: RemoteStore

    def open(self) -> BucketReader:
        """A reader."""
        return BucketReader(self.store)


class ReadsAhead(ABC):
    """A reader that requests announced files before they are needed, several at once."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._coming: Iterator[tuple[str, bytes | None]] = iter(())
        self._asked: deque[tuple[tuple[str, bytes | None], Future[bytes]]] = deque()
        self._held = 0

    @abstractmethod
    def _get(self, path: str, entry: bytes | None) -> bytes:
        """A whole file, from the store."""

    @abstractmethod
    def _size(self, entry: bytes | None) -> int:
        """The size that was listed."""

    @abstractmethod
    def _version(self, path: str, entry: bytes | None) -> int:
        """A number for the version, in place of the modification time."""

    def expect(self, files: Iterable[tuple[str, bytes | None]]) -> None:
        """Announce files to be read, in this order; some of them may be skipped."""
        self._threads = self._threads or ThreadPoolExecutor(_AT_ONCE)
        self._coming = iter(files)
        self._ask()

    def _ask(self) -> None:
        """Request the next files, as many as may be held."""
        assert self._threads is not None
        while len(self._asked) < _AHEAD_FILES and self._held < _AHEAD_BYTES:
            wanted = next(self._coming, None)
            if wanted is None:
                return
            self._held += self._size(wanted[1])
            self._asked.append((wanted, self._threads.submit(self._get, *wanted)))

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        """See SourceReader."""
        size = self._size(entry)
        if size > len(view):
            raise NeedSpaceError(size)
        data = self._taken(path, entry)
        view[: len(data)] = data
        return len(data), self._version(path, entry)

    def _taken(self, path: str, entry: bytes | None) -> bytes:
        """A file that was already requested, else from the store; those before it are dropped."""
        if all(wanted != (path, entry) for wanted, _ in self._asked):
            return self._get(path, entry)
        while True:
            wanted, future = self._asked.popleft()
            self._held -= self._size(wanted[1])
            if wanted == (path, entry):
                break
            future.cancel()
        data = future.result()
        self._ask()
        return data

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        """See SourceReader: as it was listed."""
        return self._size(entry), self._version(path, entry)

    def close(self) -> None:
        """Cancel outstanding requests."""
        for _, future in self._asked:
            future.cancel()
        self._asked.clear()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)


class BucketReader(ReadsAhead):
    """Reads whole objects."""

    def __init__(self, store: RemoteStore) -> None:
        super().__init__()
        self._store = store

    def _get(self, path: str, entry: bytes | None) -> bytes:
        body = self._store.open_body(path)
        where = f"{self._store.url}/{path}"
        if entry is not None:
            _require_version(where, body.etag, entry)
        if body.end != _size(entry):
            raise changed_source(where)
        return b"".join(body.blocks)

    def _size(self, entry: bytes | None) -> int:
        return _size(entry)

    def _version(self, path: str, entry: bytes | None) -> int:
        del path
        return _version(entry)


def changed_source(where: str) -> SourceChangedError:
    """The error for an object that changed after it was listed."""
    return SourceChangedError(
        "the object changed after it was listed",
        where=where,
        hint="stop whatever writes to the source, then pack again",
    )


def _require_version(where: str, etag: str, entry: bytes) -> None:
    if etag and digest_of_etag(etag) != _version(entry):
        raise changed_source(where)


def _size(entry: bytes | None) -> int:
    return 0 if entry is None else int(ENTRY.unpack(entry)[2])


def _version(entry: bytes | None) -> int:
    return 0 if entry is None else int(ENTRY.unpack(entry)[0])


class BucketShards(ShardsSource):
    """Plain tars under a prefix, in WebDataset form, or a single one by its name. ``found`` are the objects and their entries."""

    def __init__(self, store: RemoteStore, found: Mapping[str, bytes], **choices: Any) -> None:
        super().__init__(store.url, **choices)
        self._store = store
        self._found = found

    def _place(self) -> tuple[str, Store, Sequence[str]]:
        return self.path, self._store, tars_of(self._found)

    def _opener(self, root: str) -> SourceOpener:
        del root
        return RangesOpener(
            self._store, tuple(self._found[tar] for tar in tars_of(self._found)), tuple(tars_of(self._found))
        )

    def _beside(self, root: str) -> BesideTars:
        del root
        folders: dict[str, list[str]] = {}
        hidden: Counter[str] = Counter()
        for key in self._found:
            parts = key.split("/")
            dotted = next((at for at, part in enumerate(parts[:-1]) if part.startswith(".")), None)
            if dotted is not None:
                hidden["/".join(parts[:dotted])] += 1
            else:
                folders.setdefault("/".join(parts[:-1]), []).append(parts[-1])
        walked = [(folder, folders.get(folder, []), hidden[folder]) for folder in sorted({*folders, *hidden})]
        return beside_walked(walked, self._ignore, own=MANIFEST_PATH in self._found, is_file=lambda _: True)


def tars_of(keys: Iterable[str]) -> list[str]:
    """The tars among some keys, in order, without hidden ones."""
    return [key for key in sorted(keys) if encoding_of(key) and not any(p.startswith(".") for p in key.split("/"))]


@dataclass(frozen=True, slots=True)
class RangesOpener:
    """Reads members of remote tars, by ``TAR/...`` path; ``versions`` has the listed version of each tar."""

    travels_once: ClassVar[bool] = True

    store: RemoteStore
    versions: tuple[bytes, ...]
    tars: tuple[str, ...]

    def open(self) -> RangesReader:
        """A reader."""
        return RangesReader(self.store, dict(zip(self.tars, self.versions, strict=True)))


class RangesReader(ReadsAhead):
    """Reads members by ranges, several at once; each tar must still have its listed version."""

    def __init__(self, store: RemoteStore, versions: Mapping[str, bytes]) -> None:
        super().__init__()
        self._store = store
        self._versions = versions

    def _tar(self, path: str) -> str:
        return tar_of(path, self._versions.__contains__)

    def _get(self, path: str, entry: bytes | None) -> bytes:
        tar = self._tar(path)
        offset, size = (0, 0) if entry is None else place_of_entry(entry)
        body = self._store.open_body(tar, offset, size)
        _require_version(f"{self._store.url}/{tar}", body.etag, self._versions[tar])
        data = b"".join(body.blocks)
        if len(data) != size:
            raise DamagedEntryError("source-damaged", f"the archive ends inside {path}")
        return data

    def _size(self, entry: bytes | None) -> int:
        return 0 if entry is None else place_of_entry(entry)[1]

    def _version(self, path: str, entry: bytes | None) -> int:
        del entry
        return _version(self._versions[self._tar(path)])
