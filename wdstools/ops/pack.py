"""pack: make a dataset from a source, with the same bytes for the same input, whole or not at all."""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Unpack

import pyarrow as pa

from wdstools.errors import SkippedError, UsageError, option
from wdstools.executors.open import workers
from wdstools.executors.shared import Place
from wdstools.formats.arrow import release_memory
from wdstools.formats.digest import xxh3_128
from wdstools.formats.manifest import (
    PROVENANCE_PATH,
    SKIPPED_PATH,
    Manifest,
    ShardEntry,
    index_path,
    manifest_identity,
    needed_format,
    shard_path,
)
from wdstools.landing.inside import refuse_inside
from wdstools.landing.scratch import unpacked_folder
from wdstools.landing.site import PackSite, site_at, work_place
from wdstools.landing.small_files import assemble, keep_skips, render_provenance, render_skips
from wdstools.log import listener, tell
from wdstools.ops.made import FormerlyDataset
from wdstools.options.declare import part, settle
from wdstools.options.pack import LayoutChoices, PackChoices
from wdstools.planning.by_names import NothingLeftError
from wdstools.planning.identical import count_identical
from wdstools.planning.options import make_options
from wdstools.planning.plan import Planned, Slices, make_plan
from wdstools.planning.samples import SPLIT_IN_KEY
from wdstools.progress import Progress, Silent
from wdstools.sources.account import account_of_pack, count_losses, counts_of, grouped, is_loss
from wdstools.sources.base import EmptySourceError
from wdstools.sources.open import open_source
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import is_bucket
from wdstools.units import counted
from wdstools.version import __version__
from wdstools.writer import WORKER_MODULES
from wdstools.writer.assembly import ShardSettings
from wdstools.writer.shard import ShardResult, ShardTask, to_line, write_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from wdstools.executors.base import Executor
    from wdstools.landing.bucket_site import BucketSite
    from wdstools.options.declare import StrPath
    from wdstools.options.run import ExecutorKind
    from wdstools.planning.options import PackOptions
    from wdstools.sources.base import Listing, Source
    from wdstools.stores.base import Store


@dataclass(frozen=True, slots=True)
class PackResult(FormerlyDataset):
    """What a pack made; ``dataset`` opens it.

    ``samples`` counts samples by split, and ``skipped`` what was left out, by reason. ``leaks`` maps each pair of splits
    to the number of images that are in both, at ``level``. ``duplicates`` counts the samples beyond the first of each
    byte-identical image. ``kept_shards`` counts shards that an interrupted run had finished, ``remade_shards`` those that
    were made again because the note that calls them finished is not sealed by this user. ``remarks`` counts, by code,
    oddities of packed samples; ``notes`` are sentences for people. ``account`` counts the source's files by what happened
    to them; ``outside`` lists files outside the layout: folder, extension, count, and the first names. ``losses`` is how
    many of ``skipped`` may have been meant to be packed: all but files outside the layout that are neither images nor
    texts, tables, metadata or the like.
    """

    path: str
    root: str
    samples: Mapping[str, int]
    shards: int
    bytes: int
    skipped: Mapping[str, int]
    leaks: Mapping[str, int]
    duplicates: int
    kept_shards: int
    notes: tuple[str, ...] = ()
    level: str = "exact"
    remarks: Mapping[str, int] = field(default_factory=dict)
    account: Mapping[str, int] = field(default_factory=dict)
    outside: tuple[tuple[str, str, int, tuple[str, ...]], ...] = ()
    remade_shards: int = 0
    losses: int = 0


def run_pack(
    source: Source,
    dest: StrPath | Store,
    options: PackOptions,
    *,
    executor: Executor,
    restart: bool = False,
    progress: Progress | None = None,
) -> PackResult:
    """Pack a source into ``dest``, which must be absent or empty.

    In a folder, everything is in ``dest.partial`` until the last step; in a bucket, everything is stored in place, the
    manifest last. If it is killed at any moment, the same call goes on with the finished shards, and gives the same bytes.
    Raises UsageError, StoreError, BusyError, FormatError, and SkippedError under ``on_error="fail"``; ``dest`` is then
    absent.
    """
    progress, site = progress or Silent(), site_at(dest)
    started_ns = time.time_ns()
    if isinstance(site, PackSite):
        executor.share(Place(site.dest))
    with site, keeping_skips(site.dest):
        listing = source.list()
        listed = listing.account
        plan, notes = make_plan(listing, options, executor, progress, scratch_place(site))
        notes = [*listing.notes, *listing.differences, *notes]
        template = dict(listing.template) | ({"key": SPLIT_IN_KEY} if plan.split_in_key else {})
        listing = replace(listing, samples=pa.table({}), template=template)  # the plan holds the samples to pack
        release_memory()
        losses = [skip for skip in plan.skips if is_loss(skip)]
        if options.on_error == "fail" and losses:
            first = losses[0]
            raise SkippedError(
                "a sample cannot be packed",
                code=first.reason,
                where=first.path,
                got=first.detail or "",
                hint=f"repair or remove it, or pack with {option('on_error', 'skip')}",
            )
        settings = ShardSettings.of(listing, options.images, plan.members, authenticated=options.authenticated_ranges)
        settings = replace(settings, fail=options.on_error == "fail", started_ns=started_ns)
        slices = Slices(plan)
        finished = _finished(site.begin(_plan_digest(slices, listing, options), _paths(plan), restart=restart))
        results = _write_shards(slices, settings, finished, site, executor, progress)
        del slices  # it holds the plan
        if not any(result.entry.samples for result in results):
            site.discard()
            raise NothingLeftError((*(skip for result in results for skip in result.skips), *plan.skips))
        dropped = [skip.key for result in results for skip in result.skips if skip.key is not None]
        listing = replace(listing, account=account_of_pack(listed, plan.files(dropped)))
        plan = plan.let_go()
        release_memory()
        return _publish(site, listing, plan, options, results, notes)


