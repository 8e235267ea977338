"""The selected samples of a split, the order of each epoch, and a reader's position in it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.columns.sets import find_fields
from wdstools.errors import IntegrityError, UsageError
from wdstools.formats.arrow import to_list
from wdstools.formats.digest import xxh3_128_hexdigest
from wdstools.joined.opening import index_tables
from wdstools.reader.order import ORDER_VERSION, Order
from wdstools.reader.position import Position, read_state
from wdstools.reader.replicas import Places
from wdstools.reader.select import Selection, parse_where
from wdstools.results import Finding, Report, weakest
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry

STATE_VERSION = 1
_HEADS = 16
_SPAN = 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """Which samples, in which order: the options a saved state is bound to, apart from seed and epoch, which it contains."""

    split: str
    shuffle: str | None = None
    where: str | None = None
    keys: frozenset[str] | None = None
    limit: int | None = None
    block_samples: int = 64
    window_blocks: int = 32

    def digest(self, count: int) -> str:
        """A digest of the options, the same on every machine."""
        mixing = (self.block_samples, self.window_blocks) if self.shuffle == "block" else ()
        keys = None if self.keys is None else sorted(self.keys)
        parts = (ORDER_VERSION, self.split, self.shuffle, mixing, self.where, keys, self.limit, count)
        return xxh3_128_hexdigest(repr(parts).encode())


class Cursor(Position):
    """The selected samples, the order of each epoch, and a reader's position in it.

    Opening compares the list of shards and their sizes with the manifest: raises NotFoundError (``shard-missing``), FormatError
    (``shard-size``), UsageError for options that do not fit the dataset.
    """

    def __init__(self, dataset: Dataset, choice: Choice, seed: int) -> None:
        super().__init__(seed)
        self.dataset = dataset
        self.choice = choice
        #: Keys of the damaged samples that were skipped, in the order in which they came.
        self.damaged: list[str] = []
        self.findings: list[Finding] = []
        self.samples_read = 0
        if choice.split not in dataset.manifest.splits:
            raise UsageError(
                "no such split", code="split-missing", where=choice.split, expected=", ".join(dataset.splits)
            )
        self.entries = dataset.manifest.splits[choice.split]
        check_shards(dataset, self.entries)
        self._chosen = choose(dataset, choice)
        whole = sum(entry.samples for entry in self.entries)
        self.count = whole if self._chosen is None else len(self._chosen)
        if not self.count:
            raise UsageError(
                "no samples to read",
                code="split-empty",
                where=f"{dataset.name}, split {choice.split}",
                expected="at least one sample",
                hint=f"wdstools info {quote(dataset.metadata.url)}" if not whole else "select other samples",
            )
        self._bound = _bound_to(dataset, choice)
        # raises UsageError for invalid options
        self._span = (self.order(0), 0, np.zeros(0, np.int64))

    def digest(self) -> str:
        """What a saved state is bound to: the options, and the added columns that the selection uses."""
        options = self.choice.digest(self.count)
        return xxh3_128_hexdigest(f"{options} {self._bound}".encode()) if self._bound else options

    @property
    def whole(self) -> int:
        """How many positions an epoch has."""
        return self.count

    def order(self, epoch: int, seed: int | None = None) -> Order:
        """The order of an epoch, by this reader's seed or another."""
        choice = self.choice
        seed = self.seed if seed is None else seed
        return Order(self.count, seed, epoch, choice.shuffle, choice.block_samples, choice.window_blocks)

    def ahead(self, start: int, stop: int) -> NDArray[np.int64]:
        """Row numbers in the split of the samples at some positions of this epoch; cheap if called in order."""
        order, first, samples = self._span
        if order.epoch != self.epoch or order.seed != self.seed or not first <= start <= stop <= first + len(samples):
            order, first = self.order(self.epoch), start
            samples = order.rows(start, max(stop, start + _SPAN))
            self._span = (order, first, samples)
        return self.row_numbers(samples[start - first : stop - first])

    def row_numbers(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers in the split of some selected samples, by their numbers among the selected ones."""
        return samples if self._chosen is None else self._chosen[samples]

    def chosen_between(self, first: int, last: int) -> NDArray[np.int64]:
        """The selected rows of the split from ``first`` to ``last`` (not included)."""
        if self._chosen is None:
            return np.arange(first, last)
        return self._chosen[slice(*np.searchsorted(self._chosen, (first, last)))]

    def __str__(self) -> str:
        how = self.choice.shuffle or "no"
        return f"{self.dataset.name!r}, split {self.choice.split}, {self.count} samples, {how} shuffle, seed {self.seed}, epoch {self.epoch}"

    def state(self) -> dict[str, Any]:
        """This reader's position, in plain JSON values."""
        return {
            "version": STATE_VERSION,
            "root": self.dataset.root,
            "options": self.digest(),
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "damaged": list(self.damaged),
        }

    def restore(self, state: Any) -> None:
        """Go to the position of a state; raises UsageError if it belongs to another dataset or other options, or is not a state."""
        here = self.state()
        found = read_state(state, here)
        if found["position"] > self.count:
            raise UsageError(
                "this state is damaged", code="state-refused", where="position", expected=f"at most {self.count}"
            )
        self.seed, self.damaged = found["seed"], list(found["damaged"])
        self.go_on(found["epoch"], found["position"])

    def pass_over(self, findings: Iterable[Finding]) -> None:
        """Record damaged samples that were skipped."""
        for finding in findings:
            self.findings.append(finding)
            self.damaged.append(finding.key or "")

    def report(self) -> Report:
        """What has been read since this reader was made, and what of it was damaged."""
        extra = extra_shards(self.dataset, self.choice.split, self.entries)
        where = None if self.choice.where is None else parse_where(self.choice.where)
        proved = weakest(self.dataset.proved_by_samples, Selection(where=where).proved_by(self.dataset))
        read = {"samples": self.samples_read}
        return Report("stream", read, (*self.findings, *extra), root=self.dataset.root, proved=proved)

    def damage(self, finding: Finding) -> IntegrityError:
        """The error for a damaged sample; raises ``dataset-replaced`` instead if that explains it."""
        self.check_not_replaced()
        return IntegrityError(
            finding.message,
            code="sample-damaged",
            report=Report("stream", {"samples": self.samples_read}, (finding,), root=self.dataset.root),
            where=f"{self.dataset.shards.url}/{finding.path}, sample {finding.key}, member {finding.member}, "
            f"bytes {finding.start}..{(finding.start or 0) + (finding.length or 0)}",
            expected=finding.expected or "",
            got=finding.got or "",
            hint=f'{self.dataset.verify_command}    or skip damaged samples: on_damage="skip"',
        )

    def check_not_replaced(self) -> None:
        """Raise StoreError (``dataset-replaced``) if the manifest is no longer the one that was opened."""
        self.dataset.refuse_replaced()


def _bound_to(dataset: Dataset, choice: Choice) -> str:
    """The column sets that a condition uses: with other values it selects other samples."""
    added = parse_where(choice.where).added if choice.where is not None else frozenset()
    sets = {field.columns.path: field.columns for field in find_fields(dataset, added).values()}
    return " ".join(columns.files()[path] for path, columns in sorted(sets.items()))


def choose(dataset: Dataset, choice: Choice) -> NDArray[np.int64] | None:
    """Row numbers of the selected samples, ascending; None is all. ``limit`` takes the first of them.

    Raises UsageError (``keys-missing``) if a key is not in the split.
    """
    if choice.limit is not None and choice.limit < 0:
        raise UsageError("out of range", where="limit", expected="0 or more", got=str(choice.limit))
    entries = dataset.manifest.splits[choice.split]
    if choice.where is None and choice.keys is None:
        whole = sum(entry.samples for entry in entries)
        return None if choice.limit is None or choice.limit >= whole else np.arange(choice.limit)
    selection = Selection(keys=choice.keys, where=None if choice.where is None else parse_where(choice.where))
    selection.check(dataset)
    found, first, missing = [], 0, set(choice.keys or ())
    for entry, table in zip(entries, index_tables(dataset, choice.split, selection.columns), strict=True):
        if missing:
            missing.difference_update(to_list(table.column("key")))
        found.append(first + np.flatnonzero(selection.rows(dataset, choice.split, entry, table)))
        first += table.num_rows
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(choice.keys or ())} keys are not in this split",
            code="keys-missing",
            where=f"split {choice.split}",
            got=", ".join(sorted(missing)[:3]),
        )
    chosen = np.concatenate(found) if found else np.zeros(0, np.int64)
    return chosen[: choice.limit]


def check_shards(dataset: Dataset, entries: tuple[ShardEntry, ...]) -> None:
    """Check that all shards exist in their recorded sizes before anything is read.

    A shard counts as present if one of the dataset's mirrors has it. Raises as ``Places.home``.
    """
    places = Places(dataset)
    if isinstance(dataset.shards, LocalStore):
        for entry in entries:
            places.home(entry)
        return
    with ThreadPoolExecutor(_HEADS, thread_name_prefix="wdstools-head") as pool:
        for _ in pool.map(places.home, entries):
            pass


def extra_shards(dataset: Dataset, split: str, entries: tuple[ShardEntry, ...]) -> list[Finding]:
    """Findings for files among the shards of a split that the manifest does not list and that are not read."""
    if dataset.manifest.profile != "canonical" or not isinstance(dataset.shards, LocalStore):
        return []
    known = {entry.path for entry in entries}
    return [
        Finding("extra", info.key, "a file that the manifest does not list; it was not read", cause="stranger")
        for info in dataset.shards.list(f"{split}/")
        if info.key not in known
    ]
