"""pull: fetch a dataset, or some of its samples, from anywhere to a local folder, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import TYPE_CHECKING, Any, Unpack

from wdstools.checks.rebuild import proved_index
from wdstools.checks.signature import bundles_of
from wdstools.checks.trust import trusted
from wdstools.columns.sets import uncovered
from wdstools.dataset import Dataset, as_dataset, open_dataset
from wdstools.errors import FormatError, IntegrityError, NotFoundError, StoreError, UsageError, option
from wdstools.executors.base import run_all
from wdstools.executors.open import executor_or_here, workers
from wdstools.formats.card import CARD_PATH, card_differences, render_card
from wdstools.formats.digest import sha256_hex
from wdstools.formats.index import write_index
from wdstools.formats.manifest import (
    MANIFEST_PATH,
    MAX_MANIFEST_BYTES,
    PROVENANCE_PATH,
    SKIPPED_PATH,
    Manifest,
    ShardEntry,
)
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.landing.inside import read_inside, refuse_elsewhere, refuse_outside, refuse_own_place
from wdstools.landing.site import PackSite, forget_landed
from wdstools.landing.small_files import assemble, render_provenance
from wdstools.landing.staging import plan_finish
from wdstools.ops.canonical import require_canonical
from wdstools.ops.columns.bring import bring_sets
from wdstools.ops.made import Made
from wdstools.options.declare import settle
from wdstools.options.move import PullChoices
from wdstools.plan import Plan, Step, apply
from wdstools.progress import Progress, Silent, under_way
from wdstools.reader.select import Selection
from wdstools.results import SOURCE_COLUMN, Proved, weakest
from wdstools.stores.limited import Limited, Rate
from wdstools.stores.local import LocalStore
from wdstools.stores.open import remote
from wdstools.stores.reading import get_whole
from wdstools.transfer.choose import ChooseTask, Chosen, choose
from wdstools.transfer.columns import PulledColumns
from wdstools.transfer.download import PulledShard, PullTask, asked_again, fetch_file, pull_shard
from wdstools.transfer.seeds import Seeds
from wdstools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.executors.base import Executor
    from wdstools.options.check import DigestKind
    from wdstools.options.declare import StrPath

_CARD_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class PullResult(Made):
    """What a pull fetched.

    ``fetched`` is the number of bytes that came over the wire, ``kept`` of those that an interrupted run had left,
    ``seeded`` of those taken from old local shards; ``again`` counts samples that first arrived damaged. ``missing_keys``
    were asked for and are not in the dataset. ``columns`` are the sets of added columns that came along. ``not_covered``
    is what came from the source and is not covered by any root digest, whatever ``proved`` says: files, and columns of
    the indexes.
    """

    path: str
    root: str
    source_root: str
    samples: int
    shards: int
    bytes: int
    fetched: int
    requests: int
    kept: int
    seeded: int
    again: int
    proved: Proved
    missing_keys: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    not_covered: tuple[str, ...] = ()
    signer: str | None = None

    @property
    def authenticated(self) -> bool:
        """Whether all of it is proved against forgers."""
        return self.proved is Proved.FORGER


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan(Plan[PullResult]):
    """What a pull would fetch; ``requests`` counts range requests, and ``total_bytes`` is the size of all shards there."""

    source: Dataset = field(repr=False)
    selection: Selection = field(repr=False)
    chosen: tuple[Chosen, ...] = field(repr=False)
    gap: int
    seeds: tuple[str, ...] = ()
    restart: bool = False
    requests: int = 0
    samples: int = 0
    total_bytes: int = 0
    missing_keys: tuple[str, ...] = ()

    @property
    def proved(self) -> Proved:
        """What the result is proved against: a forger, if whole shards or the chosen samples have a SHA-256 each."""
        chosen = self.selection.keys is not None or self.selection.where is not None
        by_sha256 = self.source.anchored and (not chosen or self.source.manifest.authenticated_ranges)
        samples = Proved.FORGER if by_sha256 else Proved.ACCIDENT
        return weakest(samples, self.selection.proved_by(self.source))

    def carry_out(self, executor: Executor, progress: Progress) -> PullResult:
        """Fetch everything into ``DEST.partial``, renamed in the last step; if killed, the same call goes on."""
        return _Pull(self, executor, progress).run()


def plan_pull(
    source: Dataset | StrPath,
    dest: StrPath,
    *,
    selection: Selection | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[PullChoices],
) -> PullPlan:
    """Plan what to fetch; nothing is written until the plan is applied.

    For selected samples the indexes are read; for whole shards the manifest is enough.

    Args:
        source: A dataset, its folder or URL.
        dest: The folder to make; it must not exist.
        selection: Which samples to fetch; without it, the whole dataset.
        executor: Reads the indexes; without one, this process does.
        progress: Receives the number of indexes read.
        **choices: Which dataset it must be, and what is already here; see ``PullChoices``.

    Returns:
        The plan, with the samples, requests and bytes that it takes.

    Raises:
        UsageError: No sample is selected (``nothing-chosen``), or the tars were not written by wdstools.
        IntegrityError: It is not the dataset with that ``root`` (``root-differs``).
        NotFoundError: There is no dataset.
        FormatError: A manifest or an index is damaged.
        StoreError: Storage could not be read.
    """
    chosen = settle(PullChoices, choices)
    refuse_elsewhere(os.fspath(dest))
    opened = trusted(
        as_dataset(source).anchor(chosen["root"]), chosen["public_key"], chosen["min_version"], chosen["authorities"]
    )
    refuse_own_place(opened, dest)
    if chosen["limit_rate"] is not None:
        opened = replace(opened, shards=Limited(remote(opened.shards), Rate(chosen["limit_rate"])), readers={})
    require_canonical(
        opened.manifest,
        opened.metadata.url,
        "these tars were not written by wdstools; copy them yourself, and adopt the copy",
    )
    if not chosen["allow_older"] and chosen["root"] is None:
        _refuse_older(opened, (dest, *chosen["seeds"]))
    selection = selection or Selection()
    selection.check(opened, by_members=True)
    executor, progress = executor_or_here(executor), progress or Silent()
    shards = _choose(opened, selection, chosen["gap"], executor, progress)
    found = {key for one in shards for key in one.keys}
    samples = sum(one.samples for one in shards)
    if not samples:
        raise UsageError("no sample is selected", code="nothing-chosen", where=opened.metadata.url)
    return PullPlan(
        verb="pull",
        target=os.fspath(dest),
        steps=tuple(Step("fetch", one.entry.path, one.moving, None, one.detail) for one in shards if one.samples),
        source=opened,
        selection=selection,
        chosen=shards,
        gap=chosen["gap"],
        seeds=tuple(os.fspath(seed) for seed in chosen["seeds"]),
        restart=chosen["restart"],
        requests=sum(one.requests for one in shards),
        samples=samples,
        total_bytes=sum(entry.bytes for _, entry in opened.manifest.shards),
        missing_keys=tuple(sorted((selection.keys or frozenset()) - found)) if selection.where is None else (),
    )


def _refuse_older(source: Dataset, places: Iterable[StrPath]) -> None:
    """Refuse a version older than that of the same dataset here; raises StoreError (``newer-version``)."""
    for place in places:
        try:
            here = open_dataset(place).manifest if os.path.isdir(place) else None
        except (StoreError, FormatError, UsageError):
            continue
        if (
            here is not None
            and here.name
            and here.name == source.manifest.name
            and here.version > source.manifest.version
        ):
            raise StoreError(
                "the dataset here is newer than the one there",
                code="newer-version",
                where=os.fspath(place),
                expected=f"version {here.version} or newer",
                got=f"version {source.manifest.version} at {source.metadata.url}",
                hint=f"add {option('allow_older', True)} to go back, or name the version by {option('root')}",
            )


def _choose(
    dataset: Dataset, selection: Selection, gap: int, executor: Executor, progress: Progress
) -> tuple[Chosen, ...]:
    wanted = [(s, e) for s, e in dataset.manifest.shards if selection.splits is None or s in selection.splits]
    if selection.keys is None and selection.where is None:
        return tuple(Chosen(split, entry, entry.samples, entry.bytes, 1) for split, entry in wanted)
    read = proved_index if selection.needs_members(dataset) else None
    tasks = (ChooseTask(dataset, split, entry, selection, gap, read) for split, entry in wanted)
    with under_way(progress, "read indexes", len(wanted), "shards") as tick:
        return tuple(run_all(executor, choose, tasks, tick))


class _Pull:
    """One pull being carried out."""

    def __init__(self, plan: PullPlan, executor: Executor, progress: Progress) -> None:
        self.plan = plan
        self.source = plan.source
        self.manifest = plan.source.manifest
        self.whole = plan.selection.is_everything
        self.executor = executor
        self.progress = progress
        self.not_covered: list[str] = [SOURCE_COLUMN]
        self.signatures: dict[str, bytes] = {}
        self.columns: PulledColumns | None = None
        self.brought: tuple[str, ...] = ()

    def run(self) -> PullResult:
        """Do the pull; DEST does not exist until everything in it is whole."""
        if self.whole and _root_at(self.plan.target) == self.source.root:
            forget_landed(self.plan.target)
            return self._already_there()
        try:
            listed = self._listed()  # first of all: a manifest damaged on its way matches no list
            self.signatures = bundles_of(self.source) if self.whole else {}  # they do not sign a part
            self.columns = PulledColumns(self.source, self.plan.chosen)
            with PackSite(self.plan.target) as site:
                site.begin(self._digest(), self._paths(), restart=self.plan.restart)
                pulled = self._with_proved_values(site.work, self._shards(site.work, listed))
                files, manifest = self._files(pulled, listed)
                files |= self.columns.bring(manifest, pulled, site.work, self.executor)
                self._note_columns(one.name for one in self.columns.sets)
                site.publish(files, {shard.entry.path: shard.entry.bytes for shard in pulled})
        except (IntegrityError, NotFoundError):
            self._refuse_replaced()
            raise
        return self._result(manifest.root, pulled)

    def _paths(self) -> list[str]:
        """Every shard to write, with its index; the signatures; and the files of columns."""
        shards = (path for one in self.plan.chosen for path in (one.entry.path, one.entry.index_path))
        return [*shards, *self.signatures, *(self.columns.paths if self.columns is not None else ())]

    def _note_columns(self, names: Iterable[str]) -> None:
        self.brought = tuple(names)
        self.not_covered += uncovered(self.brought)

    def _already_there(self) -> PullResult:
        """Verify the dataset that is here, and bring the columns that were added there since."""
        from wdstools.ops.verify import verify

        unfinished = plan_finish(self.plan.target, self.source.root)
        if unfinished is not None:
            apply(unfinished)
        there = open_dataset(self.plan.target).anchor(self.source.root if self.source.anchored else None)
        digest: DigestKind = "sha256" if there.anchored else "xxh3_128"
        report = verify(there, digest=digest, executor=self.executor, progress=self.progress)
        if report.findings:
            raise IntegrityError(
                "the dataset is already here, and damaged",
                report=report,
                where=self.plan.target,
                got=str(report.findings[0]),
                hint=f"wdstools repair {quote(self.plan.target)} --from {quote(self.source.shards.url)}"
                + (f" --root {self.source.root}" if self.source.anchored else ""),
            )
        self.not_covered = []
        names, size = bring_sets(self.source, there, self.executor, self.progress)
        self._note_columns(names)
        return replace(self._result(self.source.root, []), fetched=size)

    def _digest(self) -> str:
        """The identity of this pull, by which the same call finds what an interrupted one left."""
        document = {"pull": self.source.root, "selection": _selection_document(self.plan.selection)}
        return sha256_hex(json.dumps(document, sort_keys=True).encode())

    def _listed(self) -> dict[str, str]:
        """The source's checksum list, which must belong to the manifest; fetched again if it does not."""
        where = f"{self.source.metadata.url}/{SUMS_PATH}"
        expected = {entry.path: entry.sha256 for _, entry in self.manifest.shards} | {MANIFEST_PATH: self.source.root}

        def check(data: bytes) -> dict[str, str]:
            listed = {line.path: line.digest for line in parse_sums(data, where=where)}
            for path, digest in expected.items():
                if listed.get(path) != digest:
                    raise FormatError(
                        f"the checksum list and the manifest belong to different datasets ({path})",
                        expected=digest,
                        got=listed.get(path, "no line"),
                    )
            return listed

        return asked_again(lambda: get_whole(self.source.metadata, SUMS_PATH), check, where)[1]

    def _shards(self, folder: str, listed: Mapping[str, str]) -> list[PulledShard]:
        plan = self.plan
        seeds = Seeds([open_dataset(path) for path in plan.seeds]) if plan.seeds else None
        tasks = (
            PullTask(
                dataset=self.source,
                split=one.split,
                entry=one.entry,
                folder=folder,
                gap=plan.gap,
                listed=listed.get(one.entry.index_path),
                rows=one.rows,
                index=one.index,
                seeds=seeds,
            )
            for one in plan.chosen
        )
        with under_way(self.progress, "pull", sum(one.kept_bytes for one in plan.chosen), "bytes") as tick:
            return run_all(self.executor, pull_shard, tasks, tick)

    def _with_proved_values(self, folder: str, pulled: list[PulledShard]) -> list[PulledShard]:
        """The shards; where the manifest does not prove the values of an index, those that the samples prove are used."""
        if not self.source.anchored or self.manifest.has_values:
            return pulled
        store = LocalStore(folder)
        here = replace(
            self.source,
            manifest=_manifest_of(self.manifest, pulled),
            metadata=store,
            shards=store,
            mirrors=(),
            readers={},
        )
        made = []
        for shard in pulled:
            data = store.get(shard.entry.index_path)
            table = proved_index(here, shard.split, shard.entry)
            if not table.equals(here.index(shard.entry)):
                data = write_index(table)
                store.put(shard.entry.index_path, data)
            made.append(replace(shard, index_sha256=sha256_hex(data)))
        return made

    def _files(self, pulled: list[PulledShard], listed: Mapping[str, str]) -> tuple[dict[str, bytes], Manifest]:
        """All files other than shards and indexes, and the manifest."""
        metadata = self.source.metadata
        card = None
        if self.whole:
            manifest = self.manifest
            history = {path: self._fetch(path, listed) for path in (PROVENANCE_PATH, SKIPPED_PATH) if path in listed}
            self.not_covered += history
            card = self._card()
            now = sha256_hex(get_whole(metadata, self.source.manifest_key, MAX_MANIFEST_BYTES))
            if now != self.source.root:
                raise IntegrityError("the manifest was replaced", expected=self.source.root, got=now)
        else:
            manifest = _manifest_of(self.manifest, pulled)
            history = {PROVENANCE_PATH: self._provenance(listed)}
        sums: dict[str, str] = {}
        for shard in pulled:
            sums |= {shard.entry.path: shard.entry.sha256, shard.entry.index_path: shard.index_sha256}
        return assemble(manifest, history, sums, card) | self.signatures, manifest

    def _card(self) -> bytes:
        """The source's card, or a new one if that is missing or damaged."""
        try:
            data = read_inside(self.source.metadata, CARD_PATH, _CARD_BYTES)
        except (NotFoundError, FormatError):
            data = b""
        made = render_card(self.manifest).encode()
        if not data or card_differences(data.decode("utf-8", "replace"), self.manifest):
            return made
        if data != made:
            self.not_covered.append(CARD_PATH)
        return data

    def _fetch(self, path: str, listed: Mapping[str, str]) -> bytes:
        refuse_outside(self.source.metadata, (path,))
        return fetch_file(self.source.metadata, path, listed[path])

    def _provenance(self, listed: Mapping[str, str]) -> bytes:
        made: Any = None
        if PROVENANCE_PATH in listed:
            with contextlib.suppress(ValueError, RecursionError):  # it was listed, but is not JSON
                made = json.loads(self._fetch(PROVENANCE_PATH, listed))
                self.not_covered.append(PROVENANCE_PATH)
        document = {
            "pulled": {
                "root": self.source.root,
                "name": self.manifest.name,
                "version": self.manifest.version,
                "selection": _selection_document(self.plan.selection),
            },
            "source": made,
            "versions": {"wdstools": __version__},
        }
        return render_provenance(document)

    def _refuse_replaced(self) -> None:
        """If the manifest there has been replaced, report that as the cause."""
        try:
            now = sha256_hex(get_whole(self.source.metadata, self.source.manifest_key, MAX_MANIFEST_BYTES))
        except (StoreError, FormatError, UsageError):
            return
        if now != self.source.root:
            raise StoreError(
                "the dataset was replaced while it was being pulled",
                code="dataset-replaced",
                where=self.source.metadata.url,
                expected=self.source.root,
                got=now,
                hint=f"run the same command again with {option('restart', True)}",
            ) from None

    def _result(self, root: str, pulled: list[PulledShard]) -> PullResult:
        totals = {name: sum(getattr(shard.moved, name) for shard in pulled) for name in _COUNTED}
        return PullResult(
            path=self.plan.target,
            root=root,
            source_root=self.source.root,
            samples=self.plan.samples,
            shards=len(self.plan.chosen),
            bytes=sum(shard.entry.bytes for shard in pulled) if pulled else self.manifest.totals["bytes"],
            proved=self.plan.proved,
            missing_keys=self.plan.missing_keys,
            columns=self.brought,
            not_covered=tuple(self.not_covered) if self.source.anchored else (),
            signer=self.source.signer or None,
            **totals,
        )


