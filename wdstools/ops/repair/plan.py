"""repair: make a dataset whole again, transferring only the damaged bytes. First a plan; nothing is trusted without proof."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from wdstools.checks.salvage import Survey, SurveyTask, survey_shard
from wdstools.columns.sets import uncovered
from wdstools.dataset import STAGED_MARK, Dataset
from wdstools.errors import FormatError, NotFoundError, StoreError
from wdstools.executors.base import Executor, run_all
from wdstools.executors.open import executor_or_here
from wdstools.formats.digest import parse_root, sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH
from wdstools.formats.tar_names import encoding_of
from wdstools.interop.emitted import read_emitted
from wdstools.landing.inside import refuse_read_only, require_inside
from wdstools.landing.small_files import read_provenance
from wdstools.landing.staging import (
    FinishResult,
    clear_left_over,
    digest_of_manifest,
    is_left_over,
    plan_finish,
    refuse_replaced,
)
from wdstools.ops.canonical import require_canonical
from wdstools.ops.next_version.unfinished import torn_files
from wdstools.ops.repair.columns import columns_here, mend_columns
from wdstools.ops.repair.copies import SEED_SUFFIX, Copy, StoreCopy, open_copy
from wdstools.ops.repair.files import CopiedFile, SmallFile, mend_card_file, mend_history, render_list
from wdstools.ops.repair.index import IndexRepair, choose_index, listed_digests, make_index, usable_index
from wdstools.ops.repair.remote import plan_repair_afar
from wdstools.ops.repair.result import RepairResult
from wdstools.ops.repair.shard import HERE, MENDED, NOWHERE, MendTask, Recipe, find_recipe, mend_shard
from wdstools.ops.repair.source import SourceCopy
from wdstools.ops.repair.truth import OWN, Truth, find_truth
from wdstools.options.check import RepairChoices
from wdstools.options.declare import settle
from wdstools.plan import Plan, Step, apply
from wdstools.progress import Progress, Silent
from wdstools.results import Finding, Proved
from wdstools.stores.abilities import second_name
from wdstools.stores.folders import make_folders
from wdstools.stores.local import LocalStore, storage_error
from wdstools.stores.locks import locked_folder
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wdstools.formats.manifest import Manifest, ShardEntry
    from wdstools.options.declare import StrPath


@dataclass(frozen=True, slots=True)
class RepairPlan(Plan[RepairResult]):
    """What makes a dataset whole: shards by recipe, indexes and small files to write, and unexpected files to delete."""

    truth: Truth | None = None
    recipes: tuple[Recipe, ...] = ()
    indexes: tuple[IndexRepair, ...] = ()
    files: tuple[SmallFile | CopiedFile, ...] = ()
    seeds: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    #: The digest of the manifest that was there when the plan was made; empty if there was none.
    seen: str = ""

    def carry_out(self, executor: Executor, progress: Progress) -> RepairResult:
        """Write each file atomically, and then the checksum list if it changes."""
        assert self.truth is not None
        store = LocalStore(self.target)
        require_inside(self.target, self._paths())
        shards = [entry.path for _, entry in self.truth.manifest.shards]
        with locked_folder(_metadata_folder(self.target), self.target), _kept(store, self.seeds, shards):
            refuse_replaced(store, self.seen)
            clear_left_over(self.target)
            progress.start("repair", sum(recipe.task.entry.bytes for recipe in self.recipes), "bytes")
            try:
                done: list[str] = run_all(executor, mend_shard, self.recipes, progress.advance)
            finally:
                progress.finish()
            for repair in self.indexes:
                store.put(repair.entry.index_path, make_index(store, repair, self.truth.manifest))
            for file in self.files:
                file.put(store)
            for path in self.extra:
                with contextlib.suppress(
                    NotFoundError
                ):  # a temporary file: its writer has finished since the plan was made
                    store.delete(path)
            sums = render_list(store, self.truth, _index_digests(store, self.truth), self.unsolved)
            if sums is not None:
                store.put(sums.path, sums.data)
        return RepairResult(
            path=self.target,
            root=self.truth.manifest.root,
            shards=tuple(sorted(done)),
            indexes=len(self.indexes),
            files=tuple(file.path for file in (*self.files, *([] if sums is None else [sums]))),
            bytes=self.bytes,
            unsolved=self.unsolved,
            proved=self._proved(),
            deleted=self.extra,
            not_covered=uncovered(columns_here(store)) if self._proved() is Proved.FORGER else (),
        )

    def _proved(self) -> Proved:
        """What the dataset is proved against once the plan is carried out."""
        if self.unsolved:
            return Proved.NOTHING
        return Proved.FORGER if self.truth is not None and self.truth.anchored else Proved.ACCIDENT

    def _paths(self) -> list[str]:
        """Everything that is written or deleted."""
        shards = [recipe.task.entry.path for recipe in self.recipes]
        indexes = [repair.entry.index_path for repair in self.indexes]
        return [*shards, *indexes, *(file.path for file in self.files), *self.extra, MANIFEST_PATH]


def plan_repair(
    dataset: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[RepairChoices],
) -> Plan[RepairResult | FinishResult]:
    """Read every byte of a dataset and plan how to make it whole again; nothing changes until the plan is applied.

    Even without a copy, one flipped bit in a sample is undone, and everything that follows from the index or the manifest
    is rebuilt. If a change was interrupted, the plan only finishes it. At a URL, whole files are replaced.

    Args:
        dataset: A dataset, its folder or URL.
        executor: Does the reading; without one, this process does.
        progress: Receives the number of bytes read.
        **choices: The copies to repair from, the root digest that the dataset must have, and what may be deleted; see
            ``RepairChoices``.

    Returns:
        The plan; its ``unsolved`` are the findings that it cannot repair.

    Raises:
        IntegrityError: The manifest is lost, and no copy has one (``manifest-lost``).
        NotFoundError: There is no dataset.
        UsageError: A copy is of another dataset, or an option is invalid.
        StoreError: Storage could not be read.
    """
    chosen = settle(RepairChoices, choices)
    path = dataset.metadata.url if isinstance(dataset, Dataset) else os.fspath(dataset)
    root = parse_root(chosen["root"]) if chosen["root"] is not None else None
    spares = [os.fspath(spare) for spare in chosen["spares"]]
    executor, progress = executor_or_here(executor), progress or Silent()
    refuse_read_only(path, "repair the copy that it was made from, then upload it again")
    if "://" in path:
        return plan_repair_afar(path, spares, root, executor, progress)
    unfinished = plan_finish(path, root)
    return unfinished or _Planner(path, executor, progress).plan(spares, root, delete=chosen["delete"])


def repair(
    dataset: Dataset | StrPath,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    **choices: Unpack[RepairChoices],
) -> RepairResult | FinishResult:
    """Make a damaged dataset whole again, transferring only the damaged bytes: ``plan_repair``, applied.

    Each file is replaced whole or not at all, and nothing is trusted without proof. What no copy has is left as it is.

    Args:
        dataset: A dataset, its folder or URL.
        executor: Does the work; without one, this process does.
        progress: Receives the number of bytes done.
        **choices: As for ``plan_repair``.

    Returns:
        What was written, and what is still damaged; a FinishResult if only an interrupted change was finished.

    Raises:
        IntegrityError: As ``plan_repair``.
        NotFoundError: There is no dataset.
        UsageError: As ``plan_repair``.
        BusyError: Another process is changing the dataset.
        StoreError: Storage could not be read or written, or a repaired shard does not match the manifest
            (``repair-not-proved``).
        FormatError: A rebuilt index does not match the manifest.
    """
    plan = plan_repair(dataset, executor=executor, progress=progress, **choices)
    return apply(plan, executor=executor, progress=progress)


class _Planner:
    def __init__(self, path: str, executor: Executor, progress: Progress) -> None:
        if not os.path.isdir(path):
            raise NotFoundError("there is no dataset folder here", code="dataset-missing", where=path)
        self.path = path
        self.store = LocalStore(path)
        self.executor = executor
        self.progress = progress
        self.steps: list[Step] = []
        self.unsolved: list[Finding] = []
        self.copies: frozenset[str] = frozenset()

    def plan(self, spares: Sequence[str], root: str | None, *, delete: bool) -> RepairPlan:
        seen = digest_of_manifest(self.store)
        opened = [(where, open_copy(where)) for where in spares]
        stores = [copy for _, copy in opened if copy is not None]
        truth = find_truth(self.store, stores, root, self.executor, self.progress)
        manifest = truth.manifest
        require_canonical(manifest, self.path, "these shards were not written by wdstools and cannot be repaired")
        made = read_provenance(self.store, (copy.file(PROVENANCE_PATH) for copy in stores))
        copies: list[Copy] = [copy or SourceCopy(where, manifest, made) for where, copy in opened]
        self.copies = frozenset(copy.name for copy in copies)
        history, unsolved = mend_history(self.store, stores, truth)
        surveys = self._survey(truth)
        recipes, seeds = self._recipes(truth, surveys, copies)
        mended = {recipe.task.entry.path for recipe in recipes if recipe.is_complete}
        broken = {entry.path for _, entry in _wrong(truth, surveys)} - mended
        indexes = list(self._indexes(truth, stores, broken))
        files: list[SmallFile | CopiedFile] = [*history]
        if truth.origin != OWN:
            files.append(SmallFile(MANIFEST_PATH, truth.data, truth.origin))
        card = mend_card_file(self.store, stores, truth)
        files += [card] if card else []
        columns, lost = mend_columns(self.store, stores, truth)
        files += columns
        unsolved += lost
        self.steps += [self._write(file.path, file.bytes, file.origin) for file in files]
        self.unsolved += unsolved
        extra = [*self._extra(truth, delete=delete), *self._torn(truth)]
        if is_left_over(self.path):
            self.steps.append(Step("delete", os.path.dirname(STAGED_MARK), detail="left by an interrupted change"))
        refuse_replaced(self.store, seen)
        sums = render_list(self.store, truth, _index_digests(self.store, truth), self.unsolved)
        if sums is not None and not indexes and not files:
            self.steps.append(self._write(sums.path, len(sums.data), sums.origin))
        return RepairPlan(
            "repair", self.path, tuple(self.steps), tuple(self.unsolved),
            truth, tuple(recipes), tuple(indexes), tuple(files), tuple(seeds), tuple(extra), seen,
        )  # fmt: skip

    def _write(self, path: str, size: int, origin: str) -> Step:
        """The step for a file to write; what is not from a copy is made from what is here, and moves no bytes."""
        return Step("write", path, size if origin in self.copies else 0, origin)

    def _survey(self, truth: Truth) -> dict[str, Survey]:
        entries = [entry for _, entry in truth.manifest.shards]
        self.progress.start("look", sum(entry.bytes for entry in entries), "bytes")
        try:
            tasks = (SurveyTask(self.store, entry, truth.anchored) for entry in entries)
            found = [outcome.result() for outcome in self.executor.map(survey_shard, tasks, self.progress.advance)]
        finally:
            self.progress.finish()
        return {survey.path: survey for survey in found}

    def _recipes(self, truth: Truth, surveys: dict[str, Survey], copies: list[Copy]) -> tuple[list[Recipe], list[str]]:
        wrong = _wrong(truth, surveys)
        seeds = self._seeds(wrong, surveys)
        tasks = []
        for split, entry in wrong:
            twins = [StoreCopy(self.store, seed) for seed in seeds.get(entry.xxh3_128, ())]
            index = usable_index(self.store, entry, split, truth.manifest, (*twins, *copies))
            if index is None:
                self.unsolved.append(_lost(entry, "neither its index nor an undamaged copy of the shard is left"))
                continue
            tasks.append(MendTask(self.path, split, entry, index, (*twins, *copies), truth.anchored))
        found: list[Recipe] = run_all(self.executor, find_recipe, tasks)
        recipes = [recipe for recipe in found if self._explain(recipe, surveys)]
        used = {
            copy.only for recipe in recipes for copy in recipe.task.copies if isinstance(copy, StoreCopy) and copy.only
        }
        return recipes, sorted(used & {seed for found in seeds.values() for seed in found})

    def _seeds(self, wrong: list[tuple[str, ShardEntry]], surveys: dict[str, Survey]) -> dict[str, list[str]]:
        """Local files with the whole content of a damaged shard, by xxh3_128: swapped shards, and leftovers of a repair."""
        wanted = {entry.xxh3_128 for _, entry in wrong}
        seeds: dict[str, list[str]] = {}
        for path, survey in surveys.items():
            if survey.xxh3_128 in wanted:
                seeds.setdefault(survey.xxh3_128 or "", []).append(path)
        for path in _leftovers(self.store, surveys) if wrong else ():
            for _, entry in wrong:
                seeds.setdefault(entry.xxh3_128, []).append(path)
        return seeds

    def _explain(self, recipe: Recipe, surveys: dict[str, Survey]) -> bool:
        """Add a recipe's steps to the plan; False if it cannot be carried out even in part."""
        task, origin = recipe.task, recipe.origin.tolist()
        keys = task.index.column("key").to_pylist()
        lost = [key for key, kind in zip(keys, origin, strict=True) if kind == NOWHERE]
        message = "no copy has this sample undamaged" if self.copies else "only a copy can restore this sample"
        self.unsolved += [Finding("payload", task.entry.path, message, key=key, cause="no-copy") for key in lost]
        partly = lost and surveys[task.entry.path].bytes != task.entry.bytes
        if partly or (all(kind in (HERE, NOWHERE) for kind in origin) and lost):
            return False
        kinds = Counter(origin)
        here = sum(length for length, kind in zip(_lengths(recipe), origin, strict=True) if kind == HERE)
        detail = f"{kinds[HERE]:,} of {len(origin):,} samples ({here:,} bytes) are undamaged here"
        self.steps.append(Step("rewrite", task.entry.path, 0, "itself", detail))
        if kinds[MENDED]:
            self.steps.append(Step("mend", task.entry.path, 0, "its digests", _where(recipe, MENDED)))
        for number, copy in enumerate(task.copies):
            if kinds[number]:
                self.steps.append(
                    Step("copy", task.entry.path, recipe.moved[number], copy.name, _where(recipe, number))
                )
        return True

    def _indexes(self, truth: Truth, stores: list[StoreCopy], broken: set[str]) -> Iterator[IndexRepair]:
        listed = listed_digests(self.store, truth)
        for split, entry in truth.manifest.shards:
            repair = choose_index(self.store, stores, (split, entry), listed.get(entry.index_path), truth)
            if repair is None:
                continue
            if repair.data is None and entry.path in broken:
                self.unsolved.append(
                    Finding(
                        "index", entry.index_path, "its shard is damaged, and no copy has the index", cause="no-copy"
                    )
                )
                continue
            self.steps.append(self._write(entry.index_path, len(repair.data or b""), repair.origin))
            yield repair

    def _extra(self, truth: Truth, *, delete: bool) -> list[str]:
        """Unexpected files among the shards. Of these, only tars are ever deleted, and each one is named."""
        known = {entry.path for _, entry in truth.manifest.shards} | _emitted(self.store, truth.manifest)
        folders = {path.rpartition("/")[0] for path in known if path.endswith(".tar")}
        gone = []
        for file in self.store.list():
            folder = file.key.rpartition("/")[0]
            if file.key in known or not any(folder == one or folder.startswith(one + "/") for one in folders):
                continue
            # in a folder where readers look for shards, with a name that they take for one
            taken = folder in folders and encoding_of(file.key) is not None
            if taken and delete:
                self.steps.append(
                    Step("delete", file.key, 0, None, f"a tar that is not part of this dataset, {file.bytes:,} bytes")
                )
                gone.append(file.key)
                continue
            message = (
                "not part of this dataset; --delete removes it"
                if taken
                else "not part of this dataset, and --delete does not remove it: move it away"
            )
            self.unsolved.append(Finding("extra", file.key, message, got=f"{file.bytes} bytes", cause="stranger"))
        return gone

    def _torn(self, truth: Truth) -> list[str]:
        """Partial files left by a killed run: none is in use, for we hold the lock."""
        found = torn_files(self.store, truth.manifest)
        self.steps += [Step("delete", path, detail="left by a run that was killed") for path in found]
        return found


