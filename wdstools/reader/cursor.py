"""What a reader goes through, epoch after epoch, and where it is: the part that samples and batches have in common."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from wdstools.errors import IntegrityError, UsageError
from wdstools.formats.digest import sha256_hex, xxh3_128_hexdigest
from wdstools.reader.order import ORDER_VERSION, Order
from wdstools.reader.replicas import Places
from wdstools.reader.select import Selection, parse_where
from wdstools.results import Finding, Report
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
class CourseOptions:
    """Which samples in which order: what a saved state is bound to, but for seed and epoch, which it holds."""

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


class Course:
    """The samples that were chosen, the order of each epoch, and where in it a reader is.

    ``position`` counts the global order's positions that have been handed out, to all ranks together; the last step of
    an epoch may lead beyond ``count``. Opening compares
    the list of shards and their sizes with the manifest: raises NotFoundError (``shard-missing``), FormatError
    (``shard-size``), UsageError for options that do not fit the dataset.
    """

    def __init__(self, dataset: Dataset, options: CourseOptions, seed: int) -> None:
        self.dataset = dataset
        self.options = options
        self.seed = seed
        self.epoch = 0
        self.position = 0
        #: Whose turn it is to read: another object whenever this moves but by reading on.
        self.turn = object()
        #: Keys of damaged samples that were passed over, in the order in which they came.
        self.damaged: list[str] = []
        self.findings: list[Finding] = []
        self.samples_read = 0
        if options.split not in dataset.manifest.splits:
            raise UsageError(
                "no such split", code="split-missing", where=options.split, expected=", ".join(dataset.splits)
            )
        self.entries = dataset.manifest.splits[options.split]
        check_shards(dataset, self.entries)
        self._chosen = choose(dataset, options)
        whole = sum(entry.samples for entry in self.entries)
        self.count = whole if self._chosen is None else len(self._chosen)
        if not self.count:
            raise UsageError(
                "there is nothing to read",
                code="split-empty",
                where=f"{dataset.name}, split {options.split}",
                expected="at least one sample",
                hint=f"wdstools info {quote(dataset.metadata.url)}" if not whole else "ask for other samples",
            )
        # refuses options that are none
        self._span = (self.order(0), 0, np.zeros(0, np.int64))

    def order(self, epoch: int) -> Order:
        """The order of an epoch."""
        options = self.options
        return Order(self.count, self.seed, epoch, options.shuffle, options.block_samples, options.window_blocks)

    def ahead(self, start: int, stop: int) -> NDArray[np.int64]:
        """Row numbers in the split of the samples at some positions of this epoch; cheap when asked in order."""
        order, first, samples = self._span
        if order.epoch != self.epoch or order.seed != self.seed or not first <= start <= stop <= first + len(samples):
            order, first = self.order(self.epoch), start
            samples = order.rows(start, max(stop, start + _SPAN))
            self._span = (order, first, samples)
        samples = samples[start - first : stop - first]
        return samples if self._chosen is None else self._chosen[samples]

    def chosen_between(self, first: int, last: int) -> NDArray[np.int64]:
        """The chosen among the rows ``first`` to ``last`` (not included) of the split."""
        if self._chosen is None:
            return np.arange(first, last)
        return self._chosen[slice(*np.searchsorted(self._chosen, (first, last)))]

    def begin(self) -> object:
        """Begin to read from here: whoever reads already has lost its turn."""
        self.position = min(self.position, self.count)
        self.turn = object()
        return self.turn

    def go_to(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        Order(1, epoch=epoch)  # refuses what is none
        self.epoch, self.position, self.turn = epoch, 0, object()

    def state(self) -> dict[str, Any]:
        """Where this reader is, in plain JSON values."""
        return {
            "version": STATE_VERSION,
            "root": self.dataset.root,
            "options": self.options.digest(self.count),
            "seed": self.seed,
            "epoch": self.epoch,
            "position": min(self.position, self.count),
            "damaged": list(self.damaged),
        }

    def restore(self, state: Any) -> None:
        """Go where a state says; raises UsageError if it is of another dataset, of other options, or no state."""
        here = self.state()
        given: dict[str, Any] = state if isinstance(state, dict) else {}
        for name, what in (("version", "version"), ("root", "dataset"), ("options", "options")):
            if given.get(name) != here[name]:
                raise UsageError(
                    f"this state is of another {what}",
                    code="state-refused",
                    where=name,
                    expected=str(here[name]),
                    got=str(given.get(name))[:100],
                    hint="the same dataset, split, selection and shuffle; batch size, ranks and threads may differ",
                )
        seed, epoch, position = (given.get(name) for name in ("seed", "epoch", "position"))
        damaged = given.get("damaged")
        if not (_is_count(seed) and _is_count(epoch) and _is_count(position) and isinstance(damaged, list)):
            raise UsageError("this state is damaged", code="state-refused", got=str(state)[:200])
        if position > self.count:
            raise UsageError(
                "this state is damaged", code="state-refused", where="position", expected=f"at most {self.count}"
            )
        self.seed, self.epoch, self.position, self.damaged = seed, epoch, position, list(damaged)
        self.turn = object()

    def pass_over(self, findings: Iterable[Finding]) -> None:
        """Note damaged samples that were left out."""
        for finding in findings:
            self.findings.append(finding)
            self.damaged.append(finding.key or "")

    def report(self) -> Report:
        """What was read since this reader was made, and what of it was damaged."""
        extra = extra_shards(self.dataset, self.options.split, self.entries)
        return Report("stream", {"samples": self.samples_read}, (*self.findings, *extra), root=self.dataset.root)

    def damage(self, finding: Finding) -> IntegrityError:
        """The error for a damaged sample; the dataset's being replaced meanwhile explains it better."""
        self.check_not_replaced()
        return IntegrityError(
            finding.message,
            code="sample-damaged",
            report=Report("stream", {"samples": self.samples_read}, (finding,), root=self.dataset.root),
            where=f"{self.dataset.shards.url}/{finding.path}, sample {finding.key}, member {finding.member}, "
            f"bytes {finding.start}..{(finding.start or 0) + (finding.length or 0)}",
            expected=finding.expected or "",
            got=finding.got or "",
            hint=f'{self.dataset.verify_command}    or read with on_damage="skip"',
        )

    def check_not_replaced(self) -> None:
        """Raise IntegrityError (``dataset-replaced``) if the manifest is no longer the one that was opened."""
        root = sha256_hex(self.dataset.metadata.get(self.dataset.manifest_key))
        if root != self.dataset.root:
            raise IntegrityError(
                "the dataset was replaced while it was being read",
                code="dataset-replaced",
                where=self.dataset.metadata.url,
                expected=f"root {self.dataset.root}",
                got=root,
                hint="open it again",
            )


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 64