_COUNTED = ("fetched", "requests", "kept", "seeded", "again")


def _root_at(path: str) -> str | None:
    """The root digest of the dataset in a local folder, None if there is none."""
    if not os.path.isdir(path):
        return None
    try:
        return open_dataset(path).root
    except (StoreError, FormatError):
        return None


def _manifest_of(source: Manifest, pulled: list[PulledShard]) -> Manifest:
    """The manifest of a part: the same name, version, labels and order, but fewer samples."""
    splits: dict[str, list[ShardEntry]] = {}
    for shard in pulled:
        splits.setdefault(shard.split, []).append(shard.entry)
    return replace(source, splits={split: tuple(entries) for split, entries in splits.items()})


def _selection_document(selection: Selection) -> dict[str, Any]:
    """A selection as JSON values; keys only as a digest, since they may be people's names."""
    keys = "\n".join(sorted(selection.keys)).encode() if selection.keys is not None else None
    return {
        "splits": sorted(selection.splits) if selection.splits is not None else None,
        "where": selection.where.text if selection.where else None,
        "keys": sha256_hex(keys) if keys is not None else None,
    }


def pull(
    source: Dataset | StrPath,
    dest: StrPath,
    *,
    selection: Selection | None = None,
    executor: Executor | None = None,
    jobs: int = 4,
    progress: Progress | None = None,
    **choices: Unpack[PullChoices],
) -> PullResult:
    """Fetch a dataset, or some of its samples, to a local folder: ``plan_pull``, applied.

    Everything is verified before it gets its final name. Until the pull is complete, ``dest`` does not exist. Calling it
    again resumes an interrupted pull, and keeps the samples that have arrived.

    Args:
        source: A dataset, its folder or URL.
        dest: The folder to make; it must not exist.
        selection: Which samples to fetch; without it, the whole dataset.
        executor: Does the work; without one, ``jobs`` threads do, which end with the call.
        jobs: How many threads to start.
        progress: Receives the number of bytes received.
        **choices: As for ``plan_pull``.

    Returns:
        What was fetched, and whether every byte of it is authenticated; its ``dataset`` opens it.

    Raises:
        UsageError: As ``plan_pull``.
        IntegrityError: As ``plan_pull``, or data arrives damaged each time it is requested.
        BusyError: Another process is pulling to the same place.
        NotFoundError: There is no dataset.
        FormatError: A manifest, an index or the checksum list is damaged.
        StoreError: Storage could not be read or written.
    """
    with workers(executor, "threads", jobs) as at_work:
        plan = plan_pull(source, dest, selection=selection, executor=at_work, progress=progress, **choices)
        return apply(plan, executor=at_work, progress=progress)
