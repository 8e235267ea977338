"""Which sample lies in which shard, and where: a pure function of keys, seed and counts.

Nothing here opens a file. The order of the listing does not matter, and a shard's content depends on its own samples
alone: that is what makes packing the same on any number of workers and after any interruption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from wdstools.errors import FormatError, UsageError
from wdstools.formats.arrow import one_chunk, to_array, to_list, to_numpy, valid
from wdstools.formats.manifest import is_split_name
from wdstools.formats.sample import make_key, order_hash, plain_keys
from wdstools.images.check import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.results import Skip
from wdstools.sources.base import join_path, text_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from wdstools.formats.manifest import Manifest
    from wdstools.sources.base import Listing

DEFAULT_SHARD_SAMPLES = 10_000
_PART_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ShardLayout:
    """How a split is divided: by samples a shard, into a given number, or as another manifest is."""

    shard_samples: int = DEFAULT_SHARD_SAMPLES
    shards: int | None = None
    like: Manifest | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shard_samples < 1:
            raise UsageError("a shard holds at least one sample", where="--shard-samples", got=str(self.shard_samples))
        if self.shards is not None and not 1 <= self.shards < 10**6:
            raise UsageError(
                "number of shards out of range", where="--shards", expected="1 to 999999", got=str(self.shards)
            )
        if not 0 <= self.seed < 2**53:
            raise UsageError("seed out of range", where="--seed", expected="0 to 2**53 - 1", got=str(self.seed))

    def count(self, split: str, samples: int) -> int:
        """Number of shards of a split with this many scanned samples."""
        if self.like is not None:
            if split not in self.like.splits:
                raise UsageError(
                    "the manifest given with --like has no such split",
                    where=split,
                    expected=", ".join(self.like.splits),
                )
            return len(self.like.splits[split])
        return self.shards or -(-samples // self.shard_samples)


@dataclass(frozen=True, slots=True)
class PackPlan:
    """Every sample in its place. ``order`` lists the rows of ``samples`` by split, shard, order hash and key.

    ``bounds`` lists, for each shard in manifest order, its split, number and half-open range of ``order``. The table is
    not sorted: that would be a second copy of it. ``leaks`` counts groups of same images in both of two splits, where
    images were compared.
    """

    samples: pa.Table
    order: NDArray[np.int64]
    bounds: tuple[tuple[str, int, int, int], ...]
    skips: tuple[Skip, ...]
    image_extension: str
    members: tuple[str, ...]
    leaks: Mapping[str, int] | None = None

    def rows(self, start: int, stop: int) -> pa.Table:
        """The samples of a range of the order."""
        samples = self.samples.drop_columns(["order_hash"])
        return samples.take(to_array(self.order[start:stop], pa.int64()))


def image_extension(types: Mapping[str, int], *, only: str | None, convert: str | None) -> str:
    """The one image extension of a dataset; raises UsageError when the choice is the user's."""
    if convert or only:
        return convert or only or ""
    if len(types) == 1 and (found := next(iter(types))) in STORABLE_TYPES:
        return found
    counted = ", ".join(f"{count:,} {kind}" for kind, count in sorted(types.items()))
    most = max((t for t in types if t in STORABLE_TYPES), key=lambda t: types[t], default="jpg")
    raise UsageError(
        "the images are of more than one type" if len(types) > 1 else "images of this type do not go into shards",
        code="image-types",
        got=counted,
        expected="one of jpg, png, webp",
        hint=f"add --convert {most} to re-encode the others"
        + (f", or --only {most} to leave them out" if most in types else ""),
    )


def with_keys(listing: Listing, seed: int) -> tuple[pa.Table, list[Skip]]:
    """The samples with a ``key`` and its ``order_hash`` for each; ids that cannot have one are skipped."""
    skips: list[Skip] = []
    keys: list[pa.Array] = []
    hashes: list[pa.Array] = []
    for part in _parts(listing.samples):
        made = _keys(part, listing.label_in_key, skips)
        keys.append(to_array(made, pa.large_binary()))
        hashes.append(to_array(np.fromiter((order_hash(key or b"", seed) for key in made), np.uint64), pa.uint64()))
    samples = listing.samples.drop_columns(["key"]) if "key" in listing.samples.column_names else listing.samples
    samples = samples.append_column("key", pa.chunked_array(keys, pa.large_binary()))
    samples = samples.append_column("order_hash", pa.chunked_array(hashes, pa.uint64()))
    return (samples.filter(pc.is_valid(samples.column("key"))) if skips else samples), skips


def _keys(samples: pa.Table, label_in_key: bool, skips: list[Skip]) -> Sequence[bytes | None]:
    labels, folders, stems, given = text_columns(samples, ("label", "id_dir", "stem", "key"))
    if any(given):
        return [key.encode() for key in given]
    ids = [join_path(folder, stem) for folder, stem in zip(folders, stems, strict=True)]
    if not label_in_key:
        labels = [None] * len(ids)
    keys = plain_keys(labels, ids)
    return keys if keys is not None else [_key(*named, skips) for named in zip(labels, ids, strict=True)]


def _key(label: str | None, sample_id: str, skips: list[Skip]) -> bytes | None:
    try:
        return make_key(label, sample_id.encode())
    except FormatError as error:
        skips.append(Skip(error.code, sample_id, detail=error.got))
        return None


def _parts(samples: pa.Table) -> Iterator[pa.Table]:
    """A table in slices, so that only a few of its values are Python objects at a time."""
    for start in range(0, samples.num_rows, _PART_ROWS):
        yield samples.slice(start, _PART_ROWS)


