"""A store in memory that counts what is read from it, and returns wrong bytes on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.dataset import Dataset
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, loads
from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class BadStore(MemoryStore):
    """Everything below a folder. ``wrong`` maps a key to the number of its reads that return one flipped bit."""

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__()
        self.wrong: dict[str, int] = {}
        self.reads: list[tuple[str, int, int]] = []
        self.puts: list[str] = []
        self.deletes: list[str] = []
        self.before: Callable[[str], None] = lambda _: None
        if folder is not None:
            self.fill(folder)

    def fill(self, folder: Path) -> None:
        """Hold exactly what lies below a folder."""
        self._objects.clear()
        store = LocalStore(folder)
        for info in store.list():
            MemoryStore.put(self, info.key, store.get(info.key))

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes, counted, and wrong as often as requested."""
        self.before(key)
        data = super().get(key, start, length)
        self.reads.append((key, start, len(data)))
        if self.wrong.get(key, 0) > 0 and data:
            self.wrong[key] -= 1
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store an object, and note it."""
        self.before(f"put {key}")
        self.puts.append(key)
        super().put(key, data)

    def create(self, key: str, data: bytes) -> None:
        """Store a new object, and note it."""
        self.before(f"put {key}")
        super().create(key, data)
        self.puts.append(key)

    def delete(self, key: str) -> None:
        """Remove an object, and note it."""
        self.deletes.append(key)
        super().delete(key)

    def read_bytes(self, *, suffix: str = ".tar") -> int:
        """How many bytes were read from objects whose keys have this suffix."""
        return sum(length for key, _, length in self.reads if key.endswith(suffix))

    def flip(self, key: str, at: int) -> None:
        """Rot: one bit of an object, for good."""
        data = self._objects[key]
        self._objects[key] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    @property
    def objects(self) -> dict[str, bytes]:
        """What is stored, by key."""
        return self._objects

    @property
    def dataset(self) -> Dataset:
        """The dataset in it."""
        data = self._objects[MANIFEST_PATH]
        return Dataset(loads(data), sha256_hex(data), self, self)
