"""Keys in a tar that lie in folders of splits, though the whole tar is of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.foreign.split_names import split_of_word
from wdstools.results import Skip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def inner_splits(tar: str, split: str | None, keys: Iterable[str]) -> Iterator[Skip]:
    """What to tell of a tar in which keys name another split than the tar's: nothing else would."""
    folders = {key.rpartition("/")[0] for key in keys if "/" in key}
    words = {word for folder in folders for word in folder.split("/") if split_of_word(word) not in (None, split)}
    if words:
        named = ", ".join(f"{word}/" for word in sorted(words))
        detail = f"keys lie in {named}, and all of them are of split {split}: --split NAME=FILE, repeated, divides them"
        yield Skip("split-unread", tar, split, detail=detail)
