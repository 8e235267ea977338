"""Check that everything stored for a set in an object store is still there before the list names it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.columns.waiting import waiting_for
from wdstools.errors import NotFoundError
from wdstools.formats.columns import waiting_path
from wdstools.ops.columns.moving import busy
from wdstools.ops.columns.ours import in_place
from wdstools.stores.reading import sha256_there

if TYPE_CHECKING:
    from collections.abc import Collection

    from wdstools.formats.columns import ColumnSet
    from wdstools.stores.base import RemoteStore
    from wdstools.stores.local import LocalStore


@dataclass(slots=True)
class Landing:
    """A set that is being stored. ``new`` are its new files, ``here`` those of them that are in ``made``."""

    store: RemoteStore
    columns: ColumnSet
    new: frozenset[str]
    here: frozenset[str]
    made: LocalStore
    #: The known sizes of files, in bytes: of those ``here``, and of those that stay in place.
    sizes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        kept = self.columns.files().keys() - self.new
        there = in_place(self.store, self.columns.name) if kept else {}
        self.sizes = {path: there[path] for path in kept if path in there}
        self.sizes |= {path: os.path.getsize(self.made.locate(path)) for path in self.here}

    def require_there(self, waits: Collection[str], notes: Collection[str] = ()) -> None:
        """Raise BusyError if a file that was stored, or was there before, is gone or different, or a note is gone.

        ``waits``: new files that are not in place yet.
        """
        digests, there = self.columns.files(), in_place(self.store, self.columns.name)
        waiting = set(waiting_for(self.store, self.columns.name)) if waits or notes else set()
        for note in notes:
            if note not in waiting:
                self._look(note, None)
        for path in sorted(self.new | self.sizes.keys()):
            if path in waits:
                if waiting_path(path, digests[path]) not in waiting:
                    self._look_for_waiting(path, digests[path])
            elif path not in there or self.sizes.get(path) not in (None, there[path]):
                self._look(path, self.sizes.get(path))

    def _look(self, key: str, size: int | None) -> None:
        """Check the object itself: a store's listing may lag."""
        try:
            there = self.store.head(key).bytes
        except NotFoundError:
            raise busy(self.store) from None
        if size not in (None, there):
            raise busy(self.store)

    def _look_for_waiting(self, path: str, digest: str) -> None:
        """Look in its place, too: once the list names it, any process may move it there."""
        if sha256_there(self.store, path) != digest:
            self._look(waiting_path(path, digest), None)
