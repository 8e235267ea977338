"""scan: report what a source contains and what a pack would skip, by names alone."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Unpack

from wdstools.errors import UsageError
from wdstools.executors.base import run_all
from wdstools.executors.open import executor_or_here
from wdstools.formats.arrow import to_list
from wdstools.planning.by_names import NothingLeftError, packable
from wdstools.planning.options import make_options
from wdstools.sources.account import account_of_pack, count_losses, counts_of, files_of, grouped
from wdstools.sources.base import other_members
from wdstools.sources.open import open_source

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from wdstools.executors.base import Executor, Tick
    from wdstools.options.declare import StrPath
    from wdstools.options.pack import LayoutChoices
    from wdstools.results import Skip
    from wdstools.sources.base import Listing, Source


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a scan found, by names only: no file was opened.

    ``samples`` counts samples by split and label ("" for none); ``skipped`` counts skips by reason;
    ``differences`` says where the source differs from what its recipe expects; ``image_types`` counts extensions.
    ``account`` counts the source's files by what would happen to them; ``outside`` lists files outside the layout: folder,
    extension, count, and the first names. ``losses`` is how many of ``skips`` may have been meant to be packed.
    """

    source: str
    recipe: str
    layout: str
    samples: Mapping[str, Mapping[str, int]]
    image_types: Mapping[str, int]
    members: tuple[str, ...]
    skipped: Mapping[str, int] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()
    unmatched: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    account: Mapping[str, int] = field(default_factory=dict)
    outside: tuple[tuple[str, str, int, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    losses: int = 0

    @property
    def total(self) -> int:
        """The total number of samples."""
        return sum(count for labels in self.samples.values() for count in labels.values())


def scan(source: Source | StrPath, *, executor: Executor | None = None, **layout: Unpack[LayoutChoices]) -> Inventory:
    """Report what a source contains, and what a pack would skip and why. No image is opened and nothing is written.

    Args:
        source: A folder, zip or tar of images and captions, a table, existing shards, or an opened source.
        executor: Does it, as one task: on a cluster, next to the files. Without one, this process does.
        **layout: How files form samples; see ``LayoutChoices``.

    Returns:
        The samples by split and label, and everything that would be left out.

    Raises:
        UsageError: An option is invalid, or no layout fits.
        StoreError: The source could not be read.
        FormatError: The source, or a recipe, cannot be parsed.
    """
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else str(source)
    opened = None if isinstance(source, str | os.PathLike) else source
    task = _ScanTask(name if opened is None else "", opened, layout)
    (found,) = run_all(executor_or_here(executor), _look, [task])
    return replace(found, source=name)


@dataclass(frozen=True, slots=True)
class _ScanTask:
    """What to scan: a path, or an opened source."""

    local_paths: ClassVar[tuple[str, ...]] = ("path",)

    path: str
    opened: Source | None
    layout: LayoutChoices


def _look(task: _ScanTask, tick: Tick) -> Inventory:
    """The inventory of one source."""
    del tick
    opened = open_source(task.path, **task.layout) if task.opened is None else task.opened
    return inventory(opened.list(), task.path)


def inventory(listing: Listing, source: str) -> Inventory:
    """The counts of a listing."""
    table, skips, members, notes = _packable(listing)
    columns = (to_list(table.column(name)) for name in ("split", "label"))
    counts = Counter(zip(*columns, strict=True))
    samples: dict[str, dict[str, int]] = {}
    for (split, label), count in sorted(counts.items(), key=lambda item: tuple(name or "" for name in item[0])):
        samples.setdefault(split or "", {})[label or ""] = count
    return Inventory(
        source=source,
        recipe=listing.recipe,
        layout=listing.template.get("image", ""),
        samples=samples,
        image_types=listing.image_types,
        members=members,
        skipped=counts_of(skips),
        skips=skips,
        unmatched=listing.unmatched,
        differences=listing.differences,
        account=account_of_pack(listing.account, files_of(table), "samples"),
        outside=tuple(grouped(skips)),
        notes=(*listing.notes, *notes),
        losses=count_losses(skips),
    )


_NOT_STORABLE = "no image is of a type that shards store unchanged: --convert jpg re-encodes them"


def _packable(listing: Listing) -> tuple[pa.Table, tuple[Skip, ...], tuple[str, ...], tuple[str, ...]]:
    """What a pack would take and leave out, its members, and its notes, decided by the same rules."""
    try:
        found = packable(listing, make_options())
    except NothingLeftError as error:
        return listing.samples.slice(0, 0), error.skips, tuple(other_members(listing)), ()
    except UsageError:
        members = (*sorted(listing.image_types), *other_members(listing))
        return listing.samples, listing.skips, members, (_NOT_STORABLE,)
    return found.samples.table, found.skips, found.members, found.notes
