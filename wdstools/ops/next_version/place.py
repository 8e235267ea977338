"""Where the shards of a dataset's next version are written: below a folder, or under a prefix of an object store.

A place is a small value that is sent to the workers. For an object store a shard is made as ``pack`` makes it: in an
unnamed file.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any, ClassVar, Protocol

from wdstools.errors import FormatError, StoreError
from wdstools.formats.manifest import ShardEntry, index_path
from wdstools.stores.local import DurableFile, LocalStore, translated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.landing.homes import BucketHome
    from wdstools.stores.base import Store


class Sink(Protocol):
    """Takes bytes, block by block."""

    def write(self, block: memoryview) -> None:
        """Append a block of any length."""


class Making(Protocol):
    """A shard in the making, until it lands with its index."""

    def filling(self) -> contextlib.AbstractContextManager[Sink]:
        """The file to write to."""

    def land(self, line: dict[str, Any], index: bytes) -> Mapping[str, str]:
        """Land the shard and its index."""


class Place(Protocol):
    """Where shards go."""

    @property
    def store(self) -> Store:
        """The store, to read what is there."""

    @property
    def scratch(self) -> str | None:
        """The folder for temporary files; None for the system's."""

    def held(self, path: str) -> tuple[ShardEntry, str] | None:
        """A shard that an interrupted run of the same plan has finished, and the SHA-256 of its index."""

    def making(self, path: str) -> contextlib.AbstractContextManager[Making]:
        """Begin a shard."""


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder in which every file is made in its final place."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str

    @property
    def store(self) -> LocalStore:
        """The folder."""
        return LocalStore(self.path)

    @property
    def scratch(self) -> str | None:
        """The same folder, so the same disk."""
        return self.path

    def held(self, path: str) -> tuple[ShardEntry, str] | None:
        """None: what a killed run has made is thrown away."""
        del path
        return None

    @contextlib.contextmanager
    def making(self, path: str) -> Iterator[_FolderShard]:
        """Begin a shard under its own name."""
        yield _FolderShard(self.store, path)


@dataclass(frozen=True, slots=True)
class _FolderShard:
    store: LocalStore
    path: str

    def filling(self) -> DurableFile:
        """The file, which gets its name when the block ends without an error."""
        return DurableFile(self.store.locate(self.path))

    def land(self, line: dict[str, Any], index: bytes) -> Mapping[str, str]:
        """Write the index."""
        del line
        self.store.put(index_path(self.path), index)
        return {}


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """A claimed prefix."""

    home: BucketHome

    @property
    def store(self) -> Store:
        """The prefix."""
        return self.home.store

    @property
    def scratch(self) -> str | None:
        """None: the worker's temporary folder."""
        return None

    def held(self, path: str) -> tuple[ShardEntry, str] | None:
        """The shard as it was noted, if both objects are still there."""
        line = self.home.noted(path)
        try:
            if line is None or not self.home.vouches_for(path, line) or self.home.index_if_held(line) is None:
                return None  # anybody who can write there can write a note
            entry = ShardEntry(**line["entry"])
        except (StoreError, FormatError, LookupError, TypeError, ValueError, AttributeError):
            return None  # a note may have come from anywhere
        return (entry, str(line["index_sha256"])) if entry.path == path else None

    def making(self, path: str) -> contextlib.AbstractContextManager[Making]:
        """Begin a shard in an unnamed file."""
        return self.home.making(path)


def line_of(entry: ShardEntry, index_sha256: str) -> dict[str, Any]:
    """What is noted about a shard."""
    return {"entry": asdict(entry), "index_sha256": index_sha256}


class Passing:
    """An unnamed file: what is written to it can be read again by offset, until it is closed."""

    def __init__(self, folder: str | None) -> None:
        self._where = folder or tempfile.gettempdir()
        with translated(self._where):
            self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by close

    def write(self, block: memoryview) -> None:
        """Append a block."""
        with translated(self._where):
            self._file.write(block)

    def get(self, start: int, length: int) -> bytes:
        """Some of the bytes."""
        with translated(self._where):
            self._file.flush()
            return os.pread(self._file.fileno(), length, start)

    def close(self) -> None:
        """Close the file, which then is gone."""
        self._file.close()
