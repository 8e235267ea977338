"""Fit a source to an existing dataset: its members, its labels and their numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import UsageError, WdsError, option
from wdstools.formats.sample import MEMBER_ORDER
from wdstools.planning.table import Samples
from wdstools.results import Skip
from wdstools.sources.base import entry_part, other_members, path_part
from wdstools.sources.several import MORE_CAPTIONS
from wdstools.units import counted, some_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import Manifest
    from wdstools.sources.base import Listing

#: The columns that hold a member of samples, or say where it is.
_PARTS = {
    "txt": ("caption_suffix", "caption", "caption_entry"),
    "json": ("json_suffix", "json", "json_entry", MORE_CAPTIONS),
    "cls": ("label", "cls"),
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A listing with the members of the dataset, and notes about it.

    ``listing.labels`` are those of the dataset, then the source's new ones; ``left_out`` are members that the dataset does
    not have.
    """

    listing: Listing
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def fit(listing: Listing, dataset: Dataset, *, missing: str) -> Fitted:
    """Leave out members that the dataset lacks, refuse a source that lacks one of the dataset's, and number labels alike.

    ``missing`` is ``skip`` or ``empty``, for samples that lack an extra member. If the dataset lists the captions of every
    sample, so will these samples. Raises UsageError (``members-missing``, ``labels-unlike``).
    """
    manifest = dataset.manifest
    _refuse_other_images(listing, manifest)
    listing = _with_lists(listing, dataset)
    wanted, given = manifest.beside_image, other_members(listing)
    samples = Samples(listing.samples)
    skips = list(listing.skips)
    lacking = [member for member in wanted if member not in given]
    if lacking and (missing != "empty" or {"txt", "cls"}.intersection(lacking)):
        raise _lacking(manifest, lacking, [member for member in given if _has(samples, member).any()])
    left_out = []
    for member in given:
        count = int(_has(samples, member).sum())
        if member not in wanted and count:
            left_out.append(member)
            detail = f"in {counted(count, 'sample')}: the dataset has no {member}"
            skips.append(Skip("member-left-out", f"*.{member}", detail=detail))
    for member in wanted:
        if member not in MEMBER_ORDER and missing == "skip" and len(samples):
            there = _has(samples, member)
            detail = f"no {member}: --members-missing empty keeps it"
            rows = np.flatnonzero(~there)
            skips += samples.skips(rows, "member-missing", [detail] * len(rows))
            samples = samples.keep(there)
    notes: list[str] = []
    labels: tuple[str, ...] = ()
    if "cls" in wanted:
        samples, labels = _number_labels(samples, listing.labels, manifest, skips, notes)
    fitted = replace(listing, samples=samples.table, labels=labels, skips=tuple(skips))
    return Fitted(fitted, tuple(notes), tuple(left_out))


def _with_lists(listing: Listing, dataset: Dataset) -> Listing:
    """The listing, with captions to be listed in ``json`` if the dataset's are, even if the source has no lists."""
    samples = listing.samples
    held = {"txt", "json"}.issubset(dataset.manifest.members) and "txt" in other_members(listing)
    if not held or listing.several != "all" or MORE_CAPTIONS in samples.column_names or not _lists_captions(dataset):
        return listing
    none = pa.nulls(samples.num_rows, pa.large_string())
    members = (*listing.members, "json") if listing.members and "json" not in listing.members else listing.members
    return replace(listing, samples=samples.append_column(MORE_CAPTIONS, none), members=members)


def _lists_captions(dataset: Dataset) -> bool:
    """Whether the ``json`` of the dataset's samples lists their captions, judging by the first."""
    split = next((name for name, entries in dataset.manifest.splits.items() if any(e.samples for e in entries)), None)
    if split is None:
        return False
    try:
        document = json.loads(dataset.split(split)[0]["json"])
    except (WdsError, ValueError, RecursionError):  # damage is reported where samples are rewritten
        return False
    captions = document.get("captions") if isinstance(document, dict) else None
    return isinstance(captions, list) and all(isinstance(caption, str) for caption in captions)


def _refuse_other_images(listing: Listing, manifest: Manifest) -> None:
    """Refuse a source with images for a dataset without, and one without images for a dataset with."""
    if bool(listing.image_types) != bool(manifest.image_extension):
        raise UsageError(
            "only one of the dataset and the source has images",
            code="members-missing",
            expected=", ".join(manifest.members),
            got=", ".join([*sorted(listing.image_types), *other_members(listing)]),
        )


def _lacking(manifest: Manifest, lacking: Sequence[str], given: Sequence[str]) -> UsageError:
    hint = ""
    if lacking == ["txt"]:
        hint = f"add {option('captions', 'optional')} to append images without captions"
    elif not {"txt", "cls"}.intersection(lacking):
        hint = f"add {option('members_missing', 'empty')} to append them empty"
    if "cls" in lacking:
        classes = f"{option('recipe', 'labels')} if its folders are classes, or if it is itself the folder of a class"
        hint = f"say where the labels are: {classes}; or {option('image', 'img/{label}/{id}.jpg')}"
    return UsageError(
        "no sample of the source has a member that every sample of the dataset has",
        code="members-missing",
        where=", ".join(lacking),
        expected=", ".join(manifest.beside_image),
        got=", ".join(given) or "images only",
        hint=hint,
    )


def _has(samples: Samples, member: str) -> NDArray[np.bool_]:
    """Which samples have a member."""
    there = np.zeros(len(samples), bool)
    for part in _PARTS.get(member, (entry_part(member), path_part(member))):
        there |= samples.there(part)
    return there


def _number_labels(
    samples: Samples, given: Sequence[str], manifest: Manifest, skips: list[Skip], notes: list[str]
) -> tuple[Samples, tuple[str, ...]]:
    """The samples with labels by name, or by number if neither side has names; and all labels, new ones last."""
    known = manifest.labels
    named, numbered = samples.there("label"), samples.there("cls")
    if not known:
        if named.any():
            raise UsageError(
                "the dataset has only class numbers, and the source has class names",
                code="labels-unlike",
                got=some_of(list(given)),
                hint="pack both again from their sources, with the same labels",
            )
        return samples, ()
    labels = samples.texts("label")
    by_number = np.flatnonzero(numbered & ~named)
    if len(by_number):
        numbers = samples.texts("cls")
        lost = np.zeros(len(samples), bool)
        for row in by_number.tolist():
            if numbers[row] < len(known):
                labels[row] = known[numbers[row]]
            else:
                lost[row] = True
        rows = np.flatnonzero(lost)
        details = [f"class {numbers[row]}, and the dataset has {counted(len(known), 'label')}" for row in rows.tolist()]
        skips += samples.skips(rows, "label-unknown", details)
        notes.append(f"{len(by_number):,} samples have only a class number: it is taken as the dataset's own number")
        samples, labels = samples.keep(~lost), [label for row, label in enumerate(labels) if not lost[row]]
    samples = samples.with_column("label", [labels], pa.dictionary(pa.int32(), pa.string()))
    if "cls" in samples.table.column_names:
        samples = Samples(samples.table.drop_columns(["cls"]))
    return samples, (*known, *(label for label in given if label not in known))
