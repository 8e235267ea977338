"""What a pack will write: image type, members, splits, shards and order, decided before anything is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import to_ipc
from wdstools.formats.sample import key_bytes
from wdstools.planning.alike import Pictures
from wdstools.planning.duplicates import Division, divide
from wdstools.planning.place import place
from wdstools.planning.samples import drop_repeated, image_extension, keep_labelled, keep_storable, keep_type, with_keys
from wdstools.planning.table import Samples
from wdstools.sources.base import first_skips, other_members

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.executors.base import Executor
    from wdstools.planning.options import PackOptions
    from wdstools.progress import Progress
    from wdstools.results import Skip
    from wdstools.sources.base import Listing


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Every sample in its place. ``order`` lists the rows of ``samples`` by split, shard, order hash and key.

    ``bounds`` lists, for each shard in manifest order, its split, number and half-open range of ``order``. The table is
    not sorted: that would be a second copy of it. ``leaks`` counts groups of same images in both of two splits, where
    images were compared; ``split_in_key`` tells that keys begin with their split.
    """

    samples: pa.Table
    order: NDArray[np.int64]
    bounds: tuple[tuple[str, int, int, int], ...]
    skips: tuple[Skip, ...]
    members: tuple[str, ...]
    leaks: Mapping[str, int] | None = None
    split_in_key: bool = False

    def rows(self, start: int, stop: int) -> pa.Table:
        """The samples of a range of the order."""
        return Samples(self.samples.drop_columns(["order_hash"])).take(self.order[start:stop]).table


@dataclass(frozen=True, slots=True)
class Packable:
    """The samples of a listing that can be packed as far as names tell, one of each key, and why the others cannot."""

    samples: Samples
    skips: tuple[Skip, ...]
    image_extension: str
    members: tuple[str, ...]
    split_in_key: bool = False
    notes: tuple[str, ...] = ()


def packable(listing: Listing, options: PackOptions, beside: tuple[str, ...] | None = None) -> Packable:
    """Decide image type, members and keys; raises NothingLeftError, and UsageError where a choice is the user's.

    ``beside`` are the members beside the image where they are decided already.
    """
    convert = options.encoding.image_type if options.encoding else None
    rest = tuple(other_members(listing)) if beside is None else beside
    if listing.image_types:
        extension = image_extension(
            listing.image_types, only=options.only if convert is None else None, convert=convert
        )
        members = (extension, *rest)
    else:
        if listing.samples.num_rows:
            _refuse_image_options(options)
        extension, members = "", rest
    keyed = with_keys(listing, options.layout.seed, key_bytes(members))
    samples, skips = keyed.samples, [*listing.skips, *keyed.skips]
    if options.only is not None and set(listing.image_types) - {options.only}:
        samples, more = keep_type(samples, options.only)
        skips += more
    elif options.encoding is None and set(listing.image_types) - {extension}:
        samples, more = keep_storable(samples, extension)
        skips += more
    if "cls" in members:
        samples, more = keep_labelled(samples)
        skips += more
    if not len(samples):
        raise NothingLeftError(skips)
    samples, more = drop_repeated(samples)
    notes = keyed.notes
    if more and listing.recipe == "shards":
        again = f"{len(more):,} samples have keys that are in another shard too"
        notes = (*notes, f"{again}: --prefix-keys shard puts the tar's name before each key, and keeps them all")
    return Packable(samples, (*skips, *more), extension, members, keyed.split_in_key, notes)


def make_plan(
    listing: Listing, options: PackOptions, executor: Executor, progress: Progress
) -> tuple[PackPlan, list[str]]:
    """Decide image type, splits, shards and order; the only reading is that of images when splits are made by ratio."""
    like = options.layout.like
    found = packable(listing, options)
    members, skips = found.members, [*found.skips]
    pictures = Pictures(listing.opener, options.encoding, options.max_pixels, options.trailing)
    division = Division(options.splits, options.duplicates, options.layout.seed, images=bool(found.image_extension))
    divided = divide(found.samples, pictures, division, executor, progress)
    skips += divided.skips
    if like is not None and (
        like.members != members or like.labels != listing.labels or like.seed != options.layout.seed
    ):
        raise UsageError(
            f"the manifest given with {option('like')} is of another kind",
            where=option("like"),
            expected=f"members {','.join(like.members)}, {len(like.labels)} labels, seed {like.seed}",
            got=f"members {','.join(members)}, {len(listing.labels)} labels, seed {options.layout.seed}",
        )
    layout = options.layout
    if layout.shard_bytes is not None:
        from wdstools.planning.sizes import sample_bytes  # late: it knows how shards are written

        size = sample_bytes(divided.samples.table, listing.opener, members)
        layout = replace(layout, shard_samples=max(1, layout.shard_bytes // size))
    order, bounds = place(divided.samples, layout)
    plan = PackPlan(
        divided.samples.table, order, bounds, tuple(skips), members, divided.leaks, split_in_key=found.split_in_key
    )
    return plan, [*found.notes, *divided.notes]


def _refuse_image_options(options: PackOptions) -> None:
    """What can be done with images alone is refused where there is none."""
    rule = options.duplicates
    given = {
        "only": options.only,
        "resize": options.encoding.side if options.encoding else None,
        "convert": options.encoding.image_type if options.encoding else None,
        "duplicates": rule.action if rule.action != "keep" else None,
        "exclude_duplicates_of": ", ".join(rule.excluded) or None,
    }
    found = next(((name, value) for name, value in given.items() if value is not None), None)
    if found is not None:
        raise UsageError("no sample of this source has an image", code="no-images", where=option(*found))


class NothingLeftError(UsageError):
    """A source of which no sample can be packed; ``skips`` says why, sample by sample."""

    def __init__(self, skips: Sequence[Skip]) -> None:
        super().__init__(
            "no samples are left to pack",
            code="source-empty",
            where=f"{len(skips):,} skipped: {', '.join(sorted({skip.reason for skip in skips}))}",
            got=first_skips(skips),
        )
        self.skips = tuple(skips)


def slices(plan: PackPlan) -> Iterator[tuple[str, int, bytes]]:
    """Each shard's split, number and samples, the latter as Arrow IPC bytes that travel to a worker."""
    for split, number, start, stop in plan.bounds:
        yield split, number, to_ipc(plan.rows(start, stop))
