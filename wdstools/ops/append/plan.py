"""append: add the samples of a source to a dataset. Only the shards that get any are rewritten; the version rises by one."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

from wdstools.dataset import Dataset, open_dataset
from wdstools.dedup.levels import EXACT, LEVEL_NAMES
from wdstools.errors import FormatError, UsageError, option
from wdstools.executors.open import workers
from wdstools.foreign.split_names import DEFAULT_SPLIT
from wdstools.formats.digest import parse_root
from wdstools.landing.inside import refuse_inside, refuse_own_place
from wdstools.landing.small_files import read_provenance
from wdstools.landing.staging import FinishResult, plan_finish
from wdstools.ops.append.before import made_before
from wdstools.ops.append.fit import Fitted, fit
from wdstools.ops.append.known import Known, tell_apart, without_removed
from wdstools.ops.append.read import is_canonical, read_source
from wdstools.ops.append.shards import ShardChange, shard_changes, shard_counts
from wdstools.ops.append.write import Intake, NothingNewError, Written, write_version
from wdstools.ops.made import Made
from wdstools.ops.next_version.derived import Derived, as_left_behind, find_derived
from wdstools.ops.next_version.in_bucket import Crew
from wdstools.ops.next_version.land import (
    beside_others,
    change_in_place,
    make_elsewhere,
    refuse_in_place,
    refuse_unchangeable,
)
from wdstools.ops.next_version.removed import removed_before
from wdstools.options.declare import settle
from wdstools.options.pack import AppendChoices
from wdstools.plan import Plan, Step, apply
from wdstools.planning.alike import Pictures
from wdstools.planning.by_names import Packable, packable
from wdstools.planning.duplicates import Division, DuplicateRule, divide, exclude
from wdstools.planning.made_with import MadeWith
from wdstools.planning.options import make_options, split_rule
from wdstools.planning.sizes import sample_bytes
from wdstools.planning.splits import SplitRule, assign_splits
from wdstools.planning.table import Samples
from wdstools.progress import Progress, Silent
from wdstools.results import Proved
from wdstools.sources.account import count_losses, counts_of, grouped
from wdstools.units import counted, some_of
from wdstools.writer import WORKER_MODULES
from wdstools.writer.assembly import ShardSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.executors.base import Executor
    from wdstools.formats.manifest import ShardEntry
    from wdstools.ops.next_version.place import Place
    from wdstools.options.declare import StrPath
    from wdstools.planning.options import PackOptions
    from wdstools.results import Skip
    from wdstools.sources.base import Listing, Source


@dataclass(frozen=True, slots=True)
class AppendResult(Made):
    """The outcome of adding a source to a dataset: its new root and version, and what was added.

    ``appended`` counts the new samples by split, and ``there`` those that the dataset already had, byte for byte.
    ``shards`` are those that were rewritten; ``written`` and ``kept`` are the bytes of these and of all others. ``labels``
    are the new ones; ``members_left_out`` are members of the source that the dataset does not have. ``skipped`` counts
    what was left out, by reason, and ``skips`` names it. ``proved`` is about the old samples that were rewritten.
    ``leaks`` maps pairs of splits to the number of byte-identical images in both; ``duplicates`` counts surplus copies;
    ``leaked`` names new samples whose image is in another split: key and split, and key and split of the other sample.
    ``deleted`` and ``rewritten`` are files made from the samples; ``elsewhere`` are places that were not changed.
    """

    path: str
    root: str
    version: int
    appended: Mapping[str, int]
    there: int
    shards: tuple[str, ...]
    written: int
    kept: int
    labels: tuple[str, ...] = ()
    members_left_out: tuple[str, ...] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()
    proved: Proved = Proved.NOTHING
    leaks: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    rewritten: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    losses: int = 0
    leaked: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AppendPlan(Plan[AppendResult]):
    """What an append would write, known from names and keys alone. ``output`` is the new dataset, None for in place.

    ``samples`` counts the new samples by split, ``there`` those that the dataset already has; ``kept`` is how many bytes
    stay unchanged, ``moved`` how many old samples go to another shard. ``account`` and ``outside`` are as in ``pack``.
    """

    dataset: Dataset | None = None
    intake: Intake | None = None
    output: str | None = None
    derived: Derived = field(default_factory=Derived)
    samples: Mapping[str, int] = field(default_factory=dict)
    there: int = 0
    kept: int = 0
    moved: int = 0
    labels: tuple[str, ...] = ()
    members_left_out: tuple[str, ...] = ()
    skips: tuple[Skip, ...] = ()
    notes: tuple[str, ...] = ()
    account: Mapping[str, int] = field(default_factory=dict)
    outside: tuple[tuple[str, str, int, tuple[str, ...]], ...] = ()
    #: The dataset at ``output``, if the same append has already made it.
    made: Dataset | None = None
    #: Kept for as long as it is read from: what it has unpacked is removed with it.
    source: Source | None = field(default=None, repr=False, compare=False)

    def carry_out(self, executor: Executor, progress: Progress) -> AppendResult:
        """Write the shards that get samples, and everything that follows from that, as one change.

        In place, the dataset is at any moment the old one, absent, or the new one; a new one appears whole or not at all.
        """
        assert self.dataset is not None
        dataset, intake = self.dataset, self.intake
        if intake is None:
            return self._nothing(self.skips)
        emitted = self.derived.emitted_list if self.output is None else None
        made: list[Written] = []

        def write(place: Place) -> Any:
            made.append(write_version(intake, place, executor, progress, emitted=emitted))
            return made[-1].version

        shards = [path for change in intake.changes for path in change.paths]
        try:
            if self.output is not None:
                crew = Crew(executor, progress, intake.digest)
                make_elsewhere(dataset, shards, self.output, self.derived, write, crew)
            else:
                change_in_place(dataset, shards, self.derived, write)
        except NothingNewError as error:
            return self._nothing(error.skips)
        return self._result(made[-1])

    def _nothing(self, skips: Sequence[Skip]) -> AppendResult:
        dataset = self.made or self.dataset
        assert dataset is not None
        manifest = dataset.manifest
        return AppendResult(
            path=self.target if self.made is None else self.output or "",
            root=dataset.root,
            version=manifest.version,
            appended={},
            there=self.there,
            shards=(),
            written=0,
            kept=manifest.totals["bytes"],
            members_left_out=self.members_left_out,
            skipped=counts_of(skips),
            skips=tuple(skips),
            notes=self.notes,
            losses=count_losses(skips),
        )

    def _result(self, made: Written) -> AppendResult:
        assert self.dataset is not None
        manifest, derived = made.version.manifest, self.derived
        written = sum(one.entry.bytes for one in made.version.shards)
        return AppendResult(
            path=self.output or self.target,
            root=manifest.root,
            version=manifest.version,
            appended=made.appended,
            there=self.there,
            shards=tuple(sorted(one.entry.path for one in made.version.shards)),
            written=written,
            kept=manifest.totals["bytes"] - written,
            labels=self.labels,
            members_left_out=self.members_left_out,
            skipped=counts_of(made.skips),
            skips=made.skips,
            proved=Proved.FORGER if self.dataset.anchored else Proved.ACCIDENT,
            leaks=made.leaks,
            duplicates=made.duplicates,
            rewritten=derived.rewritten(manifest.root) if self.output is None else (),
            deleted=(*sorted(derived.deleted), *derived.unfinished, *derived.cached),
            elsewhere=derived.elsewhere,
            notes=(*self.notes, *made.notes),
            losses=count_losses(made.skips),
            leaked=made.leaked,
        )


def plan_append(
    dataset: Dataset | StrPath,
    source: StrPath,
    *,
    output: StrPath | None = None,
    executor: Executor | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **choices: Unpack[AppendChoices],
) -> Plan[AppendResult | FinishResult]:
    """Plan to add a source's samples to a dataset; nothing changes until the plan is applied.

    They are packed the way the dataset was, as recorded in provenance. Planning reads only samples whose keys the dataset
    already has, and images if they are compared. If an earlier change was interrupted, the plan only finishes it.

    Args:
        dataset: A dataset, its folder or URL; one in a bucket needs ``output``.
        source: A folder, zip or tar of images and captions, a table, or existing shards.
        output: Where to make a new dataset: a folder or an empty prefix of a bucket. Without it, the dataset itself is changed.
        executor: Does the work; without one, ``jobs`` worker processes do, which end with the call.
        jobs: How many processes to start.
        progress: Receives how much is done.
        **choices: How to read the source, and where its samples go; see ``AppendChoices``.

    Returns:
        The plan; applying it gives an AppendResult, or a FinishResult if it only finished an interrupted change.

    Raises:
        UsageError: An option is invalid, the source does not fit the dataset, or the dataset is not canonical or not in
            a folder.
        IntegrityError: It is another dataset, or an interrupted change would make it one (``root-differs``).
        NotFoundError: There is no dataset, or no source.
        FormatError: A manifest, an index or the source is damaged.
        StoreError: Storage could not be read.
    """
    chosen = settle(AppendChoices, choices)
    path = dataset.metadata.url if isinstance(dataset, Dataset) else os.fspath(dataset)
    output = None if output is None else os.fspath(output)
    root = chosen["root"] or (dataset.root if isinstance(dataset, Dataset) and dataset.anchored else None)
    refuse_in_place(path, output)
    unfinished = plan_finish(path, root and parse_root(root)) if output is None else None
    if unfinished is not None:
        return unfinished
    opened = open_dataset(path, root=root)
    refuse_unchangeable(opened, output)
    refuse_inside(os.fspath(source), output or path)
    if output is not None:
        refuse_own_place(opened, output)
    with workers(executor, "processes", jobs, WORKER_MODULES) as at_work, beside_others(opened):
        made = MadeWith.told_by(read_provenance(opened.metadata))
        options = _options(opened, made, chosen)
        planner = _Planner(opened, made, options, chosen, at_work, progress or Silent())
        return planner.plan(source, path, output)


def append(
    dataset: Dataset | StrPath,
    source: StrPath,
    *,
    output: StrPath | None = None,
    executor: Executor | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **choices: Unpack[AppendChoices],
) -> AppendResult | FinishResult:
    """Add a source's samples to a dataset: ``plan_append``, applied. Only the shards that get any are rewritten.

    In place, the dataset is at any moment the old one, absent, or the new one; a new one appears whole or not at all.

    Args:
        dataset: A dataset, its folder or URL; one in a bucket needs ``output``.
        source: A folder, zip or tar of images and captions, a table, or existing shards.
        output: Where to make a new dataset: a folder or an empty prefix of a bucket. Without it, the dataset itself is changed.
        executor: Does the work; without one, ``jobs`` worker processes do, which end with the call.
        jobs: How many processes to start.
        progress: Receives how much is done.
        **choices: How to read the source, and where its samples go; see ``AppendChoices``.

    Returns:
        What was added and what was not; a FinishResult if only an interrupted change was finished: call it again.

    Raises:
        UsageError: As ``plan_append``.
        BusyError: Another process is changing the dataset.
        IntegrityError: An old sample that would be rewritten is damaged: repair the dataset first.
        StoreError: Storage could not be read or written.
        FormatError: A manifest, an index or the source is damaged.
    """
    with workers(executor, "processes", jobs, WORKER_MODULES) as at_work:
        plan = plan_append(dataset, source, output=output, executor=at_work, progress=progress, **choices)
        return apply(plan, executor=at_work, progress=progress)


def _options(dataset: Dataset, made: MadeWith, chosen: AppendChoices) -> PackOptions:
    """The pack options that the dataset was made with, as far as provenance records them."""
    manifest, usual = dataset.manifest, make_options()
    images = made.images(check=usual.images.check, max_pixels=usual.images.max_pixels)
    encoding, image = images.encoding, manifest.image_extension
    if encoding and encoding.image_type != image:
        raise FormatError(
            "provenance says that images were re-encoded to a type that is not the dataset's",
            code="provenance-damaged",
            where=dataset.metadata.url,
            expected=image or "no images",
            got=encoding.image_type,
        )
    layout = made.options.get("layout")
    shard_samples = MadeWith(layout if isinstance(layout, dict) else {}).number_or_none("shard_samples")
    splits = chosen["splits"]
    told = made.options.get("duplicates")
    before = MadeWith(told if isinstance(told, dict) else {})
    level = chosen["level"] or before.chosen("level", LEVEL_NAMES, EXACT)
    action = chosen["duplicates"] or before.chosen("action", ("keep", "drop"), "keep")
    if chosen["level"] is not None and action == "keep":
        raise UsageError(
            f"{option('level')} has no effect without {option('duplicates', 'drop')}",
            code="option-idle",
            where=option("level"),
        )
    return replace(
        usual,
        layout=replace(usual.layout, seed=manifest.seed, shard_samples=shard_samples),
        splits=made.splits if splits is None else split_rule([splits] if isinstance(splits, str) else splits),
        images=images,
        only=None if encoding or not image else image,
        authenticated_ranges=manifest.authenticated_ranges,
        duplicates=DuplicateRule(action, level) if action == "drop" else DuplicateRule(),
    )


@dataclass(slots=True)
class _Planner:
    dataset: Dataset
    made: MadeWith
    options: PackOptions
    chosen: AppendChoices
    executor: Executor
    progress: Progress
    skips: list[Skip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def plan(self, path_of_source: StrPath, path: str, output: str | None) -> AppendPlan:
        """Decide everything; nothing is written."""
        source, listing, told = read_source(path_of_source, self.dataset.manifest, self.made, self.chosen)
        # a dataset's own keys are taken unchanged
        listing = replace(listing, split_in_key=self.made.split_in_key and not is_canonical(path_of_source))
        if listing.split_in_key and self.options.splits.one is not None:
            names = [self.options.splits.one] * listing.samples.num_rows
            listing = replace(listing, samples=Samples(listing.samples).with_splits(names).table)
        fitted = fit(listing, self.dataset, missing=self.chosen["members_missing"] or "skip")
        self.notes += [*told, *listing.notes, *listing.differences, *fitted.notes]
        if not self.made.known:
            self.notes.append("provenance does not say how the dataset was packed: images are added unchanged")
        found = packable(fitted.listing, self.options, self.dataset.manifest.beside_image)
        self.skips += found.skips
        self.notes += found.notes
        settings = self._settings(fitted.listing)
        known = self._tell_apart(found, settings)
        fresh = self._divide(known.fresh, fitted.listing)
        labels = self._new_labels(fresh, fitted)
        settings = replace(settings, labels=(*self.dataset.manifest.labels, *labels))
        shard_samples = self.options.layout.shard_samples
        if output is not None:
            work = self.executor, self.progress
            before = made_before(self.dataset, output, fresh, settings, *work)
            if before is not None:
                self.notes.append(f"{output} already exists: it is this dataset with these samples")
                return replace(self._plan(path, known, listing, source), output=output, made=before)
        counts = shard_counts(self.dataset, fresh, self.chosen["shards"], shard_samples)
        changes = shard_changes(self.dataset, fresh, counts)
        self._tell_new_splits(counts)
        size = sample_bytes(fresh.table, listing.opener, found.members) if len(fresh) else 0
        steps, kept = self._steps(changes, counts, size, output)
        derived = Derived()
        if changes:
            derived = find_derived(self.dataset, _touched(self.dataset, changes), [])
            derived = derived if output is None else as_left_behind(derived)
        intake = Intake(
            self.dataset,
            settings,
            fresh.table.drop_columns(["order_hash"]),
            tuple(changes),
            counts,
            tuple(self.skips),
            {"recipe": listing.recipe, "template": dict(listing.template)},
        )
        return replace(
            self._plan(path, known, listing, source),
            steps=(*steps, *derived.steps),
            intake=intake if changes else None,
            output=output,
            derived=derived,
            samples=dict(sorted(Counter(fresh.texts("split")).items())),
            kept=kept,
            moved=sum(change.moved for change in changes),
            labels=labels,
            members_left_out=fitted.left_out,
        )

    def _plan(self, path: str, known: Known, listing: Listing, source: Source) -> AppendPlan:
        """A plan with nothing to do, and what was found on the way."""
        return AppendPlan(
            "append",
            path,
            (),
            dataset=self.dataset,
            there=known.there,
            skips=tuple(self.skips),
            notes=tuple(self.notes),
            account=listing.account,
            outside=tuple(grouped(listing.skips)),
            source=source,
        )

    def _settings(self, listing: Listing) -> ShardSettings:
        manifest = self.dataset.manifest
        made = ShardSettings.of(
            listing, self.options.images, manifest.members, authenticated=manifest.authenticated_ranges
        )
        return replace(made, image_template=self.made.image_template)

    def _tell_apart(self, found: Packable, settings: ShardSettings) -> Known:
        """The samples that are new, with their splits unless those are made by ratio."""
        samples, rule = found.samples, self.options.splits
        if rule.ratios is None:
            if rule == SplitRule() and not samples.there("split").all():
                name = self._split_of_the_others()
                lost = int((~samples.there("split")).sum())
                self.notes.append(f"the source does not say the split of {counted(lost, 'sample')}: added to {name}")
                samples = samples.with_splits([split or name for split in samples.texts("split")])
            samples, more, notes = assign_splits(samples, rule, seed=self.options.layout.seed)
            self.skips += more
            self.notes += notes
        else:
            samples = samples.with_splits([None] * len(samples))
        known = tell_apart(self.dataset, samples, settings, self.executor, self.progress)
        if self.chosen["removed"] == "skip":
            without_removed(known, removed_before(self.dataset))
        self.skips += known.skips
        return known

    def _split_of_the_others(self) -> str:
        """The split for samples that come without one: the only one, or the default of a pack."""
        names = list(self.dataset.manifest.splits)
        if self.made.by_lists or (len(names) > 1 and DEFAULT_SPLIT not in names):
            raise UsageError(
                "the split of the new samples is unknown",
                code="split-unknown",
                where=self.dataset.metadata.url,
                expected=", ".join(names),
                hint=f"add {option('splits', names[0] if names else DEFAULT_SPLIT)}, or ratios, or lists",
            )
        return names[0] if len(names) == 1 else DEFAULT_SPLIT

    def _divide(self, samples: Samples, listing: Listing) -> Samples:
        """The new samples with their splits, and without duplicate images if that was asked for."""
        if not len(samples):
            return samples.with_splits([])
        options = self.options
        pictures = Pictures(listing.opener, options.images)
        rule, level = options.duplicates, options.duplicates.level
        if rule.compares:
            work = self.executor, self.progress
            samples, more, _ = exclude(samples, pictures, self.dataset, level, *work)
            self.skips += more
            self.notes.append(f"left out {counted(len(more), 'image')} that the dataset already has, level {level}")
        if not len(samples):
            return samples.with_splits([])
        splits = SplitRule(ratios=options.splits.ratios)
        images = bool(self.dataset.manifest.image_extension)
        division = Division(splits, rule, options.layout.seed, images=images)
        divided = divide(samples, pictures, division, self.executor, self.progress)
        self.skips += divided.skips
        self.notes += divided.notes
        if splits.ratios is not None:
            self.notes.append(
                "the ratios were applied to the new samples alone: packing everything again may divide them differently"
            )
        return divided.samples

    def _new_labels(self, fresh: Samples, fitted: Fitted) -> tuple[str, ...]:
        """Labels that are new to the dataset, in the order of the source; notes them with their numbers."""
        before = len(self.dataset.manifest.labels)
        used = set(fresh.texts("label")) if "cls" in self.dataset.manifest.members else set()
        labels = tuple(label for label in fitted.listing.labels[before:] if label in used)
        if labels:
            self.notes.append(
                f"new labels, after the {counted(before, 'old one')}: "
                + some_of([f"{before + number} {label}" for number, label in enumerate(labels)], 10)
            )
        return labels

    def _tell_new_splits(self, counts: Mapping[str, int]) -> None:
        new = [split for split in counts if split not in self.dataset.manifest.splits]
        if new:
            self.notes.append(f"new splits: {', '.join(sorted(new))}")

    def _steps(
        self, changes: Sequence[ShardChange], counts: Mapping[str, int], size: int, output: str | None
    ) -> tuple[list[Step], int]:
        """The steps (write, copy, delete), and how many bytes stay unchanged."""
        steps = []
        old = {entry.path for _, entry in self.dataset.manifest.shards}
        for change in changes:
            detail = f"{counted(len(change.rows), 'new sample')} to {change.old:,}" + (
                f", of which {change.moved:,} come from other shards" if change.moved else ""
            )
            action = "rewrite" if change.path in old else "write"
            steps.append(Step(action, change.path, change.old_bytes + size * len(change.rows), None, detail))
        written = {change.path for change in changes}
        kept = [
            entry
            for split, entries in self.dataset.manifest.splits.items()
            for entry in entries
            if entry.path not in written and counts.get(split) == len(entries)
        ]
        if output is not None and changes:
            steps += [Step("copy", entry.path, entry.bytes, None, "as it is") for entry in kept]
        elif changes:
            stays = written | {entry.path for entry in kept}
            steps += [Step("delete", path, detail="fewer shards") for path in sorted(old - stays)]
        return steps, sum(entry.bytes for entry in kept)


def _touched(dataset: Dataset, changes: Sequence[ShardChange]) -> list[ShardEntry]:
    """The old shards that the changes affect."""
    concerned = {entry.path for change in changes for entry, _ in change.parts}
    return [entry for _, entry in dataset.manifest.shards if entry.path in concerned]