def choose(dataset: Dataset, options: CourseOptions) -> NDArray[np.int64] | None:
    """Row numbers of the samples that are asked for, ascending; None is all. ``limit`` takes the first of them.

    Raises UsageError (``keys-missing``) if a key is not in the split.
    """
    if options.limit is not None and options.limit < 0:
        raise UsageError("out of range", where="limit", expected="0 or more", got=str(options.limit))
    entries = dataset.manifest.splits[options.split]
    if options.where is None and options.keys is None:
        whole = sum(entry.samples for entry in entries)
        return None if options.limit is None or options.limit >= whole else np.arange(options.limit)
    selection = Selection(keys=options.keys, where=None if options.where is None else parse_where(options.where))
    found, first, missing = [], 0, set(options.keys or ())
    for entry in entries:
        table = dataset.index(entry)
        if missing:
            missing.difference_update(table.column("key").to_pylist())
        found.append(first + np.flatnonzero(selection.mask(options.split, table)))
        first += entry.samples
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(options.keys or ())} keys are not in this split",
            code="keys-missing",
            where=f"split {options.split}",
            got=", ".join(sorted(missing)[:3]),
        )
    chosen = np.concatenate(found) if found else np.zeros(0, np.int64)
    return chosen[: options.limit]


def check_shards(dataset: Dataset, entries: tuple[ShardEntry, ...]) -> None:
    """Compare which shards are there, and their sizes, with the manifest, before anything is read.

    A shard that one of the dataset's mirrors has is there. Raises as ``Places.home``.
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
    """Files beside the shards of a split that the manifest does not list: they are not read, and that is said."""
    if dataset.manifest.profile != "canonical" or not isinstance(dataset.shards, LocalStore):
        return []
    known = {entry.path for entry in entries}
    return [
        Finding("extra", info.key, "a file that the manifest does not list; not read", cause="stranger")
        for info in dataset.shards.list(f"{split}/")
        if info.key not in known
    ]
