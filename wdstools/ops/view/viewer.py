"""A dataset opened for looking: answers of plain values to everything that its page asks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from wdstools.address import display
from wdstools.errors import UsageError, WdsError
from wdstools.executors.open import open_executor
from wdstools.formats.arrow import to_array
from wdstools.ops.ls import EVERYTHING, ChosenRows
from wdstools.ops.stats import Tallies, result_of, tally_rows
from wdstools.ops.verify import verify
from wdstools.ops.view.catalogue import Catalogue
from wdstools.ops.view.damage import Checked, Damage
from wdstools.ops.view.groups import LEVELS, GroupSearch
from wdstools.ops.view.matches import Found, Matches, Unread, in_order
from wdstools.ops.view.pictures import Thumbnails
from wdstools.ops.view.samples import Address, Samples
from wdstools.results import Proved, proof, to_dict
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.ops.view.filters import Filters
    from wdstools.options.check import VerifyLevel
    from wdstools.reader.select import Selection

_SEARCHES, _COUNTS = 6, 4
_MOST_AT_ONCE = 500
_FINDINGS_SHOWN = 200
CHECK_LEVELS: tuple[VerifyLevel, ...] = ("size", "digest", "samples", "decode")


class _Search(Protocol):
    def wait(self, wanted: int, seconds: float) -> Found:
        """What is found so far."""

    def stop(self) -> None:
        """Look no further."""


class _Straight:
    """All samples of shards that lie one behind the other: nothing has to be read to number them."""

    def __init__(self, numbers: range, shards: int) -> None:
        self._found = Found(numbers, shards, shards, finished=True)

    def wait(self, wanted: int, seconds: float) -> Found:  # noqa: ARG002
        return self._found

    def stop(self) -> None:
        pass


class Viewer:
    """A dataset for looking at. ``selection`` bounds everything that is shown."""

    def __init__(self, dataset: Dataset, address: Address, selection: Selection = EVERYTHING) -> None:
        selection.check(dataset)
        self.dataset = dataset
        self.selection = selection
        self.address = address
        self.catalogue = Catalogue(dataset)
        self.samples = Samples(self.catalogue)
        self.thumbnails = Thumbnails(self.samples.picture_anyhow)
        self.groups = GroupSearch(self.catalogue)
        self.check = _Check(dataset)
        self._searches: OrderedDict[Filters, _Search] = OrderedDict()
        self._counts: OrderedDict[Filters, _Counting] = OrderedDict()
        self._lock = threading.Lock()

    def about(self) -> dict[str, Any]:
        """What the page says above everything else."""
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
            "chosen": not self.selection.is_everything,
            "where": where.text if where else "",
            "levels": LEVELS,
            "check_levels": CHECK_LEVELS,
            "local": isinstance(self.dataset.shards, LocalStore),
            "check": self.check.document(),
            "proof": proof(self.dataset.proved_by_samples)["proof"],
        }

    def page(self, filters: Filters, start: int, count: int, seconds: float) -> dict[str, Any]:
        """Samples ``start`` to ``start + count`` of those that are shown, and how many there are as far as is known."""
        if start < 0 or not 0 <= count <= _MOST_AT_ONCE:
            raise UsageError("out of range", where="count", expected=f"0 to {_MOST_AT_ONCE}", got=f"{start}, {count}")
        if filters.same and (waiting := self._waiting_for_groups(filters)):
            return waiting
        found = self._search(filters).wait(start + count, seconds)
        numbers = self._ordered(filters, found)[start : start + count]
        document = _progress(found) | {"total": len(found.numbers), "start": start}
        return document | {"samples": [self._marked(line, filters) for line in self.samples.lines(map(int, numbers))]}

    def sample(self, number: int) -> dict[str, Any]:
        """Everything about one sample, with what a check found of it."""
        place = self.catalogue.place(number)
        path = self.catalogue.shards[place.shard][1].path
        findings = self.check.damage.of_row(path, place.row, self.catalogue.table(place.shard))
        details = self.samples.details(number, self.address)
        return details | {"findings": [{**to_dict(one), "text": str(one)} for one in findings]}

    def alike(self, number: int, level: str) -> dict[str, Any]:
        """The samples that are the same as one at a level, itself among them; or how far the search for groups is."""
        if level not in LEVELS:
            raise UsageError("no such level", expected=", ".join(LEVELS), got=level[:40])
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
        """Statistics of the samples that are shown, as far as they are counted."""
        if filters.same and (waiting := self._waiting_for_groups(filters)):
            return waiting
        with self._lock:
            counting = self._counts.get(filters)
            if counting is None:
                counting = self._counts[filters] = _Counting(self, filters)
            self._counts.move_to_end(filters)
            while len(self._counts) > _COUNTS:
                self._counts.popitem(last=False)[1].stopped = True
        return counting.document(seconds)

    def start_check(self, level: str) -> dict[str, Any]:
        """Begin to verify, if no check is at work; what it finds is shown when it is done."""
        if level not in CHECK_LEVELS:
            raise UsageError("no such level", expected=", ".join(CHECK_LEVELS), got=level[:40])
        self.check.start(level, self.checked)
        return self.check.document()

    def checked(self, checked: Checked) -> None:
        """Show what a check found."""
        self.check.show(checked)
        with self._lock:
            for filters in [one for one in self._searches if one.damaged]:
                self._searches.pop(filters).stop()
            for filters in [one for one in self._counts if one.damaged]:
                self._counts.pop(filters).stopped = True

    def mask(self, filters: Filters, shard: int) -> NDArray[np.bool_]:
        """Which samples of a shard are shown."""
        split, entry = self.catalogue.shards[shard]
        table = self.catalogue.table(shard, source=filters.needs_source(self.selection))
        mask = filters.mask(split, table, self.selection)
        if filters.damaged:
            mask = mask & self.check.damage.mask(entry.path, table)
        if filters.same:
            groups = self.groups.at(filters.same).group_of
            first = int(self.catalogue.starts[shard])
            mask = mask & (groups[first : first + len(mask)] >= 0) if groups is not None else np.zeros_like(mask)
        return mask

    def shards_for(self, filters: Filters) -> list[int]:
        """The shards that can hold any of the samples."""
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
        """The numbers in the order in which they are shown: those that are the same beside each other."""
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
        """A line of the gallery with what is known beside the index: damage, and its group."""
        number = line["number"]
        if "error" not in line and self.check.damage.of_shard:
            place = self.catalogue.place(number)
            path = self.catalogue.shards[place.shard][1].path
            line["damaged"] = bool(self.check.damage.mask(path, self.catalogue.table(place.shard))[place.row])
        if filters.same and (groups := self.groups.at(filters.same)).group_of is not None:
            line["group"] = int(groups.group_of[number])
            line["alike"] = len(groups.members[line["group"]]) if line["group"] >= 0 else 0
        return line


class _Counting:
    """Statistics made shard by shard, by a thread of their own."""

    def __init__(self, viewer: Viewer, filters: Filters) -> None:
        self.stopped = False
        self._viewer, self._filters = viewer, filters
        self._shards = viewer.shards_for(filters)
        self._found = Tallies()
        self._scanned = 0
        self._ended = False
        self._unread: list[Unread] = []
        self._news = threading.Condition()
        threading.Thread(target=self._run, name="wdstools-view-counts", daemon=True).start()

    def document(self, seconds: float) -> dict[str, Any]:
        """What is counted by now, or after ``seconds`` if it is not all."""
        with self._news:
            self._news.wait_for(lambda: self._ended, seconds)
            numbers = np.zeros(0, np.int64)
            found = Found(numbers, self._scanned, len(self._shards), self._ended, tuple(self._unread))
            progress = _progress(found)
            where = self._filters.where
            return progress | {"stats": to_dict(result_of(self._viewer.dataset, self._found, where, Proved.ACCIDENT))}

    def _run(self) -> None:
        catalogue = self._viewer.catalogue
        try:
            for _, found, unread in in_order(catalogue, self._shards, self._count, lambda: self.stopped):
                with self._news:
                    if found is not None:
                        self._found.add(found)
                    if unread is not None:
                        self._unread.append(unread)
                    self._scanned += 1
                    self._news.notify_all()
        finally:
            with self._news:
                self._ended = True
                self._news.notify_all()

    def _count(self, shard: int) -> Tallies:
        import pyarrow as pa

        split, entry = self._viewer.catalogue.shards[shard]
        rows = np.flatnonzero(self._viewer.mask(self._filters, shard)).astype(np.int64)
        index = self._viewer.catalogue.index(shard)
        table = index if len(rows) == index.num_rows else index.take(to_array(rows, pa.int64()))
        return tally_rows(ChosenRows(split, entry, table, rows))


class _Check:
    """The check whose findings are shown, and the one that is at work."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._lock = threading.Lock()
        self._checked: Checked | None = None
        self._state, self._message = "none", ""
        self._done = self._total = 0
        self._unit = ""
        self.damage = Damage(dataset, ())

    def show(self, checked: Checked) -> None:
        """Take over the findings of a check."""
        self.damage = Damage(self._dataset, checked.findings)
        self._checked, self._state = checked, "done"

    def start(self, level: str, done: Any) -> None:
        """Begin a check, if none is at work."""
        with self._lock:
            if self._state == "working":
                return
            self._state, self._message, self._done, self._total = "working", "", 0, 0
        threading.Thread(target=self._run, args=(level, done), name="wdstools-view-check", daemon=True).start()

    def _run(self, level: VerifyLevel, done: Any) -> None:
        executor = open_executor("threads", 2)
        try:
            report = verify(self._dataset, level=level, executor=executor, progress=_Told(self))
            done(Checked(report.level, report.findings, ""))
        except WdsError as error:
            self._state, self._message = "failed", error.message
        finally:
            executor.close()

    def told(self, total: int, unit: str) -> None:
        """A check says how much there is to do."""
        self._done, self._total, self._unit = 0, total, unit

    def advanced(self, count: int) -> None:
        """A check says how much more is done."""
        with self._lock:
            self._done += count

    def document(self) -> dict[str, Any]:
        """How far the check is, or what it found."""
        checked = self._checked
        findings = checked.findings if checked is not None else ()
        return {
            "state": self._state,
            "message": self._message,
            "done": self._done,
            "total": self._total,
            "unit": self._unit,
            "level": "" if checked is None else checked.level,
            "source": "" if checked is None else display(checked.source),
            "findings": len(findings),
            "elsewhere": [{**to_dict(one), "text": str(one)} for one in self.damage.elsewhere[:_FINDINGS_SHOWN]],
        }


class _Told:
    """Progress of a check, told to the page."""

    def __init__(self, check: _Check) -> None:
        self._check = check

    def start(self, task: str, total: int, unit: str) -> None:  # noqa: ARG002
        """A task begins."""
        self._check.told(total, unit)

    def advance(self, count: int) -> None:
        """Some more is done."""
        self._check.advanced(count)

    def finish(self) -> None:
        """The task is over."""


def _progress(found: Found) -> dict[str, Any]:
    return {
        "finished": found.finished,
        "scanned": found.scanned,
        "shards": found.shards,
        "unread": [to_dict(one) for one in found.unread],
    }