def keep_type(samples: pa.Table, wanted: str) -> tuple[pa.Table, list[Skip]]:
    """Only the samples whose file name says this image type (``--only``)."""
    suffixes = to_list(samples.column("image_suffix"))
    keep = np.array([TYPE_OF_EXTENSION[suffix[1:].lower()] == wanted for suffix in suffixes], bool)
    return samples.filter(to_array(keep, pa.bool_())), _skip_rows(samples, np.flatnonzero(~keep), f"image-not-{wanted}")


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
    order, repeated = _break_ties(np.argsort(hashes, kind="stable"), hashes, samples)
    if not len(repeated):
        return samples, []
    return samples.take(to_array(order, pa.int64())), _skip_rows(samples, repeated, "key-duplicate")


def place(samples: pa.Table, layout: ShardLayout) -> tuple[NDArray[np.int64], tuple[tuple[str, int, int, int], ...]]:
    """Sort samples with different keys and with splits into shards; gives their rows in order, and shards' bounds."""
    hashes = to_numpy(samples.column("order_hash"))
    order, _ = _break_ties(np.argsort(hashes, kind="stable"), hashes, samples)
    splits = one_chunk(samples.column("split"))
    names = sorted({name for name in to_list(splits.dictionary) if name is not None})
    _refuse_names(names)
    codes = np.array([names.index(name) for name in to_list(splits.dictionary)], np.int64)[to_numpy(splits.indices)]
    parts: list[NDArray[np.int64]] = []
    bounds: list[tuple[str, int, int, int]] = []
    start = 0
    for code, split in enumerate(names):
        rows = order[codes[order] == code]
        if not len(rows) and layout.like is None:  # every sample of it was left out
            continue
        count = layout.count(split, len(rows))
        numbers = _shards_of(hashes[rows], count)
        edges = np.searchsorted(numbers, np.arange(count + 1))
        _refuse_empty(split, edges, layout)
        bounds += [(split, n, start + int(edges[n]), start + int(edges[n + 1])) for n in range(count)]
        parts.append(rows)
        start += len(rows)
    return np.concatenate(parts), tuple(bounds)


def _shards_of(hashes: NDArray[np.uint64], shards: int) -> NDArray[np.int64]:
    """``shard_of`` of each hash: hash * shards / 2**64 in two halves, neither of which overflows."""
    high, low = hashes >> np.uint64(32), hashes & np.uint64(2**32 - 1)
    return ((high * np.uint64(shards) + (low * np.uint64(shards) >> np.uint64(32))) >> np.uint64(32)).astype(np.int64)


def hash_keys(samples: pa.Table, hash_key: Callable[[bytes], int]) -> NDArray[np.uint64]:
    """A 64-bit hash of each sample's key."""
    parts = [
        np.fromiter(map(hash_key, to_list(part.column("key"))), np.uint64, part.num_rows) for part in _parts(samples)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint64)


def _refuse_names(names: list[str]) -> None:
    for name in names:
        if not is_split_name(name):
            raise UsageError(
                "not a split name",
                code="split-name",
                got=name,
                expected="letters, digits, _ and -, without 'tar' in it",
                hint="rename the folder, or name the split with --split",
            )


def _refuse_empty(split: str, edges: NDArray[np.int64], layout: ShardLayout) -> None:
    """An empty shard trips several readers, so it is not planned; ``--like`` must keep its number of shards."""
    if layout.like is None and np.any(edges[:-1] == edges[1:]):
        raise UsageError(
            "a shard would be empty",
            code="shards-too-many",
            where=f"split {split}",
            expected=f"fewer than {len(edges) - 1} shards for {int(edges[-1]):,} samples",
            hint=f"use --shards {max(1, int(edges[-1]) // 20)} or fewer, or --shard-samples 20 or more",
        )


def _break_ties(
    order: NDArray[np.int64], hashes: NDArray[np.uint64], samples: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order samples of one hash by key, and drop all but one of each key: the one whose image path is smallest."""
    tied = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if not len(tied):
        return order, np.zeros(0, np.int64)
    at = np.unique(np.concatenate((tied, tied + 1)))
    rows = order[at].tolist()
    chosen = samples.take(to_array(rows, pa.int64()))
    keys = dict(zip(rows, to_list(chosen.column("key")), strict=True))
    paths = dict(zip(rows, image_paths(chosen), strict=True))
    order[at] = sorted(rows, key=lambda row: (int(hashes[row]), keys[row], paths[row]))
    repeated = [b for a, b in zip(order[tied], order[tied + 1], strict=True) if keys[a] == keys[b]]
    return order[~np.isin(order, repeated)], np.array(repeated, np.int64)


def image_paths(samples: pa.Table) -> list[str]:
    """Path of each sample's image below the source's root."""
    columns = text_columns(samples, ("image_dir", "stem", "image_suffix"))
    return [join_path(folder, stem + suffix) for folder, stem, suffix in zip(*columns, strict=True)]


def _skip_rows(samples: pa.Table, rows: NDArray[Any], reason: str) -> list[Skip]:
    if not len(rows):
        return []
    chosen = samples.take(to_array(rows, pa.int64()))
    splits, keys = text_columns(chosen, ("split", "key"))
    return [
        Skip(reason, path, split, key.decode())
        for path, split, key in zip(image_paths(chosen), splits, keys, strict=True)
    ]


def slices(plan: PackPlan) -> Iterator[tuple[str, int, bytes]]:
    """Each shard's split, number and samples, the latter as Arrow IPC bytes that travel to a worker."""
    for split, number, start, stop in plan.bounds:
        yield split, number, to_ipc(plan.rows(start, stop))


def to_ipc(table: pa.Table) -> bytes:
    """A table as Arrow IPC bytes: of a slice, only its own rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def from_ipc(data: bytes) -> pa.Table:
    """A table from Arrow IPC bytes."""
    with pa.ipc.open_stream(data) as stream:
        return stream.read_all()
