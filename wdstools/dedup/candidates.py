"""Finds, by 8 bytes of each image, which of very many images may be the same as another, so that only these are examined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.dedup.forest import equal_codes, in_company, merge
from wdstools.dedup.groups import link_prints
from wdstools.dedup.parts import linked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from wdstools.dedup.groups import Fingerprints
    from wdstools.dedup.levels import Level
    from wdstools.dedup.parts import Workers


@dataclass(frozen=True, slots=True)
class Outlines:
    """What is held in memory of each of very many images.

    Images that are equal in one of ``equal``, [N] uint64 each, may be the same. ``first`` [N] is the first word of each hash,
    ``hashed`` says which images have one. For a level that rotates images, ``whole`` has the data to compare of all of them.
    """

    equal: Sequence[NDArray[np.uint64]]
    first: NDArray[np.uint64]
    hashed: NDArray[np.bool_]
    whole: Fingerprints | None = None


def candidates(outlines: Outlines, widest: Level | None, workers: Workers) -> NDArray[np.int64]:
    """The rows, ascending, that may be the same as another at a level; all other rows are unique.

    At a level of few bits, first words alone leave few candidates. At one of many bits, where nearly every word has others nearby, the
    rest of the hash decides immediately.
    """
    parent, *more = (equal_codes(words.reshape(-1, 1)) for words in outlines.equal)
    for firsts in more:
        merge(parent, firsts)
    if outlines.whole is not None and widest is not None:
        merge(parent, link_prints(outlines.whole, outlines.hashed, widest, workers))
    elif widest is not None:
        near = linked(outlines.first.reshape(-1, 1), (widest.phash, 0), None, workers, outlines.hashed)
        merge(parent, near)
    return np.flatnonzero(in_company(parent))
