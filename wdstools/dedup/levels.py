"""Which images count as the same: the one table of thresholds, with measured rates of false matches."""

from __future__ import annotations

from dataclasses import dataclass

from wdstools.errors import UsageError, option

#: The side in pixels of the gray thumbnail for the second check.
LUMA_SIDE = 32
#: The side, in cells, of the small colour picture that goes with it: red, green, blue (on white) and alpha.
COLOUR_SIDE = 16
#: How two images are the same: directly, or with one mirrored.
DIRECT, FLIPPED = 1, 2
#: Images whose thumbnail has a smaller standard deviation have too little detail for a hash: blanks, skies, text.
LOW_INFORMATION_STD = 10.0


@dataclass(frozen=True, slots=True)
class Level:
    """Two images are the same at this level if every limit holds.

    ``phash`` and ``phash16`` are the most differing bits, of 64 and of 256; ``difference`` is the largest mean
    absolute difference of the 32x32 luma (0 to 255), ``correlation`` the smallest normalised correlation of the same.
    ``local`` is the largest difference of the mean of 2x2 neighbours of that luma, and two thirds of that of any one of its
    pixels: words on a picture, a small thing that moved; ``chroma`` the largest difference in a colour's distance from gray, over 16x16 cells.
    ``flips``: also if one of the two is mirrored, or rotated as its EXIF orientation says. Images of low information must be
    within NEAR_PIXELS, NEAR_LOCAL and NEAR_CHROMA at any level, and the alpha of any two within NEAR_ALPHA.
    ``false_pairs`` of ``tested_pairs`` pairs of crops of different photographs passed
    (``benchmarks/uniqueness_quality.py``).
    """

    name: str
    phash: int
    phash16: int
    difference: float
    correlation: float
    local: float
    chroma: float
    flips: bool
    false_pairs: int
    tested_pairs: int


EXACT = "exact"
NEAR_PIXELS, NEAR_LOCAL, NEAR_CHROMA, NEAR_ALPHA = 1.0, 4.0, 16.0, 32
_ANY = 255.0
LEVELS = (
    Level("re-encode", 2, 10, NEAR_PIXELS, -1.0, NEAR_LOCAL, NEAR_CHROMA, False, 0, 72_360_000),
    Level("edited", 10, 60, _ANY, 0.8, _ANY, 3 * _ANY, True, 0, 72_360_000),
)
#: What each level cannot tell apart.
LIMITS = {
    EXACT: "",
    "re-encode": "pictures count as the same if they differ only in details smaller than a thirtieth of their side, or fainter than 4 of 255",
    "edited": "pictures count as the same if they differ only in text, in colours or in a small part: look at the page before you drop any",
}
LEVEL_NAMES = (EXACT, *(level.name for level in LEVELS))


def check_level(name: str) -> None:
    """Raise UsageError for an unknown level."""
    if name not in LEVEL_NAMES:
        raise UsageError("no such level", where=option("level"), expected=", ".join(LEVEL_NAMES), got=name)


def levels_up_to(name: str) -> tuple[Level, ...]:
    """The levels after ``exact`` up to and including one, the strictest first."""
    check_level(name)
    return LEVELS[: LEVEL_NAMES.index(name)]


def expected_false_pairs(level: Level, images: int) -> tuple[float, float]:
    """How many pairs of different images would pass as the same among this many: an estimate, and a 95 % upper bound.

    Extrapolated linearly from the tested pairs; if none passed, the bound is the rule of three, 3 / tested. The tested pairs
    were crops of few photographs: for other kinds of images it is a guide, not a guarantee.
    """
    pairs = images * (images - 1) / 2
    bound = level.false_pairs + 2 * level.false_pairs**0.5 + 3
    return pairs * level.false_pairs / level.tested_pairs, pairs * bound / level.tested_pairs
