"""A dataset opened for viewing: answers every request of its page with plain values."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from wdstools.address import display
from wdstools.columns.sets import fields_of
from wdstools.columns.values import with_columns
from wdstools.dedup.levels import LEVEL_NAMES
from wdstools.errors import UsageError, WdsError
from wdstools.ops.ls import EVERYTHING
from wdstools.ops.view.catalogue import Catalogue
from wdstools.ops.view.checking import Check
from wdstools.ops.view.counting import Counting
from wdstools.ops.view.groups import GroupSearch
from wdstools.ops.view.matches import Found, Matches, progress_of
from wdstools.ops.view.pictures import Thumbnails
from wdstools.ops.view.samples import Address, Samples
from wdstools.results import in_json, proof, to_dict
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.ops.view.catalogue import Place
    from wdstools.ops.view.damage import Checked
    from wdstools.ops.view.filters import Filters
    from wdstools.options.check import VerifyLevel
    from wdstools.reader.select import Selection

_SEARCHES, _COUNTS = 6, 4
_MOST_AT_ONCE = 500
#: How many numbers of a list in a column are shown.
_NUMBERS = 16
CHECK_LEVELS: tuple[VerifyLevel, ...] = ("size", "digest", "samples", "decode")


class _Search(Protocol):
    def wait(self, wanted: int, seconds: float) -> Found:
        """What has been found so far."""

    def stop(self) -> None:
        """Stop searching."""


class _Straight:
    """All samples of consecutive shards: nothing has to be read to number them."""

    def __init__(self, numbers: range, shards: int) -> None:
        self._found = Found(numbers, shards, shards, finished=True)

    def wait(self, wanted: int, seconds: float) -> Found:  # noqa: ARG002
        return self._found

    def stop(self) -> None:
        pass


class Viewer:
    """A dataset to view. ``selection`` limits everything that is shown."""

    def __init__(self, dataset: Dataset, address: Address, selection: Selection = EVERYTHING) -> None:
        selection.check(dataset)
        self.dataset = dataset
        self.selection = selection
        self.address = address
        self.catalogue = Catalogue(dataset)
        self.samples = Samples(self.catalogue)
        self.thumbnails = Thumbnails(self.samples.picture_anyhow)
        self.groups = GroupSearch(self.catalogue)
        self.check = Check(dataset)
        self._searches: OrderedDict[Filters, _Search] = OrderedDict()
        self._counts: OrderedDict[Filters, Counting] = OrderedDict()
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What the page shows at the top."""
        manifest = self.dataset.manifest
        where = self.selection.where
        return {
            "name": self.dataset.name,
            "version": manifest.version,
            "root": self.dataset.root,
            "profile": manifest.profile,
            "at": display(self.dataset.shards.url),
            "totals": manifest.totals,
            "members": manifest.members,
            "labels": manifest.labels,
            "splits": [
                {"name": name, "samples": sum(entry.samples for entry in shards), "shards": len(shards)}
                for name, shards in manifest.splits.items()
                if self.selection.splits is None or name in self.selection.splits
            ],
            "columns": self._fields(),
            "chosen": not self.selection.is_everything,
            "where": where.text if where else "",
            "levels": LEVEL_NAMES,
            "check_levels": CHECK_LEVELS,
            "local": isinstance(self.dataset.shards, LocalStore),
            "check": self.check.document(),
            "proof": proof(self.dataset.proved_by_samples)["proof"],
        }

    def _fields(self) -> list[str]:
        """The fields that conditions may name in addition to the index."""
        try:
            return list(fields_of(self.dataset))
        except WdsError:  # the list of sets cannot be read: conditions that name a field will say so
            return []

    def page(self, filters: Filters, start: int, count: int, seconds: float) -> dict[str, Any]:
        """Samples ``start`` to ``start + count`` of the matching ones, and their total as far as it is known."""
        if start < 0 or not 0 <= count <= _MOST_AT_ONCE:
            raise UsageError("out of range", where="count", expected=f"0 to {_MOST_AT_ONCE}", got=f"{start}, {count}")
        if filters.same and (waiting := self._waiting_for_groups(filters)):
            return waiting
        found = self._search(filters).wait(start + count, seconds)
        numbers = self._ordered(filters, found)[start : start + count]
        document = progress_of(found) | {"total": len(found.numbers), "start": start}
        return document | {"samples": [self._marked(line, filters) for line in self.samples.lines(map(int, numbers))]}

    def sample(self, number: int) -> dict[str, Any]:
        """Everything about one sample, with the findings about it."""
        place = self.catalogue.place(number)
        path = self.catalogue.shards[place.shard][1].path
        findings = self.check.damage.of_row(path, place.row, self.catalogue.table(place.shard))
        details = self.samples.details(number, self.address) | self._added(place)
        return details | {"findings": [{**to_dict(one), "text": str(one)} for one in findings]}

    def _added(self, place: Place) -> dict[str, Any]:
        """The values of a sample in added columns (of a list, the first numbers); or why they cannot be read."""
        try:
            fields = fields_of(self.dataset)
            entry = self.catalogue.shards[place.shard][1]
            table = with_columns(self.dataset, entry, self.catalogue.table(place.shard).select(["key"]), fields)
        except WdsError as error:
            return {"columns": [], "columns_error": str(error)}
        row = table.slice(place.row, 1).to_pylist()[0]
        values = {name: row[name][:_NUMBERS] if isinstance(row[name], list) else row[name] for name in fields}
        return {
            "columns": [
                {"name": name, "type": fields[name].kind, "value": in_json(value)} for name, value in values.items()
            ]
        }

    def alike(self, number: int, level: str) -> dict[str, Any]:
        """The duplicates of a sample at a level, including itself; or the state of the search for groups."""
        if level not in LEVEL_NAMES:
            raise UsageError("no such level", expected=", ".join(LEVEL_NAMES), got=level[:40])
        self.catalogue.place(number)
        groups = self.groups.at(level)
        document: dict[str, Any] = {
            "state": groups.state,
            "message": groups.message,
            "hint": groups.hint,
            "level": level,
        }
        if groups.state != "ready" or groups.group_of is None:
            return document
        group = int(groups.group_of[number])
        members = groups.members[group] if group >= 0 else ()
        shown = list(self.samples.lines(members[:_MOST_AT_ONCE]))
        return document | {"group": group, "size": len(members), "samples": shown}

    def counts(self, filters: Filters, seconds: float) -> dict[str, Any]:
        """Statistics of the matching samples, as far as they have been counted."""
        if filters.same and (waiting := self._waiting_for_groups(filters)):
            return waiting
        with self._lock:
            counting = self._counts.get(filters)
            if counting is None:
                filters.check(self.dataset)
                shards, where = self.shards_for(filters), filters.where
                counting = Counting(self.catalogue, shards, lambda shard: self.mask(filters, shard), where)
                self._counts[filters] = counting
            self._counts.move_to_end(filters)
            while len(self._counts) > _COUNTS:
                self._counts.popitem(last=False)[1].stopped = True
        return counting.document(seconds)

    def start_check(self, level: str) -> dict[str, Any]:
        """Start to verify, unless a check is running; its findings are shown when it is done."""
        chosen = next((one for one in CHECK_LEVELS if one == level), None)
        if chosen is None:
            raise UsageError("no such level", expected=", ".join(CHECK_LEVELS), got=level[:40])
        self.check.start(chosen, self.checked)
        return self.check.document()

    def checked(self, checked: Checked) -> None:
        """Show the findings of a check."""
        self.check.show(checked)
        with self._lock:
            for filters in [one for one in self._searches if one.damaged]:
                self._searches.pop(filters).stop()
            for filters in [one for one in self._counts if one.damaged]:
                self._counts.pop(filters).stopped = True

    def mask(self, filters: Filters, shard: int) -> NDArray[np.bool_]:
        """Which samples of a shard to show."""
        split, entry = self.catalogue.shards[shard]
        table = self.catalogue.table(shard, source=filters.needs_source(self.selection))
        table = with_columns(self.dataset, entry, table, filters.added(self.selection))
        mask = filters.mask(split, table, self.selection)
        if filters.damaged:
            mask = mask & self.check.damage.mask(entry.path, table)
        if filters.same:
            groups = self.groups.at(filters.same).group_of
            first = int(self.catalogue.starts[shard])
            mask = mask & (groups[first : first + len(mask)] >= 0) if groups is not None else np.zeros_like(mask)
        return mask

    def shards_for(self, filters: Filters) -> list[int]:
        """The shards that can have matching samples."""
        splits = [
            split
            for split in self.dataset.manifest.splits
            if (not filters.splits or split in filters.splits)
            and (self.selection.splits is None or split in self.selection.splits)
        ]
        damaged = self.check.damage.of_shard
        return [
            number
            for number, (split, entry) in enumerate(self.catalogue.shards)
            if split in splits and (not filters.damaged or entry.path in damaged)
        ]

    def _search(self, filters: Filters) -> _Search:
        with self._lock:
            search = self._searches.get(filters)
            if search is None:
                filters.check(self.dataset)
                search = self._searches[filters] = self._begin(filters)
            self._searches.move_to_end(filters)
            while len(self._searches) > _SEARCHES:
                self._searches.popitem(last=False)[1].stop()
        return search

    def _begin(self, filters: Filters) -> _Search:
        shards = self.shards_for(filters)
        plain = replace(self.selection, splits=None).is_everything and not filters.needs_rows
        if plain and shards == [*range(shards[0], shards[-1] + 1)] if shards else plain:
            if not shards:
                return _Straight(range(0), 0)
            last = shards[-1]
            end = int(self.catalogue.starts[last]) + self.catalogue.shards[last][1].samples
            return _Straight(range(int(self.catalogue.starts[shards[0]]), end), len(shards))
        return Matches(self.catalogue, shards, lambda shard: self.mask(filters, shard))

    def _ordered(self, filters: Filters, found: Found) -> Sequence[int] | NDArray[np.int64]:
        """The numbers in the order of display: duplicates next to each other."""
        groups = self.groups.at(filters.same).group_of if filters.same else None
        numbers = np.asarray(found.numbers, np.int64) if groups is not None else found.numbers
        return numbers if groups is None else np.asarray(numbers)[np.argsort(groups[numbers], kind="stable")]

    def _waiting_for_groups(self, filters: Filters) -> dict[str, Any] | None:
        groups = self.groups.at(filters.same)
        if groups.state == "ready":
            return None
        state = {"state": groups.state, "message": groups.message, "hint": groups.hint}
        return {
            "total": 0,
            "start": 0,
            "samples": [],
            "finished": groups.state != "working",
            "scanned": 0,
            "shards": 0,
            "unread": [],
            "groups": state,
        }

    def _marked(self, line: dict[str, Any], filters: Filters) -> dict[str, Any]:
        """An entry of the gallery, with what is not in the index: damage, and its group."""
        number = line["number"]
        if "error" not in line and self.check.damage.of_shard:
            place = self.catalogue.place(number)
            path = self.catalogue.shards[place.shard][1].path
            line["damaged"] = bool(self.check.damage.mask(path, self.catalogue.table(place.shard))[place.row])
        if filters.same and (groups := self.groups.at(filters.same)).group_of is not None:
            line["group"] = int(groups.group_of[number])
            line["alike"] = len(groups.members[line["group"]]) if line["group"] >= 0 else 0
        return line
