"""What a pack would write: planned like a pack, but nothing is written."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from wdstools.executors.open import workers
from wdstools.landing.inside import refuse_inside
from wdstools.landing.site import site_at
from wdstools.options.declare import part, settle
from wdstools.options.pack import LayoutChoices, PackChoices
from wdstools.planning.options import make_options
from wdstools.planning.plan import make_plan
from wdstools.planning.sizes import sample_bytes
from wdstools.progress import Progress, Silent
from wdstools.sources.account import account_of_pack, count_losses, counts_of, grouped
from wdstools.sources.open import open_source
from wdstools.writer import WORKER_MODULES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.executors.base import Executor
    from wdstools.options.declare import StrPath
    from wdstools.results import Skip
    from wdstools.stores.base import Store


@dataclass(frozen=True, slots=True)
class PackPreview:
    """What a pack would make, as far as names and sizes tell: no image was checked.

    ``samples`` and ``shards`` count by split; ``bytes`` is the approximate size of the shards. ``skipped`` counts what would
    be left out, by reason, and ``skips`` names it. ``account`` counts the source's files by class; ``outside`` lists files
    outside the layout: folder, extension, count, and the first names. ``losses`` is as in the result of ``pack``.
    """

    source: str
    samples: Mapping[str, int]
    shards: Mapping[str, int]
    bytes: int
    members: tuple[str, ...]
    skipped: Mapping[str, int]
    skips: tuple[Skip, ...]
    account: Mapping[str, int]
    outside: tuple[tuple[str, str, int, tuple[str, ...]], ...]
    notes: tuple[str, ...] = ()
    losses: int = 0


def plan_pack(
    source: StrPath,
    dest: StrPath | Store,
    *,
    executor: Executor | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **choices: Unpack[PackChoices],
) -> PackPreview:
    """Plan what ``pack`` would write to ``dest``; images are read only if they are compared. Raises what ``pack`` raises."""
    options, chosen = make_options(**choices), settle(PackChoices, choices)
    refuse_inside(os.fspath(source), dest)
    site_at(dest).refuse_taken()
    with (
        tempfile.TemporaryDirectory(prefix="wdstools-") as scratch,
        workers(executor, "processes", jobs, WORKER_MODULES) as at_work,
    ):
        listing = open_source(source, scratch=os.path.join(scratch, "unpacked"), **part(LayoutChoices, chosen)).list()
        plan, notes = make_plan(listing, options, at_work, progress or Silent())
        size = sample_bytes(plan.first(), listing.opener, plan.members)
    samples: dict[str, int] = {}
    shards: dict[str, int] = {}
    for split, _, start, stop in plan.bounds:
        samples[split] = samples.get(split, 0) + stop - start
        shards[split] = shards.get(split, 0) + 1
    return PackPreview(
        source=os.fspath(source),
        samples=samples,
        shards=shards,
        bytes=size * plan.count,
        members=plan.members,
        skipped=counts_of(plan.skips),
        skips=plan.skips,
        account=account_of_pack(listing.account, plan.files(), "samples"),
        outside=tuple(grouped(plan.skips)),
        notes=(*listing.notes, *listing.differences, *notes),
        losses=count_losses(plan.skips),
    )
