"""Which samples of a listing can be packed, judging by names alone: image type, members, keys, one sample per key."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from wdstools.errors import UsageError, option
from wdstools.formats.sample import key_bytes
from wdstools.memory import free_bytes
from wdstools.planning.samples import (
    Keyed,
    drop_repeated,
    image_extension,
    keep_labelled,
    keep_storable,
    keep_type,
    with_keys,
)
from wdstools.sources.base import first_skips, other_members
from wdstools.units import counted, some_of
from wdstools.units import size as shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.planning.duplicates import DuplicateRule
    from wdstools.planning.options import PackOptions
    from wdstools.planning.table import Samples
    from wdstools.results import Skip
    from wdstools.sources.base import Listing


#: From this many samples on, a plan is made range by range; for fewer, everything at once takes up to a gigabyte.
LARGE = 4_000_000
#: About what a sample takes if all images are compared at once: its row, and the fingerprints of its image.
COMPARED_BYTES = 900


def by_ranges(listing: Listing, options: PackOptions) -> bool:
    """Whether a plan is made range by range: there are many samples, and no option needs all of them at once."""
    return listing.samples.num_rows >= LARGE and not options.duplicates.compares


def refuse_too_many_compared(listing: Listing, options: PackOptions) -> None:
    """Raise UsageError (``plan-too-large``) if too many images are to be compared for their data to fit in memory."""
    count = listing.samples.num_rows
    if not options.duplicates.compares or count < LARGE or count * COMPARED_BYTES <= (free := free_bytes()):
        return
    raise UsageError(
        "a plan that compares all images needs more memory than is free on this machine",
        code="plan-too-large",
        where=_asks_to_compare(options.duplicates),
        expected=f"at most about {free // COMPARED_BYTES:,} samples in {shown(free)}",
        got=f"{count:,} samples, about {shown(count * COMPARED_BYTES)}",
        hint="use a machine with more memory, or pack without this option and look for copies in the dataset: wdstools duplicates",
    )


def _asks_to_compare(rule: DuplicateRule) -> str:
    """The option that asks for the comparison."""
    if rule.action != "keep":
        return option("duplicates", rule.action)
    if rule.excluded:
        return option("exclude_duplicates_of", ", ".join(rule.excluded))
    return option("level", rule.level)


def refuse_unlike(listing: Listing, options: PackOptions, members: tuple[str, ...]) -> None:
    """Raise UsageError if the manifest given with ``like`` has other members or labels."""
    like = options.layout.like
    if like is None or (like.members == members and like.labels == listing.labels):
        return
    raise UsageError(
        f"the manifest given with {option('like')} does not fit this source",
        where=option("like"),
        expected=_members_and_labels(like.members, like.labels, but=listing.labels),
        got=_members_and_labels(members, listing.labels, but=like.labels),
    )


def _members_and_labels(members: tuple[str, ...], labels: tuple[str, ...], *, but: tuple[str, ...]) -> str:
    """Both, with the first labels that the other side (``but``) does not have."""
    own = sorted(set(labels) - set(but))
    return f"members {','.join(members)}, {counted(len(labels), 'label')}" + (
        f" (only here: {some_of(own)})" if own else ""
    )


@dataclass(frozen=True, slots=True)
class Packable:
    """The samples of a listing that can be packed, judging by names, one per key, and why the others cannot."""

    samples: Samples
    skips: tuple[Skip, ...]
    image_extension: str
    members: tuple[str, ...]
    split_in_key: bool
    notes: tuple[str, ...]


def packable(listing: Listing, options: PackOptions, beside: tuple[str, ...] | None = None) -> Packable:
    """Decide image type, members and keys; raises NothingLeftError, and UsageError where the user has to choose.

    ``beside`` are the members other than the image, if they are already decided.
    """
    extension, members = decide_members(listing, options, beside)
    keyed = fitting(listing, options, (extension, members))
    samples, skips = keyed.samples, [*listing.skips, *keyed.skips]
    if not len(samples):
        raise NothingLeftError(skips)
    samples, more = drop_repeated(samples)
    notes = (*keyed.notes, *note_of_repeated(listing, len(more)))
    return Packable(samples, (*skips, *more), extension, members, keyed.split_in_key, notes)


def decide_members(
    listing: Listing, options: PackOptions, beside: tuple[str, ...] | None = None
) -> tuple[str, tuple[str, ...]]:
    """The extension of images ("" if there are none), and all members."""
    convert = options.images.encoding.image_type if options.images.encoding else None
    rest = tuple(other_members(listing)) if beside is None else beside
    if not listing.image_types:
        if listing.samples.num_rows:
            _refuse_image_options(options)
        return "", rest
    extension = image_extension(listing.image_types, only=options.only if convert is None else None, convert=convert)
    return extension, (extension, *rest)


def fitting(listing: Listing, options: PackOptions, decided: tuple[str, tuple[str, ...]]) -> Keyed:
    """The samples with keys that can be packed, judging by names alone; repeated keys stay, and the others are skips."""
    extension, members = decided
    keyed = with_keys(listing, options.layout.seed, key_bytes(members))
    samples, skips = keyed.samples, keyed.skips
    if options.only is not None and set(listing.image_types) - {options.only}:
        samples, more = keep_type(samples, options.only)
        skips += more
    elif options.images.encoding is None and set(listing.image_types) - {extension}:
        samples, more = keep_storable(samples, extension)
        skips += more
    if "cls" in members:
        samples, more = keep_labelled(samples)
        skips += more
    return replace(keyed, samples=samples, skips=skips)


def note_of_repeated(listing: Listing, count: int) -> tuple[str, ...]:
    """A note on what to do if samples from shards have the same key."""
    if not count or listing.recipe != "shards":
        return ()
    again = f"the keys of {count:,} samples also occur in another shard"
    return (f"{again}: --prefix-keys shard puts the tar's name before each key and keeps them all",)


def _refuse_image_options(options: PackOptions) -> None:
    """Refuse options that only apply to images, for a source that has none."""
    rule = options.duplicates
    given = {
        "only": options.only,
        "resize": options.images.encoding.side if options.images.encoding else None,
        "convert": options.images.encoding.image_type if options.images.encoding else None,
        "duplicates": rule.action if rule.action != "keep" else None,
        "exclude_duplicates_of": ", ".join(rule.excluded) or None,
    }
    found = next(((name, value) for name, value in given.items() if value is not None), None)
    if found is not None:
        raise UsageError("no sample in this source has an image", code="no-images", where=option(*found))


class NothingLeftError(UsageError):
    """No sample of the source can be packed; ``skips`` says why, sample by sample."""

    def __init__(self, skips: Sequence[Skip]) -> None:
        super().__init__(
            "no samples are left to pack",
            code="source-empty",
            where=f"{len(skips):,} skipped: {', '.join(sorted({skip.reason for skip in skips}))}",
            got=first_skips(skips),
        )
        self.skips = tuple(skips)
