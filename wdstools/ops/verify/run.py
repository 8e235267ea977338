"""verify: check that everything is as it was packed. It reads, compares and reports; it never changes anything."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack, get_args

from wdstools.checks.batch import BatchTask, Look, Looked, Manner, batches, check_batch
from wdstools.checks.change import explain_change
from wdstools.checks.columns import check_columns, columns_tasks, known_sets
from wdstools.checks.emitted import check_emitted, known_emitted
from wdstools.checks.metadata import check_metadata, read_list
from wdstools.checks.remote import noted_md5
from wdstools.checks.trust import trusted
from wdstools.checks.unread import set_apart
from wdstools.columns.sets import uncovered
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import FormatError, NotFoundError, UsageError, option
from wdstools.executors.open import executor_or_here, open_executor
from wdstools.formats.card import CARD_PATH
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.ops.verify.by_list import is_damaged, verify_by_list
from wdstools.ops.verify.left import left_over
from wdstools.ops.verify.lone import kind_of_file, refuse_pipe, verify_shard_file, verify_sums
from wdstools.ops.verify.part import Part, is_one_file, nothing_here, open_with_file, stranger, without_all_missing
from wdstools.ops.verify.strangers import extra_shards, without_echoes
from wdstools.options.check import VerifyChoices, VerifyLevel
from wdstools.options.declare import settle
from wdstools.progress import Progress, Silent
from wdstools.results import SOURCE_COLUMN, Finding, Proved, Report
from wdstools.stores.folders import path_here
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote
from wdstools.stores.probe import probe as find_out

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wdstools.checks.columns import ColumnsCheckTask, KnownSets
    from wdstools.executors.base import Executor
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.verify.scrub import Scrub, ScrubOptions
    from wdstools.options.declare import StrPath

LEVELS: tuple[VerifyLevel, ...] = get_args(VerifyLevel)


def verify(
    dataset: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[VerifyChoices],
) -> Report:
    """Check that everything is as it was packed, and report what is not. Nothing is changed.

    Level ``size`` compares names and sizes. ``remote`` compares the digests that the shards' store reports, without
    reading the shards; files for which it reports none are in ``unproved``. Indexes and added columns are read, too.
    ``digest`` reads every byte once and finds every change. ``samples`` also parses every header, payload and caption,
    and rebuilds each index. ``decode`` also decodes every image. ``part=(i, n)`` checks the i-th of n parts; all n
    together check everything.

    Args:
        dataset: A dataset, its folder or URL, a manifest file, one shard, or a checksum list.
        executor: Does the work; without one, this process does.
        progress: Receives the number of bytes checked.
        **choices: What to check, and how thoroughly; see ``VerifyChoices``.

    Returns:
        What was checked, what was found, and what the result is proved against; ``raise_for_findings`` turns damage into
        an error.

    Raises:
        UsageError: An option is invalid.
        IntegrityError: It is not the dataset with the given ``root`` (``root-differs``).
        NotFoundError: There is no dataset.
        FormatError: What is there cannot be parsed.
        StoreError: Storage could not be read.
    """
    if not isinstance(dataset, Dataset):
        return verify_path(os.fspath(dataset), executor=executor, progress=progress, **choices)
    chosen = _settled(choices)
    opened = dataset.at(os.fspath(chosen["at"])) if chosen["at"] else dataset
    opened = trusted(opened.anchor(chosen["root"]), chosen["public_key"], chosen["min_version"], chosen["authorities"])
    return explain_change(opened, _verify_dataset(opened, chosen, scrub_options(chosen), executor, progress))


def _settled(choices: VerifyChoices) -> VerifyChoices:
    chosen = settle(VerifyChoices, choices)
    part = chosen["part"]
    if not 1 <= part[0] <= part[1]:
        raise UsageError(
            "no such part", where=option("part"), expected="i/n with 1 <= i <= n", got=f"{part[0]}/{part[1]}"
        )
    return chosen


def scrub_options(chosen: VerifyChoices) -> ScrubOptions | None:
    """The options of a check in several runs; None if none is given. Raises UsageError."""
    if not chosen["resume"] and chosen["max_age"] is None and chosen["time_limit"] is None:
        return None
    if chosen["state"] is None:
        raise UsageError(
            "a check in several runs needs a folder for its reports", where=option("state"), expected="a folder"
        )
    import time

    from wdstools.ops.verify.scrub import ScrubOptions

    return ScrubOptions(path_here(chosen["state"], option("state")), time.time, chosen["max_age"], chosen["time_limit"])


def _verify_dataset(
    dataset: Dataset,
    chosen: VerifyChoices,
    scrubbing: ScrubOptions | None,
    executor: Executor | None,
    progress: Progress | None,
) -> Report:
    level, digest = chosen["level"], chosen["digest"] or _default_digest(dataset)
    known, scrub = known_sets(dataset), None
    if scrubbing is not None:
        shards = dataset.manifest.shards
        columns = (task.name for task in columns_tasks(dataset, known, level, shards))
        scrub = scrubbing.open(dataset, f"{level} {digest}", [*(entry.path for _, entry in shards), *columns])
    what = _What(dataset, level, digest, chosen["part"], _asked(chosen), chosen["probe"], scrub, known)
    return _DatasetCheck(what, executor_or_here(executor), progress or Silent()).run()


def _asked(chosen: VerifyChoices) -> Part:
    """Which shards the options ask for."""
    splits = (chosen["splits"],) if isinstance(chosen["splits"], str) else chosen["splits"]
    at = None if chosen["at"] is None else os.fspath(chosen["at"])
    return Part(
        None if splits is None else tuple(splits), chosen["only_present"], (at or "") if is_one_file(at) else ""
    )


def _default_digest(dataset: Dataset) -> str:
    return "sha256" if dataset.anchored and all(entry.sha256 for _, entry in dataset.manifest.shards) else "xxh3_128"


@dataclass(frozen=True, slots=True)
class _What:
    """What is to be checked, and how."""

    dataset: Dataset
    level: str
    digest: str
    part: tuple[int, int]
    asked: Part
    probe: bool
    scrub: Scrub | None
    known: KnownSets


#: The levels at which everything is read.
_READING = ("digest", "samples", "decode")


class _DatasetCheck:
    def __init__(self, what: _What, executor: Executor, progress: Progress) -> None:
        self.dataset = what.dataset
        self.level = what.level
        self.digest = what.digest
        self.believed = find_out(remote(what.dataset.shards)).believed if what.probe else None
        self.md5 = noted_md5(what.dataset) if what.level == "remote" else {}
        self.scrub = what.scrub
        self.first_part, self.is_part = what.part[0] == 1, what.part[1] > 1
        self.known = what.known
        self.asked = what.asked
        self.shards = what.asked.shards(what.dataset)[what.part[0] - 1 :: what.part[1]]
        self.missing: set[str] = set()
        self.executor = executor
        self.progress = progress
        self.checked = {"shards": 0, "samples": 0, "bytes": 0}
        self.unproved: tuple[str, ...] = ()
        self.not_covered: tuple[str, ...] = (SOURCE_COLUMN,)

    def run(self) -> Report:
        """The report."""
        listed, findings_of_list = self._list()
        looked = self._look(listed)
        findings = without_all_missing(
            self.dataset, [f for one in looked for f in one.shard.findings], self.shards, len(self.missing)
        )
        if self.asked.file and not self.shards:
            findings.append(stranger(self.dataset, self.asked.file))
        elif self.asked.may_lack and len(self.missing) == len(self.shards):
            findings = [nothing_here(self.dataset, self.shards)]
            self.checked["shards"] = len(self.shards)  # all of them were tried
        findings += findings_of_list
        findings += [f for one in looked if not self._without_index(one) for f in one.index]
        if self.first_part:
            emitted, wrong, unread = known_emitted(self.dataset)
            self.not_covered += ("emitted files",) if emitted.files else ()
            self.unproved += unread
            findings += wrong
            findings += extra_shards(self.dataset, set(emitted.files))
            if self.asked.whole and self.level in _READING:
                findings += check_emitted(self.dataset, emitted)
        findings += self._columns()
        scrub = self.scrub
        if not self.asked.whole or self.is_part:
            asked = self.checked["shards"] + (scrub.passed_over + scrub.waiting if scrub else 0)
            self.checked["not_asked"] = self.dataset.manifest.totals["shards"] - asked
        if scrub is not None:
            self.checked |= {"passed_over": scrub.passed_over, "waiting": scrub.waiting + scrub.columns_waiting}
            if scrub.waiting and not self.checked["shards"]:
                self.unproved += ("no shard was checked: the time limit was reached before the first one",)
        found, unread = set_apart(without_echoes(findings))
        unproved = tuple(what for one in looked for what in one.shard.unproved) + self.unproved + unread
        proved = Proved.NOTHING if found or unproved else self._proved()
        return Report(
            self.level,
            self.checked,
            found,
            unproved,
            root=self.dataset.root,
            proved=proved,
            signer=self.dataset.signer or None,
            believed=scrub.report.path if scrub is not None and scrub.passed_over else None,
            not_covered=self.not_covered if proved is Proved.FORGER else (),
            left=left_over(self.dataset) if self.first_part and self.asked.whole else (),
        )

    def _proved(self) -> Proved:
        """What a check that found nothing proves."""
        if self.level == "size" or not self.checked["shards"]:
            return Proved.NOTHING
        if self.scrub is not None and self.scrub.left_out:
            return Proved.NOTHING  # those files were not checked in this run
        by_sha256 = self.level != "remote" and self.digest == "sha256"
        return Proved.FORGER if by_sha256 and self.dataset.anchored else Proved.ACCIDENT

    def _look(self, listed: Mapping[str, str]) -> list[Looked]:
        """The outcome for each shard that was checked, and its index, in order."""
        found: dict[int, tuple[Looked, ...]] = {}
        self.progress.start(f"verify ({self.level})", sum(entry.bytes for _, entry in self.shards), "bytes")
        try:
            for outcome in self._workers().map(check_batch, self._tasks(listed), self.progress.advance):
                found[outcome.index] = self._take(outcome.result())
                if self.scrub is not None:
                    self.scrub.note((one.shard.path, one.whole) for one in outcome.result())
        finally:
            self.progress.finish()
        return [one for index in sorted(found) for one in found[index]]

    def _take(self, looked: Sequence[Looked]) -> tuple[Looked, ...]:
        """Count what was checked, without shards that are not here and need not be."""
        self.missing |= {one.shard.path for one in looked if one.missing}
        kept = tuple(one for one in looked if not (one.missing and self.asked.may_lack))
        for one in kept:
            self.checked["shards"] += 1
            self.checked["samples"] += one.shard.samples
            self.checked["bytes"] += one.shard.bytes
        return kept

    def _workers(self) -> Executor:
        """What checks the shards: reading the sizes of local files here is faster than sending workers to do it."""
        if self.level == "size" and isinstance(self.dataset.shards, LocalStore):
            return open_executor("serial")
        return self.executor

    def _tasks(self, listed: Mapping[str, str]) -> Iterator[BatchTask]:
        manner = Manner(self.level, self.digest, self.believed, self.asked.may_lack)
        looks = (
            Look(split, entry, listed.get(entry.index_path), self.md5.get(entry.sha256))
            for split, entry in self.shards
            if self._wants(entry)
        )
        if self.scrub is not None and self.scrub.options.time_limit is not None:  # one shard per task
            yield from (BatchTask(self.dataset, manner, (look,)) for look in looks)
            return
        total = sum(entry.bytes for _, entry in self.shards)
        near = isinstance(self.dataset.shards, LocalStore)
        for some in batches(looks, self.level, total=total, jobs=self.executor.jobs, near=near):
            yield BatchTask(self.dataset, manner, some)

    def _wants(self, entry: ShardEntry) -> bool:
        if self.scrub is None or self.scrub.wants(entry.path):
            return True
        self.progress.advance(entry.bytes)
        return False

    def _list(self) -> tuple[dict[str, str], list[Finding]]:
        """The dataset's checksum list, and what is wrong with it and the other small files."""
        # a foreign dataset has no checksum list and no card of ours
        ours = self.dataset.manifest_key == MANIFEST_PATH and self.dataset.manifest.profile == "canonical"
        if self.level == "size" or not ours:
            return {}, []
        listed, wrong = read_list(self.dataset.metadata)
        self.not_covered += (CARD_PATH, *(path for path in (PROVENANCE_PATH, SKIPPED_PATH) if path in listed))
        if not self.first_part:
            return listed, []
        return listed, [*wrong, *(check_metadata(self.dataset, listed) if listed else [])]

    def _columns(self) -> list[Finding]:
        """Findings about added columns of the shards to check."""
        known, scrub = self.known, self.scrub
        self.unproved += known.unproved
        self.not_covered += uncovered(columns.name for columns in known.sets)
        begun: list[ColumnsCheckTask] = []

        def wanted() -> Iterator[ColumnsCheckTask]:
            for task in columns_tasks(self.dataset, known, self.level, self.shards):
                if scrub is None or scrub.wants(task.name):
                    begun.append(task)
                    yield task

        found: dict[int, tuple[Finding, ...]] = {}
        for outcome in self._workers().map(check_columns, wanted()):
            found[outcome.index] = outcome.result()
            if scrub is not None:
                scrub.note([(begun[outcome.index].name, not found[outcome.index])])
        if known.sets:
            self.checked["column_files"] = len(begun)
            self.checked |= {"column_files_passed_over": scrub.columns_passed_over} if scrub else {}
        return [*(known.findings if self.first_part else []), *(one for at in sorted(found) for one in found[at])]

    def _without_index(self, looked: Looked) -> bool:
        """Whether a shard's index does not matter, because none of the shards is here."""
        return looked.missing and len(self.missing) == len(self.shards)


