"""What counts as the same image: the one table of thresholds, with what each was measured to find and to confuse."""

from __future__ import annotations

from dataclasses import dataclass

from wdstools.errors import UsageError

#: Side in pixels of the gray thumbnail that decides the second check.
LUMA_SIDE = 32
#: Images whose thumbnail has a smaller standard deviation have too little in them for a hash: blanks, skies, text.
LOW_INFORMATION_STD = 10.0


@dataclass(frozen=True, slots=True)
class Level:
    """Two images are the same at this level if every limit holds.

    ``phash`` and ``phash16`` are numbers of differing bits, of 64 and of 256; ``difference`` is the largest mean
    absolute difference of the 32x32 luma (0 to 255), ``correlation`` the smallest normalised correlation of the same.
    ``flips``: also with one of the two mirrored. Images of low information must be within NEAR_PIXELS at any level.
    ``false_pairs`` of ``tested_pairs`` pairs of crops of different photographs passed
    (``benchmarks/uniqueness_quality.py``).
    """

    name: str
    phash: int
    phash16: int
    difference: float
    correlation: float
    flips: bool
    false_pairs: int
    tested_pairs: int


EXACT = "exact"
NEAR_PIXELS = 1.0
LEVELS = (
    Level("re-encode", 2, 10, NEAR_PIXELS, -1.0, flips=False, false_pairs=0, tested_pairs=72_360_000),
    Level("edited", 10, 60, 255.0, 0.8, flips=True, false_pairs=0, tested_pairs=72_360_000),
)
LEVEL_NAMES = (EXACT, *(level.name for level in LEVELS))


def check_level(name: str) -> None:
    """Raise UsageError for a level that there is not."""
    if name not in LEVEL_NAMES:
        raise UsageError("no such level", where="--level", expected=", ".join(LEVEL_NAMES), got=name)


def levels_up_to(name: str) -> tuple[Level, ...]:
    """The levels beyond ``exact`` up to and including one, the strictest first."""
    check_level(name)
    return LEVELS[: LEVEL_NAMES.index(name)]


def expected_false_pairs(level: Level, images: int) -> tuple[float, float]:
    """How many pairs of different images would pass among this many: the estimate, and a 95 % upper bound.

    A straight line from what was tested; with none seen the bound is the rule of three, 3 / tested. The tested pairs
    were crops of few photographs: for what differs from those it is a guide, not a guarantee.
    """
    pairs = images * (images - 1) / 2
    bound = level.false_pairs + 2 * level.false_pairs**0.5 + 3
    return pairs * level.false_pairs / level.tested_pairs, pairs * bound / level.tested_pairs
