"""The results of the search for duplicates: frozen values, like those of ``wdstools.results``."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.results import Proved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class DuplicateMember:
    """One image of a group. ``phash`` and ``phash16`` are how many bits, of 64 and of 256, differ from the representative.

    ``turned``: it is the same as the representative once one or both are rotated as EXIF says.
    """

    key: str
    split: str
    shard: str
    row: int
    label: str | None = None
    phash: int = 0
    phash16: int = 0
    identical: bool = False
    flipped: bool = False
    turned: bool = False


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Images that are the same at a level. ``members`` begins with the representative, the smallest key of all.

    Each other member, or one of which it is a closer copy, was compared directly with the representative. ``captions`` counts different captions,
    ``low_information`` says that the image is nearly blank.
    """

    representative: str
    members: tuple[DuplicateMember, ...]
    captions: int = 0
    low_information: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of the members, sorted."""
        return tuple(sorted({member.split for member in self.members}))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the members, sorted."""
        return tuple(sorted({member.label for member in self.members if member.label is not None}))


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """What a level finds: the images that remain if one of each group is kept, the groups, and the leak matrix.

    ``leaks["test"]["train"]`` is how many images of test are the same as one of train. ``false_pairs`` and
    ``false_pairs_bound``: how many pairs of different images this level is expected to confuse among this many, and at
    most (95 %), as measured on photographs.
    """

    level: str
    unique: int
    groups: int
    largest: int
    leaks: Mapping[str, Mapping[str, int]]
    false_pairs: float = 0.0
    false_pairs_bound: float = 0.0

    @property
    def leaking(self) -> int:
        """The number of images that are also in another split, counted in each."""
        return sum(count for others in self.leaks.values() for count in others.values())


@dataclass(frozen=True, slots=True)
class RepeatedCaption:
    """A caption, or a set of hashtags, of many images; ``keys`` are the first few of ``count``."""

    kind: str
    text: str
    count: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptionCounts:
    """Captions after normalisation: how many are different, empty or over-long, and which repeat most."""

    distinct: int
    empty: int
    over_long: int
    repeated: int
    top: tuple[RepeatedCaption, ...] = ()


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """How unique a dataset's images are. Iterates over its groups, the largest first.

    ``levels`` runs from ``exact`` to the requested level; ``groups`` are those of the last (with ``method``
    ``size``: images of one width, height and file size). ``same_size_unique`` is how many images a count of different file sizes would call
    unique. ``unreadable`` are images that could not be decoded: they are compared byte for byte only.
    """

    level: str
    method: str
    samples: int
    groups: tuple[DuplicateGroup, ...]
    levels: tuple[LevelCounts, ...]
    same_size_unique: int
    low_information: int = 0
    other_labels: int = 0
    other_captions: int = 0
    flipped: int = 0
    computed: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    captions: CaptionCounts | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    #: About the compared images. The maker of a picture can make it look like another one to a hash, or unlike it.
    proved: Proved = Proved.ACCIDENT

    @property
    def unique(self) -> int:
        """The number of images that remain if one of each group is kept."""
        return self.samples - sum(len(group.members) - 1 for group in self.groups)

    @property
    def across_splits(self) -> tuple[DuplicateGroup, ...]:
        """Groups with members in more than one split."""
        return tuple(group for group in self.groups if len(group.splits) > 1)

    def to_look_at(self) -> Iterator[DuplicateGroup]:
        """Each group once, the largest and the least certain in turn: the order for showing only some of them."""
        doubtful = sorted(self.groups, key=lambda group: -max(member.phash16 for member in group.members))
        seen: set[str] = set()
        for group in itertools.chain.from_iterable(zip(self.groups, doubtful, strict=True)):
            if group.representative not in seen:
                seen.add(group.representative)
                yield group

    def __iter__(self) -> Iterator[DuplicateGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small picture as a ``data:`` URI ("" if there is none), and its caption."""

    picture: str
    caption: str
