"""Check a large dataset in several runs, or resume a check that was killed: a report keeps what has been checked.

The report is outside the dataset, in the user's cache: JSON lines, append-only, so that a check may end at any moment and
several parts can be checked at once. It is bound to one root, and its entries to one level, digest and place.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

from wdstools.address import display
from wdstools.errors import FormatError, StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.stores.abilities import exclusive, sync_file
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, translated
from wdstools.stores.locks import is_at

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from wdstools.dataset import Dataset

_VERSION = 2
#: A report is rewritten once this many of its entries, and more than half of them, are out of date.
_MANY = 10_000
#: How often, and for how long each time, to wait while another part adds to the report; adding a line takes milliseconds.
_TURNS, _TURN_SECONDS = 3000, 0.01
#: How often to try after one such wait was in vain: the holder of the lock has died.
_HURRIED = 10
#: Size and modification time of a local file; None for files in other stores.
_Stamp = tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class ScrubOptions:
    """How much of a dataset one run checks. Times are in seconds; ``now`` gives them since 1970.

    Shards found whole less than ``max_age`` ago are passed over; without it, those found whole in the current round, which
    ends once all have been. No shard is begun later than ``time_limit`` after the start. ``folder`` has one report for
    each dataset.
    """

    folder: str
    now: Callable[[], float]
    max_age: float | None = None
    time_limit: float | None = None

    def open(self, dataset: Dataset, kind: str, paths: Collection[str]) -> Scrub:
        """Begin a run of checks of a ``kind``, which is level and digest; each kind and each place is tracked on its own.

        A round is over when all ``paths`` have been found whole.

        Raises FormatError (``state-damaged``), StoreError (``state-not-ours``).
        """
        report = _Report(os.path.join(self.folder, f"{dataset.root}.jsonl"), dataset.root)
        local = dataset.shards if isinstance(dataset.shards, LocalStore) else None
        place = os.path.realpath(local.path) if local else display(dataset.shards.url)
        scrub = Scrub(self, report, f"{kind} {sha256_hex(place.encode())[:16]}", local, self.now())
        scrub.seen = report.read(scrub.kind)
        if self.max_age is None and all(path in scrub.seen for path in paths):
            report.add({"kind": scrub.kind, "round": True})  # the round is over; the next one begins
            scrub.seen = {}
        return scrub


@dataclass(slots=True)
class Scrub:
    """One run: decides which files to check, and adds the outcomes to the report as it goes, so that it may end at any time.

    A local file that has changed since is checked again, and so is a shard that was damaged or whose index was.
    """

    options: ScrubOptions
    report: _Report
    kind: str
    local: LocalStore | None
    began: float
    seen: dict[str, tuple[float, _Stamp]] = field(default_factory=dict)
    begun: dict[str, _Stamp] = field(default_factory=dict)
    #: Shards, and files of columns, that were not checked: checked before, or out of time.
    passed_over: int = 0
    waiting: int = 0
    columns_passed_over: int = 0
    columns_waiting: int = 0

    @property
    def left_out(self) -> int:
        """How many files were not checked."""
        return self.passed_over + self.waiting + self.columns_passed_over + self.columns_waiting

    def wants(self, path: str) -> bool:
        """Whether a shard, or a file of added columns, is to be checked in this run."""
        stamp, is_columns = self._stamp(path), "#" in path
        seen = self.seen.get(path)
        if seen is not None and seen[1] == stamp and self._is_fresh(seen[0]):
            self.passed_over += not is_columns
            self.columns_passed_over += is_columns
            return False
        if self.options.time_limit is not None and self.options.now() - self.began >= self.options.time_limit:
            self.waiting += not is_columns
            self.columns_waiting += is_columns
            return False
        self.begun[path] = stamp
        return True

    def note(self, checked: Iterable[tuple[str, bool]]) -> None:
        """Record which files were checked (shards with their indexes), and whether they were whole."""
        checked = list(checked)
        line: dict[str, Any] = {"kind": self.kind, "at": self.options.now()}
        line["whole"] = {path: self.begun.pop(path, None) for path, whole in checked if whole}
        line["again"] = [path for path, whole in checked if not whole]
        self.report.add(line)

    def _is_fresh(self, at: float) -> bool:
        return self.options.max_age is None or self.options.now() - at < self.options.max_age

    def _stamp(self, path: str) -> _Stamp:
        if self.local is None:
            return None
        try:
            status = os.stat(self.local.locate(path.partition("#")[0]))
        except OSError:
            return (-1, 0)
        return status.st_size, status.st_mtime_ns


@dataclass(slots=True)
class _Report:
    """The report file. Its first line names its owner and root; later lines that cannot be parsed are ignored."""

    path: str
    root: str
    turns: int | None = None

    def read(self, kind: str) -> dict[str, tuple[float, _Stamp]]:
        """When checks of a kind found each file whole, and its stamp at that time."""
        kinds, said = self._known()
        if _is_long(kinds, said):
            self._compact()
        return kinds.get(kind, {})

    def add(self, line: dict[str, Any]) -> None:
        """Add a line, durably."""
        make_folders(os.path.dirname(self.path))
        with translated(self.path), self._alone(self.turns or _TURNS) as (fd, alone):
            self.turns = None if alone else _HURRIED
            size = os.fstat(fd).st_size
            head = "" if size else json.dumps(self._head(), sort_keys=True) + "\n"
            torn = "\n" if size and os.pread(fd, 1, size - 1) != b"\n" else ""
            left = memoryview(f"{head}{torn}{json.dumps(line, sort_keys=True)}\n".encode())
            while left:
                left = left[os.write(fd, left) :]
            sync_file(fd)

    @contextlib.contextmanager
    def _alone(self, turns: int) -> Iterator[tuple[int, bool]]:
        """The open report, and whether we hold its lock and it is still the report; tries this many ``turns`` to get both.

        While another part rewrites the report, nothing must be added to the old file.
        """
        for turn in range(turns):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            try:
                with exclusive(fd, self.path) as held:
                    alone = held and is_at(fd, self.path)
                    if alone or turn == turns - 1:  # the holder has died: a line can be added without the lock
                        yield fd, alone
                        return
            finally:
                os.close(fd)
            time.sleep(_TURN_SECONDS)

    def _head(self) -> dict[str, Any]:
        return {"owner": "wdstools", "root": self.root, "version": _VERSION}

    def _lines(self) -> Iterator[dict[str, Any]]:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._not_ours(error.strerror or "it cannot be opened") from None
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            if not stat.S_ISREG(status.st_mode) or not ours:
                raise self._not_ours("it belongs to another user, or is not a plain file")
            if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise self._not_ours("other users can write to it")
            first = file.readline()
            if first and _parsed(first) != self._head():
                raise FormatError(
                    "the report of earlier checks cannot be read",
                    code="state-damaged",
                    where=self.path,
                    hint=f"rm {quote(self.path)}",
                )
            for line in file:
                found = _parsed(line)
                if found is not None:
                    yield found

    def _known(self) -> tuple[dict[str, dict[str, tuple[float, _Stamp]]], int]:
        """What the report says, by kind, and how many entries it uses to say so."""
        kinds: dict[str, dict[str, tuple[float, _Stamp]]] = {}
        said = 0
        for line in self._lines():
            said += _take(line, kinds)
        return kinds, said

    def _compact(self) -> None:
        """Rewrite the report in its shortest form, unless another part has it locked."""
        with translated(self.path), self._alone(1) as (_, alone):
            if not alone:
                return
            kinds, said = self._known()
            if not _is_long(kinds, said):
                return
            lines = [self._head()]
            for kind, seen in kinds.items():
                for at in sorted({at for at, _ in seen.values()}):
                    whole = {path: stamp for path, (when, stamp) in seen.items() if when == at}
                    lines.append({"kind": kind, "at": at, "whole": whole, "again": []})
            folder, name = os.path.split(self.path)
            data = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines).encode()
            LocalStore(folder).put(name, data)
            os.chmod(self.path, 0o600)

    def _not_ours(self, why: str) -> StoreError:
        return StoreError(
            "the report of earlier checks is a file that is not ours",
            code="state-not-ours",
            where=self.path,
            got=why,
            hint=f"move it away: mv {quote(self.path)} {quote(self.path + '.old')}",
        )


def _is_long(kinds: dict[str, dict[str, tuple[float, _Stamp]]], said: int) -> bool:
    """Whether there are many entries and most of them are out of date."""
    held = sum(map(len, kinds.values()))
    return said - held > max(held, _MANY)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None  # cut off when a check was killed
    return found if isinstance(found, dict) else None


def _take(line: dict[str, Any], kinds: dict[str, dict[str, tuple[float, _Stamp]]]) -> int:
    """Merge one line into ``kinds``; returns how many entries it has."""
    kind, at, whole, again = (line.get(name) for name in ("kind", "at", "whole", "again"))
    if not isinstance(kind, str):
        return 0
    seen = kinds.setdefault(kind, {})
    if line.get("round"):
        seen.clear()
    if not isinstance(at, int | float) or not isinstance(whole, dict) or not isinstance(again, list):
        return 0
    for path, stamp in whole.items():
        seen[path] = (float(at), tuple(stamp) if isinstance(stamp, list) else None)
    for path in again:
        seen.pop(path, None)
    return len(whole) + len(again)
