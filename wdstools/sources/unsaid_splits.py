"""Reports about splits that a source gives for only some samples, or that differ from how its files are divided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.foreign.split_names import DEFAULT_SPLIT, other_splits
from wdstools.results import Skip
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa


def inner_splits(tar: str, split: str | None, keys: Iterable[str]) -> Iterator[Skip]:
    """The skip that reports a tar with keys that name another split than the tar's."""
    if words := other_splits(split, keys):
        named = ", ".join(f"{word}/" for word in words)
        detail = f"keys lie in {named}, and all of them are of split {split}: --split NAME=FILE, repeated, divides them"
        yield Skip("split-unread", tar, split, detail=detail)


def without_split(samples: pa.Table) -> list[str]:
    """A note about samples without a given split, if others have one."""
    splits = samples.column("split")
    if not 0 < splits.null_count < samples.num_rows:
        return []
    unsaid = counted(splits.null_count, "sample")
    return [f"{unsaid} without a given split: into {DEFAULT_SPLIT}, unless --split says otherwise"]
