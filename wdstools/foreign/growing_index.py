"""The growing columns of a foreign shard's index."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.formats.index import VALUE_COLUMNS, build_index, hashes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

#: All but ``label``, which depends on the names of classes, unknown here.
_DESCRIBED = tuple(name for name in VALUE_COLUMNS if name != "label")
_SAMPLE = ("key", "offset", "length", "xxh3_128", *_DESCRIBED)
_MEMBER = ("row", "ext", "offset", "size", "xxh3_64")


class ForeignColumns:
    """Each of ``sample`` has one value per sample, each of ``member`` one per member; ``row`` is the number of its sample.

    Members are in the order of the tar; those of a sample need not be adjacent. ``extensions`` has those of each sample.
    """

    def __init__(self) -> None:
        self.sample: dict[str, list[Any]] = {name: [] for name in _SAMPLE}
        self.member: dict[str, list[Any]] = {name: [] for name in _MEMBER}
        self.extensions: list[list[str]] = []

    def __len__(self) -> int:
        return len(self.extensions)

    def open(self, key: str, start: int) -> int:
        """Begin a sample; returns its number."""
        for values in self.sample.values():
            values.append(None)
        self.sample["key"][-1] = key
        self.sample["offset"][-1] = start
        self.extensions.append([])
        return len(self.extensions) - 1

    def add(self, row: int, extension: str, place: tuple[int, int], digest: int) -> None:
        """Add a member to a sample; ``place`` is the offset and size of its payload."""
        self.extensions[row].append(extension)
        for name, value in zip(_MEMBER, (row, extension, *place, digest), strict=True):
            self.member[name].append(value)

    def add_whole(
        self, samples: Sequence[list[Any]], extensions: Sequence[list[str]], members: Sequence[list[int]]
    ) -> None:
        """Add samples (columns of key, offset, length, digest), the extensions of each, and their members' offset, size and digest."""
        row, count = len(self), len(extensions)
        for name, values in zip(("key", "offset", "length", "xxh3_128"), samples, strict=True):
            self.sample[name] += values
        for name in _DESCRIBED:
            self.sample[name] += [None] * count
        self.extensions += map(list.copy, extensions)
        self.member["row"] += [at for at, found in enumerate(extensions, row) for _ in found]
        self.member["ext"] += chain.from_iterable(extensions)
        for name, values in zip(("offset", "size", "xxh3_64"), members, strict=True):
            self.member[name] += values

    def drop_empty_tail(self) -> None:
        """Remove samples at the end that have no member."""
        while self.extensions and not self.extensions[-1]:
            self.extensions.pop()
            for values in self.sample.values():
                values.pop()

    def samples_with(self) -> Counter[str]:
        """How many samples have each extension."""
        found: Counter[str] = Counter()
        for extensions, count in Counter(map(tuple, self.extensions)).items():
            for extension in dict.fromkeys(extensions):
                found[extension] += count
        return found

    def key_hashes(self) -> NDArray[np.uint64]:
        """XXH3-64 of each key, in row order."""
        return hashes_of(self.sample["key"])

    def table(self, split: str) -> pa.Table:
        """The index."""
        rows = np.array(self.member["row"], np.int64)
        members: dict[str, Any] = {name: self.member[name] for name in _MEMBER[1:]}
        if np.any(rows[1:] < rows[:-1]):
            order = np.argsort(rows, kind="stable").tolist()
            members = {name: [values[at] for at in order] for name, values in members.items()}
        counts = np.bincount(rows, minlength=len(self)).tolist()
        return build_index({**self.sample, "split": [split] * len(self)}, {**members, "count": counts})
