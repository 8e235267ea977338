"""Groups of duplicates by level, found in the background from the hashes that ``duplicates`` has stored. Nothing is written."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING

import numpy as np

from wdstools.address import display
from wdstools.dedup.levels import EXACT
from wdstools.errors import WdsError
from wdstools.ops.duplicates import find_duplicates
from wdstools.reader.hashes import HashPlace, library_versions
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dedup.results import DuplicateGroups
    from wdstools.ops.view.catalogue import Catalogue


@dataclass(slots=True)
class Groups:
    """The groups of one level, or the state of the search: working, ready, missing (no hashes) or failed.

    ``group_of`` has the group of each sample, -1 if it has no duplicate; ``members`` the samples of each group.
    """

    level: str
    state: str = "working"
    message: str = ""
    hint: str = ""
    group_of: NDArray[np.int32] | None = None
    members: tuple[tuple[int, ...], ...] = ()


class GroupSearch:
    """The groups of a dataset by level; each level is searched once, when it is first asked for."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._levels: dict[str, Groups] = {}
        self._lock = threading.Lock()

    def at(self, level: str) -> Groups:
        """What is known about a level now; starts the search if there was none."""
        with self._lock:
            found = self._levels.get(level)
            if found is None:
                found = self._levels[level] = Groups(level)
                threading.Thread(target=self._run, args=(found,), name="wdstools-view-groups", daemon=True).start()
            return found

    def _run(self, groups: Groups) -> None:
        dataset = self._catalogue.dataset
        try:
            if groups.level != EXACT and not self._has_hashes():
                groups.message = "no hashes of these images computed by this user are stored with the dataset"
                groups.hint = f"wdstools duplicates {quote(display(dataset.metadata.url))} --level {groups.level}"
                groups.state = "missing"
                return
            self._take(groups, find_duplicates(dataset, level=groups.level))  # type: ignore[arg-type]  # one of LEVEL_NAMES
            groups.state = "ready"
        except WdsError as error:
            groups.message, groups.hint, groups.state = error.message, error.hint, "failed"

    def _has_hashes(self) -> bool:
        """Whether valid hashes of every shard are stored, so that the search computes none."""
        store = self._catalogue.dataset.metadata
        if not isinstance(store, LocalStore):
            return False
        place, versions = HashPlace(store), library_versions()
        believe = partial(place.believes, self._catalogue.dataset)
        shards = self._catalogue.shards
        return all(
            place.read(entry, ["unreadable"], versions, believe) is not None for _, entry in shards if entry.samples
        )

    def _take(self, groups: Groups, found: DuplicateGroups) -> None:
        group_of = np.full(self._catalogue.count, -1, np.int32)
        members = []
        for number, group in enumerate(found.groups):
            mine = tuple(self._number(member.shard, member.row) for member in group.members)
            group_of[list(mine)] = number
            members.append(mine)
        groups.members, groups.group_of = tuple(members), group_of

    def _number(self, path: str, row: int) -> int:
        shard = self._catalogue.shard_called(path)
        assert shard is not None
        return int(self._catalogue.starts[shard]) + row
