"""What to tell of splits that a source says for some of its samples alone, or otherwise than its files are divided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.foreign.split_names import DEFAULT_SPLIT, other_splits
from wdstools.results import Skip
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa


def inner_splits(tar: str, split: str | None, keys: Iterable[str]) -> Iterator[Skip]:
    """What to tell of a tar in which keys name another split than the tar's: nothing else would."""
    if words := other_splits(split, keys):
        named = ", ".join(f"{word}/" for word in words)
        detail = f"keys lie in {named}, and all of them are of split {split}: --split NAME=FILE, repeated, divides them"
        yield Skip("split-unread", tar, split, detail=detail)


def without_split(samples: pa.Table) -> list[str]:
    """What to tell of samples of which nothing says the split, where it is said of others."""
    splits = samples.column("split")
    if not 0 < splits.null_count < samples.num_rows:
        return []
    unsaid = counted(splits.null_count, "sample")
    return [f"{unsaid} of which nothing says the split: into {DEFAULT_SPLIT}, unless --split says otherwise"]
