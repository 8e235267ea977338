"""The samples of a listing that can be packed: each with its key, one per key, of one image type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import FormatError, UsageError, option
from wdstools.foreign.split_names import DEFAULT_SPLIT
from wdstools.formats.image_types import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.formats.sample import KEY_BYTES, fit_key, make_key, order_hash, plain_keys
from wdstools.planning.place import in_order
from wdstools.planning.table import Samples
from wdstools.results import Skip
from wdstools.sources.base import join_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.sources.base import Listing


#: What provenance says about keys that begin with their split.
SPLIT_IN_KEY = "{split}/{key}"


@dataclass(frozen=True, slots=True)
class Keyed:
    """Samples with keys, skips for those that cannot have one, and whether keys begin with the split."""

    samples: Samples
    skips: list[Skip]
    split_in_key: bool
    notes: tuple[str, ...] = ()


def with_keys(listing: Listing, seed: int, limit: int = KEY_BYTES) -> Keyed:
    """The samples with a ``key`` of at most ``limit`` bytes and its ``order_hash``; ids that cannot have one are skipped.

    If two splits have samples of the same name, every key begins with its split, so both stay; the notes say so.
    """
    given = bool(listing.split_in_key)
    samples, skips = _with_keys(listing, seed, limit, split_in_key=given)
    if listing.split_in_key is None and (shared := shared_by_splits(samples)) is not None:
        samples, skips = _with_keys(listing, seed, limit, split_in_key=True)
        return Keyed(samples, skips, split_in_key=True, notes=(note_of_splits(shared),))
    return Keyed(samples, skips, given)


def note_of_splits(key: str) -> str:
    """The note for samples of the same name in several splits."""
    return f"keys begin with their split, because several splits have samples of the same name, like {key}"


def image_extension(types: Mapping[str, int], *, only: str | None, convert: str | None) -> str:
    """The one image extension of a dataset: the requested one, otherwise that of most images.

    Raises UsageError if no image is of a type that can be stored unchanged.
    """
    if convert or only:
        return convert or only or ""
    storable = [kind for kind in STORABLE_TYPES if types.get(kind)]
    if storable:
        return max(storable, key=lambda kind: types[kind])
    raise UsageError(
        "images of this type cannot be stored in shards unchanged",
        code="image-types",
        got=", ".join(f"{count:,} {kind}" for kind, count in sorted(types.items())),
        expected="one of jpg, png, webp",
        hint=f"add {option('convert', 'jpg')} to re-encode them",
    )


def _with_keys(listing: Listing, seed: int, limit: int, *, split_in_key: bool) -> tuple[Samples, list[Skip]]:
    skips: list[Skip] = []
    listed = Samples(listing.samples)
    parts = (listing.label_in_key, split_in_key)
    keys = [_keys(part, parts, limit, skips) for part in listed.parts()]
    hashes = [np.fromiter((order_hash(key or b"", seed) for key in part), np.uint64, len(part)) for part in keys]
    samples = listed.with_column("key", keys, pa.large_binary()).with_column("order_hash", hashes, pa.uint64())
    return (samples.keep(samples.there("key")) if skips else samples), skips


def shared_by_splits(samples: Samples) -> str | None:
    """A key that samples in two of the source's splits have; None if there is none."""
    codes, names = samples.named("split")
    if len(names) + bool((codes < 0).any()) < _SEVERAL:
        return None
    hashes = samples.numbers("order_hash")
    order = np.argsort(hashes, kind="stable")
    tied = np.flatnonzero((hashes[order][1:] == hashes[order][:-1]) & (codes[order][1:] != codes[order][:-1]))
    for at in tied.tolist():
        one, other = samples.take(order[at : at + 2]).texts("key")
        if one == other:
            return str(one.decode())
    return None


_SEVERAL = 2


def _keys(samples: Samples, parts: tuple[bool, bool], limit: int, skips: list[Skip]) -> Sequence[bytes | None]:
    """Keys of samples; ``parts`` says whether they contain the label and the split."""
    labels, folders, stems, given = map(samples.texts, ("label", "id_dir", "stem", "key"))
    label_in_key, split_in_key = parts
    splits = [split or DEFAULT_SPLIT for split in samples.texts("split")] if split_in_key else []
    if any(given) and not all(given):  # some have their own key
        own = [number for number, key in enumerate(given) if key is None]
        made = dict(zip(own, _keys(samples.take(own), parts, limit, skips), strict=True))
        rest = [number for number, key in enumerate(given) if key is not None]
        made |= dict(zip(rest, _keys(samples.take(rest), parts, limit, skips), strict=True))
        return [made[number] for number in range(len(given))]
    if any(given):
        if split_in_key:
            given = [
                f"{make_key(None, split.encode()).decode()}/{key}" for split, key in zip(splits, given, strict=True)
            ]
        return [fit_key(key.encode(), limit) for key in given]
    ids = [join_path(folder, stem) for folder, stem in zip(folders, stems, strict=True)]
    if not label_in_key:
        labels = [None] * len(ids)
    if split_in_key:
        labels = [join_path(split, label) if label else split for split, label in zip(splits, labels, strict=True)]
    keys = plain_keys(labels, ids, limit)
    return keys if keys is not None else [_key(*named, limit, skips) for named in zip(labels, ids, strict=True)]


def _key(label: str | None, sample_id: str, limit: int, skips: list[Skip]) -> bytes | None:
    try:
        return make_key(label, sample_id.encode(), limit)
    except FormatError as error:
        skips.append(Skip(error.code, sample_id, detail=error.got))
        return None


def keep_type(samples: Samples, wanted: str) -> tuple[Samples, list[Skip]]:
    """Only the samples of this image type by their file names (``--only``)."""
    keep = np.array([kind == wanted for kind in _kinds(samples)], bool)
    return samples.keep(keep), samples.skips(np.flatnonzero(~keep), f"image-not-{wanted}")


def keep_storable(samples: Samples, extension: str) -> tuple[Samples, list[Skip]]:
    """Only the samples of the dataset's image type by their file names."""
    kinds = _kinds(samples)
    keep = np.array([kind == extension for kind in kinds], bool)
    rows = np.flatnonzero(~keep)
    why = dict.fromkeys(TYPE_OF_EXTENSION.values(), "does not go into a shard as it is")
    why |= dict.fromkeys(STORABLE_TYPES, f"most images are {extension}, and a dataset has one type")
    details = [f"{kinds[row]}: {why[kinds[row]]}: add --convert {extension}" for row in rows.tolist()]
    return samples.keep(keep), samples.skips(rows, "image-needs-convert", details)


def _kinds(samples: Samples) -> list[str]:
    return [TYPE_OF_EXTENSION[suffix[1:].lower()] for suffix in samples.texts("image_suffix")]


def keep_labelled(samples: Samples) -> tuple[Samples, list[Skip]]:
    """Only the samples with a label, for a dataset in which every sample has a ``cls``."""
    labelled = samples.there("label") | samples.there("cls")
    if labelled.all():
        return samples, []
    return samples.keep(labelled), samples.skips(np.flatnonzero(~labelled), "label-missing")


def drop_repeated(samples: Samples) -> tuple[Samples, list[Skip]]:
    """Of samples with the same key keep the one with the smallest image path, whatever the order of the listing."""
    order, repeated = in_order(samples)
    if not len(repeated):
        return samples, []
    return samples.take(order), samples.skips(repeated, "key-duplicate")
