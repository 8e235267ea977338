"""The samples of a listing that can be packed: each with its key, one of each key, of one image type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wdstools.errors import FormatError
from wdstools.formats.arrow import one_chunk, to_array, to_list, to_numpy, valid
from wdstools.formats.sample import KEY_BYTES, fit_key, make_key, order_hash, plain_keys
from wdstools.images.check import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.planning.place import break_ties, in_parts
from wdstools.results import Skip
from wdstools.sources.base import image_paths, join_path, text_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.sources.base import Listing


def with_keys(listing: Listing, seed: int, limit: int = KEY_BYTES) -> tuple[pa.Table, list[Skip]]:
    """The samples with a ``key`` of at most ``limit`` bytes and its ``order_hash``; ids that cannot have one are skipped."""
    skips: list[Skip] = []
    keys: list[pa.Array] = []
    hashes: list[pa.Array] = []
    for part in in_parts(listing.samples):
        made = _keys(part, listing.label_in_key, limit, skips)
        keys.append(to_array(made, pa.large_binary()))
        hashes.append(to_array(np.fromiter((order_hash(key or b"", seed) for key in made), np.uint64), pa.uint64()))
    samples = listing.samples.drop_columns(["key"]) if "key" in listing.samples.column_names else listing.samples
    samples = samples.append_column("key", pa.chunked_array(keys, pa.large_binary()))
    samples = samples.append_column("order_hash", pa.chunked_array(hashes, pa.uint64()))
    return (samples.filter(pc.is_valid(samples.column("key"))) if skips else samples), skips


def _keys(samples: pa.Table, label_in_key: bool, limit: int, skips: list[Skip]) -> Sequence[bytes | None]:
    labels, folders, stems, given = text_columns(samples, ("label", "id_dir", "stem", "key"))
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


def keep_type(samples: pa.Table, wanted: str) -> tuple[pa.Table, list[Skip]]:
    """Only the samples whose file name says this image type (``--only``)."""
    suffixes = to_list(samples.column("image_suffix"))
    keep = np.array([TYPE_OF_EXTENSION[suffix[1:].lower()] == wanted for suffix in suffixes], bool)
    return samples.filter(to_array(keep, pa.bool_())), _skip_rows(samples, np.flatnonzero(~keep), f"image-not-{wanted}")


def keep_storable(samples: pa.Table) -> tuple[pa.Table, list[Skip]]:
    """Only the samples whose file name says a type that may lie in a shard as it is."""
    kinds = [TYPE_OF_EXTENSION[suffix[1:].lower()] for suffix in to_list(samples.column("image_suffix"))]
    keep = np.array([kind in STORABLE_TYPES for kind in kinds], bool)
    rows = np.flatnonzero(~keep)
    details = [f"{kinds[row]} does not go into a shard as it is: add --convert" for row in rows.tolist()]
    return samples.filter(to_array(keep, pa.bool_())), _skip_rows(samples, rows, "image-needs-convert", details)


def keep_labelled(samples: pa.Table) -> tuple[pa.Table, list[Skip]]:
    """Only the samples with a label, for a dataset whose every sample has a ``cls``."""
    labelled = valid(one_chunk(samples.column("label")))
    if "cls" in samples.column_names:
        labelled |= valid(one_chunk(samples.column("cls")))
    if labelled.all():
        return samples, []
    return samples.filter(to_array(labelled, pa.bool_())), _skip_rows(
        samples, np.flatnonzero(~labelled), "label-missing"
    )


def drop_repeated(samples: pa.Table) -> tuple[pa.Table, list[Skip]]:
    """Of samples with one key keep that whose image path is smallest, whatever order they were listed in."""
    hashes = to_numpy(samples.column("order_hash"))
    order, repeated = break_ties(np.argsort(hashes, kind="stable"), hashes, samples)
    if not len(repeated):
        return samples, []
    return samples.take(to_array(order, pa.int64())), _skip_rows(samples, repeated, "key-duplicate")


def _skip_rows(
    samples: pa.Table, rows: NDArray[Any], reason: str, details: Sequence[str | None] | None = None
) -> list[Skip]:
    if not len(rows):
        return []
    chosen = samples.take(to_array(rows, pa.int64()))
    splits, keys = text_columns(chosen, ("split", "key"))
    return [
        Skip(reason, path, split, key.decode(), detail)
        for path, split, key, detail in zip(
            image_paths(chosen), splits, keys, details or [None] * len(rows), strict=True
        )
    ]
