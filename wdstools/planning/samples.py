"""The samples of a listing that can be packed: each with its key, one of each key, of one image type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from wdstools.errors import FormatError
from wdstools.formats.sample import KEY_BYTES, fit_key, make_key, order_hash, plain_keys
from wdstools.images.check import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.planning.place import in_order
from wdstools.planning.table import Samples
from wdstools.results import Skip
from wdstools.sources.base import join_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.sources.base import Listing


def with_keys(listing: Listing, seed: int, limit: int = KEY_BYTES) -> tuple[Samples, list[Skip]]:
    """The samples with a ``key`` of at most ``limit`` bytes and its ``order_hash``; ids that cannot have one are skipped."""
    skips: list[Skip] = []
    listed = Samples(listing.samples)
    keys = [_keys(part, listing.label_in_key, limit, skips) for part in listed.parts()]
    hashes = [np.fromiter((order_hash(key or b"", seed) for key in part), np.uint64, len(part)) for part in keys]
    samples = listed.with_column("key", keys, pa.large_binary()).with_column("order_hash", hashes, pa.uint64())
    return (samples.keep(samples.there("key")) if skips else samples), skips


def _keys(samples: Samples, label_in_key: bool, limit: int, skips: list[Skip]) -> Sequence[bytes | None]:
    labels, folders, stems, given = map(samples.texts, ("label", "id_dir", "stem", "key"))
    if any(given):
        return [fit_key(key.encode(), limit) for key in given]
    ids = [join_path(folder, stem) for folder, stem in zip(folders, stems, strict=True)]
    if not label_in_key:
        labels = [None] * len(ids)
    keys = plain_keys(labels, ids, limit)
    return keys if keys is not None else [_key(*named, limit, skips) for named in zip(labels, ids, strict=True)]


def _key(label: str | None, sample_id: str, limit: int, skips: list[Skip]) -> bytes | None:
    try:
        return make_key(label, sample_id.encode(), limit)
    except FormatError as error:
        skips.append(Skip(error.code, sample_id, detail=error.got))
        return None


def keep_type(samples: Samples, wanted: str) -> tuple[Samples, list[Skip]]:
    """Only the samples whose file name says this image type (``--only``)."""
    keep = np.array([kind == wanted for kind in _kinds(samples)], bool)
    return samples.keep(keep), samples.skips(np.flatnonzero(~keep), f"image-not-{wanted}")


def keep_storable(samples: Samples) -> tuple[Samples, list[Skip]]:
    """Only the samples whose file name says a type that may lie in a shard as it is."""
    kinds = _kinds(samples)
    keep = np.array([kind in STORABLE_TYPES for kind in kinds], bool)
    rows = np.flatnonzero(~keep)
    details = [f"{kinds[row]} does not go into a shard as it is: add --convert" for row in rows.tolist()]
    return samples.keep(keep), samples.skips(rows, "image-needs-convert", details)


def _kinds(samples: Samples) -> list[str]:
    return [TYPE_OF_EXTENSION[suffix[1:].lower()] for suffix in samples.texts("image_suffix")]


def keep_labelled(samples: Samples) -> tuple[Samples, list[Skip]]:
    """Only the samples with a label, for a dataset whose every sample has a ``cls``."""
    labelled = samples.there("label") | samples.there("cls")
    if labelled.all():
        return samples, []
    return samples.keep(labelled), samples.skips(np.flatnonzero(~labelled), "label-missing")


def drop_repeated(samples: Samples) -> tuple[Samples, list[Skip]]:
    """Of samples with one key keep that whose image path is smallest, whatever order they were listed in."""
    order, repeated = in_order(samples)
    if not len(repeated):
        return samples, []
    return samples.take(order), samples.skips(repeated, "key-duplicate")
