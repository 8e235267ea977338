"""ls and cat: what lies in a dataset, and one member of it."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import NotFoundError, UsageError
from wdstools.formats.sample import split_member_name
from wdstools.reader.split import Split, get_split_or_sample, reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.dataset import Dataset


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard as ``ls`` lists it."""

    split: str
    path: str
    samples: int
    bytes: int
    sha256: str
    xxh3_128: str


def list_shards(dataset: Dataset) -> Iterator[ShardInfo]:
    """Every shard, from the manifest alone."""
    for split, entry in dataset.manifest.shards:
        yield ShardInfo(split, entry.path, entry.samples, entry.bytes, entry.sha256, entry.xxh3_128)


def list_keys(dataset: Dataset, which: str) -> Iterator[str]:
    """The keys of a split, or of a shard by its path or file name."""
    if which in dataset.manifest.splits:
        yield from Split(dataset, which).keys()
        return
    for _, entry in dataset.manifest.shards:
        if which in (entry.path, entry.path.rpartition("/")[2], entry.path.rpartition("/")[2].removesuffix(".tar")):
            yield from reader_of(dataset, entry).keys
            return
    raise NotFoundError(
        "no such split or shard",
        where=which,
        expected=", ".join(dataset.manifest.splits),
        hint=f"wdstools ls {quote(dataset.metadata.url)}",
    )


def read_member(dataset: Dataset, name: str) -> bytes:
    """The payload of a member by its name in the tar (``london/123.jpg``), checked."""
    split = split_member_name(name)
    canonical = dataset.manifest.profile == "canonical"
    if split is None or (canonical and split[1] not in dataset.manifest.members):
        raise UsageError("not a member's name", where=name, expected="KEY." + ", KEY.".join(dataset.manifest.members))
    try:
        sample = get_split_or_sample(dataset, split[0])
    except KeyError:
        raise NotFoundError(
            "no such sample",
            code="sample-missing",
            where=split[0],
            hint=f"wdstools ls {quote(dataset.metadata.url)} SPLIT    lists the keys; bytes but letters, digits, _ and - are %XX in them",
        ) from None
    if isinstance(sample, Split):
        raise UsageError("this is a split, not a sample", where=split[0])
    if split[1] not in sample:
        raise NotFoundError("no such member", code="member-missing", where=name, expected=", ".join(sample))
    return sample[split[1]]
