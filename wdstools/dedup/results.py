"""What the search for duplicates returns: frozen values, as those of ``wdstools.results``."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.results import Proved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class DuplicateMember:
    """One image of a group. ``phash`` and ``phash16`` are its differing bits from the representative, of 64 and 256.

    ``turned``: it is the representative once one of them, or both, are turned as EXIF says.
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

    Each other one, or one that it is a closer copy of, was compared with the representative itself. ``captions`` counts different captions,
    ``low_information`` says that the image is nearly blank.
    """

    representative: str
    members: tuple[DuplicateMember, ...]
    captions: int = 0
    low_information: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that hold a member, sorted."""
        return tuple(sorted({member.split for member in self.members}))

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the members, sorted."""
        return tuple(sorted({member.label for member in self.members if member.label is not None}))


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """What a level finds: images that remain if of each group one is kept, groups, and the leak matrix.

    ``leaks["test"]["train"]`` counts images of test that are the same as one of train. ``false_pairs`` and
    ``false_pairs_bound``: pairs of different images that this level is expected to confuse among this many, and at
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
        """Images that are also in another split, counted in each."""
        return sum(count for others in self.leaks.values() for count in others.values())


@dataclass(frozen=True, slots=True)
class RepeatedCaption:
    """A caption, or a set of hashtags, that stands beside many images; ``keys`` are the first few of ``count``."""

    kind: str
    text: str
    count: int
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CaptionCounts:
    """Captions after normalisation: how many differ, are empty or over-long, and which repeat most."""

    distinct: int
    empty: int
    over_long: int
    repeated: int
    top: tuple[RepeatedCaption, ...] = ()


@dataclass(frozen=True, slots=True)
class DuplicateGroups:
    """How unique a dataset's images are. Iterates over its groups, the largest first.

    ``levels`` runs from ``exact`` to the level asked for; ``groups`` are those of the last (of ``method``
    ``size``: images of one width, height and file size). ``same_size_unique`` is what a count of different file sizes would call
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
    #: Of the images that were compared. Whoever made a picture can make it look like another to a hash, or unlike.
    proved: Proved = Proved.ACCIDENT

    @property
    def unique(self) -> int:
        """Images that remain if of each group one is kept."""
        return self.samples - sum(len(group.members) - 1 for group in self.groups)

    @property
    def across_splits(self) -> tuple[DuplicateGroup, ...]:
        """Groups with members in more than one split."""
        return tuple(group for group in self.groups if len(group.splits) > 1)

    def to_look_at(self) -> Iterator[DuplicateGroup]:
        """Each group once, the largest and the least certain in turn: what to show where not all can be shown."""
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
    """A small picture as a ``data:`` URI ("" if there is none), and the caption beside it."""

    picture: str
    caption: str
