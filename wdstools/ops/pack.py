"""pack: from a source to a dataset on disk, the same bytes for the same input, whole or not there."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools import __version__
from wdstools.errors import SkippedError, UsageError
from wdstools.executors.base import Executor, open_executor
from wdstools.formats.arrow import release_memory
from wdstools.formats.card import CARD_PATH, render_card
from wdstools.formats.digest import sha256_hex, xxh3_128
from wdstools.formats.manifest import (
    MANIFEST_PATH,
    PROVENANCE_PATH,
    SKIPPED_PATH,
    Manifest,
    ShardEntry,
    dumps,
    index_path,
    manifest_identity,
)
from wdstools.formats.sums import SUMS_PATH, render_sums
from wdstools.images.check import DEFAULT_MAX_PIXELS, STORABLE_TYPES
from wdstools.ops.pack_duplicates import DuplicateRule, divide
from wdstools.ops.pack_site import PackSite
from wdstools.progress import Progress, Silent
from wdstools.results import PackResult, Skip, to_dict
from wdstools.writer import WORKER_MODULES
from wdstools.writer.alike import Pictures
from wdstools.writer.assembly import ShardSettings
from wdstools.writer.plan import (
    PackPlan,
    ShardLayout,
    drop_repeated,
    image_extension,
    keep_labelled,
    keep_type,
    place,
    slices,
    with_keys,
)
from wdstools.writer.shard import ShardResult, ShardTask, write_shard
from wdstools.writer.splits import SplitRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wdstools.images.resize import Encoding
    from wdstools.sources.base import Listing, Source


@dataclass(frozen=True, slots=True)
class PackOptions:
    """Everything that decides the bytes of a pack, beside the source.

    ``check`` is ``header`` or ``decode``; ``encoding`` re-encodes images; ``only`` leaves out images of other types;
    ``on_error`` is ``skip`` (count and go on) or ``fail`` (stop at the first).
    """

    layout: ShardLayout = field(default_factory=ShardLayout)
    splits: SplitRule = field(default_factory=SplitRule)
    check: str = "decode"
    max_pixels: int = DEFAULT_MAX_PIXELS
    encoding: Encoding | None = None
    only: str | None = None
    on_error: str = "skip"
    name: str | None = None
    version: int | None = None
    authenticated_ranges: bool = False
    duplicates: DuplicateRule = field(default_factory=DuplicateRule)

    def __post_init__(self) -> None:
        if self.check not in ("header", "decode"):
            raise UsageError("no such check", where="--check", expected="header or decode", got=self.check)
        if self.on_error not in ("skip", "fail"):
            raise UsageError("no such choice", where="--on-error", expected="skip or fail", got=self.on_error)
        if self.only is not None and self.only not in STORABLE_TYPES:
            raise UsageError("no such image type", where="--only", expected=", ".join(STORABLE_TYPES), got=self.only)
        if self.only is not None and self.encoding is not None and self.encoding.only_others:
            raise UsageError("--only and --convert exclude each other")
        if self.version is not None and not 0 <= self.version < 2**53:
            raise UsageError(
                "version out of range", where="--version", expected="0 to 2**53 - 1", got=str(self.version)
            )

    def document(self) -> dict[str, Any]:
        """The options as JSON values, for provenance and for the digest of a plan."""
        document = asdict(replace(self, splits=SplitRule(), layout=replace(self.layout, like=None)))
        if not self.duplicates.compares:
            del document["duplicates"]
        document["layout"]["like"] = self.layout.like.root if self.layout.like else None
        document["splits"] = {
            "one": self.splits.one,
            "ratios": {name: str(value) for name, value in (self.splits.ratios or {}).items()},
            "lists": {name: sha256_hex("\n".join(lines).encode()) for name, lines in (self.splits.lists or {}).items()},
        }
        return document


def run_pack(
    source: Source,
    dest: str,
    options: PackOptions,
    *,
    executor: Executor,
    restart: bool = False,
    progress: Progress | None = None,
) -> PackResult:
    """Pack a source into ``dest``, which must not exist.

    Until the last step everything lies in ``dest.partial``; killed at any moment, the same call goes on with the
    shards that are finished, and gives the same bytes. Raises UsageError, StoreError, BusyError, FormatError, and
    SkippedError under ``on_error="fail"``; ``dest`` is then absent.
    """
    progress = progress or Silent()
    started_ns = time.time_ns()
    with PackSite(dest) as site:
        listing = source.list()
        plan, notes = make_plan(listing, options, executor, progress)
        listing = replace(listing, samples=plan.samples)  # the others are free now
        release_memory()
        if options.on_error == "fail" and plan.skips:
            first = plan.skips[0]
            raise SkippedError(
                "a sample cannot be packed",
                code=first.reason,
                where=first.path,
                got=first.detail or "",
                hint="mend or remove it, or pack with --on-error skip",
            )
        settings = _settings(site.work, listing, plan, options, started_ns)
        finished = site.resume(_plan_digest(plan, listing, options), restart=restart)
        results = _write_shards(plan, settings, finished, site, executor, progress)
        if not any(result.entry.samples for result in results):
            site.discard()
            raise _nothing_left(skip.reason for skip in (*plan.skips, *(s for r in results for s in r.skips)))
        none = pa.table({})  # of a million samples the table takes 200 MB, and comparing images needs memory too
        listing, plan = replace(listing, samples=none), replace(plan, samples=none)
        release_memory()
        return _publish(site, listing, plan, options, results, notes)


def scratch_of(dest: str) -> str:
    """Where compressed sources are unpacked while they are packed."""
    return f"{dest.rstrip('/')}.unpacked"


def make_plan(
    listing: Listing, options: PackOptions, executor: Executor, progress: Progress
) -> tuple[PackPlan, list[str]]:
    """Decide image type, splits, shards and order; the only reading is that of images when splits are made by ratio."""
    like = options.layout.like
    convert = options.encoding.image_type if options.encoding else None
    extension = image_extension(listing.image_types, only=options.only if convert is None else None, convert=convert)
    samples, skips = with_keys(listing, options.layout.seed)
    skips = [*listing.skips, *skips]
    if options.only is not None and len(listing.image_types) > 1:
        samples, more = keep_type(samples, options.only)
        skips += more
    members = _members(listing, extension)
    if "cls" in members:
        samples, more = keep_labelled(samples)
        skips += more
    if not samples.num_rows:
        raise _nothing_left(skip.reason for skip in skips)
    samples, more = drop_repeated(samples)
    skips += more
    pictures = Pictures(listing.opener, options.encoding, options.max_pixels)
    rules = (options.splits, options.duplicates)
    divided = divide(samples, pictures, rules, options.layout.seed, executor, progress)
    skips += divided.skips
    if like is not None and (
        like.members != members or like.labels != listing.labels or like.seed != options.layout.seed
    ):
        raise UsageError(
            "the manifest given with --like is of another kind",
            where="--like",
            expected=f"members {','.join(like.members)}, {len(like.labels)} labels, seed {like.seed}",
            got=f"members {','.join(members)}, {len(listing.labels)} labels, seed {options.layout.seed}",
        )
    order, bounds = place(divided.samples, options.layout)
    plan = PackPlan(divided.samples, order, bounds, tuple(skips), extension, members, divided.leaks)
    return plan, divided.notes


def _nothing_left(reasons: Iterable[str]) -> UsageError:
    return UsageError("no samples are left to pack", code="source-empty", got=", ".join(sorted(set(reasons))))


def _members(listing: Listing, extension: str) -> tuple[str, ...]:
    if listing.members:
        return (extension, *listing.members)
    members = [extension]
    members += ["txt"] if listing.captions != "none" else []
    members += ["cls"] if listing.labels else []
    members += ["json"] if "json" in listing.samples.column_names else []
    return tuple(members)


def _settings(root: str, listing: Listing, plan: PackPlan, options: PackOptions, started_ns: int) -> ShardSettings:
    template, base = listing.template.get("image", ""), listing.template.get("base", "")
    return ShardSettings(
        root=root,
        opener=listing.opener,
        members=plan.members,
        labels=listing.labels,
        image_template=f"{base}/{template}" if base and template else template,
        check=options.check,
        max_pixels=options.max_pixels,
        encoding=options.encoding,
        fail=options.on_error == "fail",
        started_ns=started_ns,
        authenticated=options.authenticated_ranges,
        side=0 if options.encoding and options.encoding.side else listing.side,
    )


def _plan_digest(plan: PackPlan, listing: Listing, options: PackOptions) -> str:
    digest = xxh3_128()
    for _, _, samples in slices(plan):
        digest.update(samples)
    document = {
        **options.document(),
        "labels": listing.labels,
        "members": plan.members,
        "template": dict(listing.template),
    }
    digest.update(json.dumps(document, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _write_shards(
    plan: PackPlan,
    settings: ShardSettings,
    finished: dict[tuple[str, int], ShardResult],
    site: PackSite,
    executor: Executor,
    progress: Progress,
) -> list[ShardResult]:
    tasks = (
        ShardTask(settings, split, number, samples, finished.get((split, number)))
        for split, number, samples in slices(plan)
    )
    results: dict[int, ShardResult] = {}
    progress.start("pack", plan.samples.num_rows, "samples")
    try:
        for outcome in executor.map(write_shard, tasks, progress.advance):
            result = outcome.result()
            results[outcome.index] = result
            if not result.kept:
                site.record(result)
    finally:
        progress.finish()
    return [results[index] for index in range(len(results))]


def _publish(
    site: PackSite, listing: Listing, plan: PackPlan, options: PackOptions, results: list[ShardResult], notes: list[str]
) -> PackResult:
    splits: dict[str, list[ShardEntry]] = {}
    for result in results:
        splits.setdefault(result.split, []).append(result.entry)
    manifest = Manifest(
        name=options.name if options.name is not None else listing.name,
        version=options.version if options.version is not None else listing.version,
        labels=listing.labels if "cls" in plan.members else (),
        members=plan.members,
        seed=options.layout.seed,
        authenticated_ranges=options.authenticated_ranges,
        splits={split: tuple(entries) for split, entries in splits.items()},
    )
    skips = sorted(
        (*plan.skips, *(skip for result in results for skip in result.skips)), key=lambda s: (s.path, s.reason)
    )
    skipped = dict(sorted(Counter(skip.reason for skip in skips).items()))
    files = {MANIFEST_PATH: dumps(manifest), PROVENANCE_PATH: _provenance(listing, options, skipped, manifest)}
    if skips:
        files[SKIPPED_PATH] = _json_lines(skips)
    sums = {path: sha256_hex(data) for path, data in files.items()}
    for result in results:
        sums |= {result.entry.path: result.entry.sha256, index_path(result.entry.path): result.index_sha256}
    files[SUMS_PATH] = render_sums(sums)
    files[CARD_PATH] = render_card(manifest).encode()
    site.publish(files, {result.entry.path: result.entry.bytes for result in results})
    odd = sum(result.other_sizes for result in results)
    if odd:
        notes = [*notes, f"{odd:,} images are not {listing.side}x{listing.side}, as the recipe expects"]
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
        notes=tuple(notes),
    )


def count_identical(digests: dict[str, list[Any]]) -> tuple[dict[str, int], int]:
    """The leak matrix (for each pair of splits, how many images are in both) and the number of surplus copies.

    ``digests`` holds, for each split, arrays of 64-bit image digests.
    """
    unique = {split: np.unique(np.concatenate(arrays)) for split, arrays in digests.items()}
    names = sorted(unique)
    leaks = {
        f"{a}/{b}": len(np.intersect1d(unique[a], unique[b], assume_unique=True))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }
    everything = np.concatenate([array for arrays in digests.values() for array in arrays])
    return leaks, len(everything) - len(np.unique(everything))


def _provenance(listing: Listing, options: PackOptions, skipped: dict[str, int], manifest: Manifest) -> bytes:
    from importlib.metadata import version

    from wdstools.images.check import codec_versions

    document = {
        "codecs": codec_versions() if options.encoding else {"simplejpeg": version("simplejpeg")},
        "dataset": manifest_identity(manifest),
        "options": options.document(),
        "recipe": listing.recipe,
        "skipped": skipped,
        "template": dict(listing.template),
        "versions": {"wdstools": __version__, **{name: version(name) for name in ("numpy", "pyarrow", "xxhash")}},
    }
    return (json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1) + "\n").encode()


def _json_lines(skips: Iterable[Skip]) -> bytes:
    return "".join(json.dumps(to_dict(skip), ensure_ascii=False, sort_keys=True) + "\n" for skip in skips).encode()


def default_executor(jobs: int, kind: str = "processes") -> Executor:
    """An executor whose workers are ready for packing."""
    return open_executor(kind, jobs, WORKER_MODULES)