def verify_path(
    path: str,
    *,
    scrubbing: ScrubOptions | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[VerifyChoices],
) -> Report:
    """Check whatever is at a path: a dataset, a manifest (with ``at``), a single shard, or a checksum list.

    ``scrubbing`` checks a dataset in several runs, as the options do, with a clock of its own.
    """
    chosen = _settled(choices)
    at, root = None if chosen["at"] is None else os.fspath(chosen["at"]), chosen["root"]
    scrubbing = scrubbing or scrub_options(chosen)
    executor = executor_or_here(executor)
    progress = progress or Silent()
    refuse_pipe(path)
    if os.path.isfile(path):
        kind = kind_of_file(path)
        if kind != "manifest" and root is not None:
            raise UsageError("only a dataset has a root digest", where=option("root"), got=path)
        asked = next((name for name in ("public_key", "authorities") if chosen.get(name) is not None), None)
        if kind != "manifest" and asked is not None:
            raise UsageError("only a dataset is signed", where=option(asked), got=path)
        if kind == "tar":
            return verify_shard_file(path)
        if kind == "sums":
            return verify_sums(path, at=at, executor=executor, progress=progress)
    try:
        one = at is not None and is_one_file(at)
        dataset = open_with_file(path, at or "", root) if one else open_dataset(path, at=at, root=root)
    except (FormatError, NotFoundError) as error:
        anchored = any(chosen.get(name) is not None for name in ("root", "public_key", "authorities"))
        if anchored or at is not None or os.path.isfile(path) or not is_damaged(path, error):
            raise
        return verify_by_list(path, error, executor, progress)
    dataset = trusted(dataset, chosen["public_key"], chosen["min_version"], chosen["authorities"])
    return explain_change(dataset, _verify_dataset(dataset, chosen, scrubbing, executor, progress))