def _emitted(store: LocalStore, manifest: Manifest) -> set[str]:
    """What emit wrote for other readers; empty if its list cannot be read."""
    try:
        return set(read_emitted(store, manifest).files)
    except (FormatError, StoreError):
        return set()


def _wrong(truth: Truth, surveys: dict[str, Survey]) -> list[tuple[str, ShardEntry]]:
    """The shards that do not match the manifest, each with its split."""
    return [(split, entry) for split, entry in truth.manifest.shards if not surveys[entry.path].is_whole(entry)]


def _index_digests(store: LocalStore, truth: Truth) -> dict[str, str]:
    """The SHA-256 of every index that exists here, by path."""
    return {
        entry.index_path: sha256_hex(store.get(entry.index_path))
        for _, entry in truth.manifest.shards
        if os.path.isfile(store.locate(entry.index_path))
    }


def _lost(entry: ShardEntry, message: str) -> Finding:
    return Finding("missing", entry.path, message, expected=f"{entry.bytes} bytes", cause="no-copy")


def _lengths(recipe: Recipe) -> list[int]:
    lengths: list[int] = recipe.task.index.column("length").to_pylist()
    return lengths


def _where(recipe: Recipe, kind: int) -> str:
    """The byte ranges of a shard that come from one place, for display: how many samples, and the first few ranges."""
    offsets: list[int] = recipe.task.index.column("offset").to_pylist()
    ranges: list[list[int]] = []
    count = 0
    for offset, length, origin in zip(offsets, _lengths(recipe), recipe.origin.tolist(), strict=True):
        if origin != kind:
            continue
        count += 1
        if ranges and ranges[-1][1] == offset:
            ranges[-1][1] = offset + length
        else:
            ranges.append([offset, offset + length])
    shown = ", ".join(f"{start}..{end}" for start, end in ranges[:4])
    more = f" and {len(ranges) - 4:,} more ranges" if len(ranges) > 4 else ""
    return f"{counted(count, 'sample')}, bytes {shown}{more}"


def _metadata_folder(path: str) -> str:
    folder = os.path.join(path, ".wdstools")
    try:
        make_folders(folder)
    except OSError as error:
        raise storage_error(error, folder) from None
    return folder


def _leftovers(store: LocalStore, shards: Iterable[str]) -> list[str]:
    """The second names of these shards that an interrupted repair left, as keys."""
    seeds = (path + SEED_SUFFIX for path in shards)
    return sorted(seed for seed in seeds if os.path.isfile(store.locate(seed)))


@contextlib.contextmanager
def _kept(store: LocalStore, seeds: Sequence[str], shards: Sequence[str]) -> Iterator[None]:
    """Keep the content of shards that others need under a second name while they are overwritten."""
    try:
        for seed in seeds:
            if not seed.endswith(SEED_SUFFIX):
                with contextlib.suppress(FileExistsError):
                    second_name(store.locate(seed), store.locate(seed + SEED_SUFFIX))
    except OSError as error:
        raise storage_error(error, store.path) from None
    yield
    for path in _leftovers(store, shards):
        with contextlib.suppress(OSError):
            os.unlink(store.locate(path))