@contextmanager
def keeping_skips(dest: str) -> Iterator[None]:
    """Keep the list of skips next to ``dest`` if nothing is left to pack, and say so in the error."""
    try:
        yield
    except (EmptySourceError, NothingLeftError) as error:
        if error.skips:
            path = keep_skips(dest, error.skips)
            what = "it" if len(error.skips) == 1 else f"each of the {len(error.skips):,}"
            listed = (
                f"{what} is listed in {path}"
                if path
                else "there are already too many such lists next to it, so none was written"
            )
            error.hint = listed + (f"; {error.hint}" if error.hint else "")
        raise


def scratch_of(dest: StrPath | Store) -> str | None:
    """Where compressed sources are unpacked during a pack; None for a temporary folder."""
    if is_bucket(dest) or not isinstance(dest, str | os.PathLike):
        return None
    return unpacked_folder(work_place(os.fspath(dest)))


def scratch_place(site: PackSite | BucketSite) -> str | None:
    """The folder for what planning does not hold in memory; None for a temporary folder."""
    return os.path.dirname(site.work) if isinstance(site, PackSite) else None


def _paths(plan: Planned) -> Iterator[str]:
    """Every shard to write, and its index."""
    for split, number, _, _ in plan.bounds:
        path = shard_path(split, number)
        yield path
        yield index_path(path)


def _plan_digest(slices: Slices, listing: Listing, options: PackOptions) -> str:
    digest = xxh3_128()
    for _, _, samples in slices:
        digest.update(samples)
    document = {
        **options.document(),
        "labels": listing.labels,
        "members": slices.members,
        "template": dict(listing.template),
    }
    digest.update(json.dumps(document, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _finished(lines: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What an interrupted run of the same plan has noted about each finished shard, by the shard's path."""
    entries = ((line, line.get("entry")) for line in lines)
    return {str(entry.get("path")): line for line, entry in entries if isinstance(entry, dict)}


def _write_shards(
    slices: Slices,
    settings: ShardSettings,
    finished: dict[str, dict[str, Any]],
    site: PackSite | BucketSite,
    executor: Executor,
    progress: Progress,
) -> list[ShardResult]:
    home = site.home
    tasks = (
        ShardTask(settings, home, split, number, samples, finished.get(shard_path(split, number)))
        for split, number, samples in slices
    )
    results: dict[int, ShardResult] = {}
    progress.start("pack", slices.samples, "samples")
    try:
        for outcome in executor.map(write_shard, tasks, progress.advance):
            result = outcome.result()
            results[outcome.index] = result
            if not result.kept:
                site.record(to_line(result))
    finally:
        progress.finish()
    return [results[index] for index in range(len(results))]


def _publish(
    site: PackSite | BucketSite,
    listing: Listing,
    plan: Planned,
    options: PackOptions,
    results: list[ShardResult],
    notes: list[str],
) -> PackResult:
    splits: dict[str, list[ShardEntry]] = {}
    for result in results:
        splits.setdefault(result.split, []).append(result.entry)
    tallies = ((r.other_sizes, r.odd_captions, r.frames, r.stray, r.trailing) for r in results)
    odd, odd_captions, frames, stray, trailing = map(sum, zip(*tallies, strict=True))
    counts = {
        "caption-control": odd_captions,
        "image-frames": frames,
        "image-stray-bytes": stray,
        "image-trailing-bytes": trailing,
    }
    remarks = {code: count for code, count in counts.items() if count}
    manifest = Manifest(
        name=options.name if options.name is not None else listing.name,
        version=options.version if options.version is not None else listing.version,
        labels=listing.labels if "cls" in plan.members else (),
        members=plan.members,
        seed=options.layout.seed,
        authenticated_ranges=options.authenticated_ranges,
        splits={split: tuple(entries) for split, entries in splits.items()},
        format=needed_format(plan.members, trailing=bool(trailing)),
    )
    skips = sorted(
        (*plan.skips, *(skip for result in results for skip in result.skips)),
        key=lambda s: (s.path, s.reason, s.split or "", s.key or "", s.detail or ""),
    )
    skipped = counts_of(skips)
    history = {PROVENANCE_PATH: _provenance(listing, options, skipped, remarks, manifest)}
    if skips:
        history[SKIPPED_PATH] = render_skips(skips)
        for skip in skips if listener("pack") is not None else ():
            tell("pack", f"skipped: {skip.path}", reason=skip.reason, detail=skip.detail)
    sums = {result.entry.path: result.entry.sha256 for result in results}
    sums |= {index_path(result.entry.path): result.index_sha256 for result in results}
    files = assemble(manifest, history, sums)
    site.publish(files, {result.entry.path: result.entry.bytes for result in results})
    if odd:
        notes = [*notes, f"the recipe expects {listing.side}x{listing.side}: {counted(odd, 'image')} of another size"]
    leaks, duplicates = count_identical(
        {split: [r.image_digests for r in results if r.split == split] for split in splits}
    )
    return PackResult(
        path=site.dest,
        root=manifest.root,
        samples={split: sum(e.samples for e in entries) for split, entries in splits.items()},
        shards=manifest.totals["shards"],
        bytes=manifest.totals["bytes"],
        skipped=skipped,
        leaks=leaks if plan.leaks is None else plan.leaks,
        duplicates=duplicates,
        level=options.duplicates.level,
        kept_shards=sum(result.kept for result in results),
        notes=(*notes, *site.notes),
        remarks=remarks,
        account=listing.account,
        outside=tuple(grouped(skips)),
        remade_shards=sum(result.remade for result in results),
        losses=count_losses(skips),
    )


def _provenance(
    listing: Listing, options: PackOptions, skipped: dict[str, int], remarks: dict[str, int], manifest: Manifest
) -> bytes:
    import numpy as np
    import simplejpeg
    import xxhash

    from wdstools.images.check import codec_versions

    made_by = {"wdstools": __version__, "numpy": np.__version__, "pyarrow": pa.__version__, "xxhash": xxhash.VERSION}
    document = {
        "codecs": codec_versions() if options.images.encoding else {"simplejpeg": simplejpeg.__version__},
        "dataset": manifest_identity(manifest),
        "options": options.document(),
        "recipe": listing.recipe,
        "skipped": skipped,
        "template": dict(listing.template),
        "versions": made_by,
    }
    return render_provenance(document | ({"remarks": remarks} if remarks else {}))


def pack(
    source: Source | StrPath,
    dest: StrPath | Store,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **choices: Unpack[PackChoices],
) -> PackResult:
    """Pack images and captions into checksummed shards, by split.

    The same source and options give the same bytes with any executor. Until the pack is complete, ``dest`` does not exist:
    an interrupted pack leaves ``dest.partial``, and the same call resumes it. In a bucket, each shard is stored as soon as
    it is made, and the manifest last. Samples that cannot be packed are left out, counted in the result, and listed in
    ``.wdstools/skipped.jsonl``.

    Args:
        source: A folder, zip or tar of images and captions, a table, existing shards, or an opened source.
        dest: The dataset's folder, which must be absent or empty, or an empty prefix of a bucket, as a URL or a store.
        executor: Does the work; without one, ``jobs`` worker processes do, which end with the call.
        jobs: How many processes to start.
        progress: Receives the number of samples done.
        **choices: All options; see ``PackChoices``.

    Returns:
        What was packed and what was not; its ``dataset`` opens the dataset.

    Raises:
        UsageError: An option is invalid, or nothing is left to pack.
        StoreError: Storage could not be read or written.
        BusyError: Another process is packing to the same place.
        FormatError: The source, or the manifest whose division to follow, cannot be parsed.
        SkippedError: A sample cannot be packed, and ``on_error`` is ``"fail"``.
    """
    options = make_options(**choices)
    chosen = settle(PackChoices, choices)
    if isinstance(source, str | os.PathLike):
        refuse_inside(os.fspath(source), dest)
        source = open_source(source, scratch=scratch_of(dest), **part(LayoutChoices, chosen))
    elif part(LayoutChoices, chosen) != settle(LayoutChoices, {}):
        raise UsageError("the layout of an opened source is already known", expected="no layout, or the source's path")
    kind: ExecutorKind = "threads" if isinstance(dest, MemoryStore) else "processes"
    with workers(executor, kind, jobs, WORKER_MODULES) as at_work:
        return run_pack(source, dest, options, executor=at_work, restart=chosen["restart"], progress=progress)
