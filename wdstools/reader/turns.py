"""Whose turn it is when several sources are mixed: every source as often as its weight says, in any window.

The turns are a periodic sequence of sources. Its period D is the common denominator of the weights, and in a period source i
has exactly D * w_i turns. So a position's source, and how many turns a source had before it, are two look-ups.

Law 1: in every window of N positions that begins with an epoch, source i has more than N * w_i - 1 and fewer than
N * w_i + 1 turns.
Law 2: any other window is the difference of two such windows: less than 2 off; with two sources less than 1.

Proof. The sequence is that of Tijdeman's chairman assignment ("The chairman assignment problem", Discrete Mathematics 32,
1980). In turn t, of the sources that t * w_i - c_i >= 1 / (2k - 2) holds for, where c_i counts the turns that i had, the
one goes first whose next turn falls due first: that with the least (c_i + 1 - 1 / (2k - 2)) / w_i. By his theorem no source of k
is then ever more than 1 - 1 / (2k - 2) off: law 1, for any weights that sum to 1. A window from a to b has the turns of the window to b less those of the window to a; so by law 1 twice it is off by
less than 2. With two sources the bound is 1/2 for each of the two, hence at most 1; it is never 1, because t * w_1 - c_1 would have to be 1/2
at one end and -1/2 at the other, and of two sources with equal deviations the one that is 1/2 behind always goes first.
Law 1 with 1 in place of 2 for all windows of three or more sources cannot be had: each source would be spread evenly by itself, and no
sequence of three letters with three different, irrational frequencies is (Graham, "Covering the positive integers by disjoint sets
of the form {[n a + b]}", 1973).

If it also keeps law 1 and is more even over all windows, the sequence that always takes the source furthest behind is
used instead; ``_evenness`` measures both over a whole period.
"""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

#: The longest period. Weights with a greater common denominator are rounded to multiples of 1 / this.
LONGEST = 1 << 16
MOST_SOURCES = 256


class Turns:
    """The turns of sources with these weights: see the laws above. A pure function of the weights and the position."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.shares = _shares(weights)
        #: The number of turns after which the sequence repeats.
        self.period = sum(self.shares)
        self._sources = _sequence(self.shares)
        count = len(self.shares)
        self._before = np.zeros((self.period + 1, count), np.int64)
        np.cumsum(self._sources[:, np.newaxis] == np.arange(count), axis=0, out=self._before[1:])
        self._places = [np.flatnonzero(self._sources == source) for source in range(count)]

    @property
    def weights(self) -> tuple[Fraction, ...]:
        """The weights, which sum to 1."""
        return tuple(Fraction(share, self.period) for share in self.shares)

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Whose turn it is at these positions."""
        found: NDArray[np.int64] = self._sources[positions % self.period]
        return found

    def before(self, position: int) -> list[int]:
        """The number of turns of each source before a position."""
        whole, rest = divmod(position, self.period)
        counts = (int(number) for number in self._before[rest])
        return [whole * share + count for share, count in zip(self.shares, counts, strict=True)]

    def place(self, source: int, number: int) -> int:
        """The position of a source's turn, the first being number 0."""
        whole, rest = divmod(number, self.shares[source])
        return whole * self.period + int(self._places[source][rest])


def _shares(weights: Sequence[float]) -> list[int]:
    """Turns of each source in a period, for weights above 0 of any sum."""
    exact = [Fraction(str(weight)) for weight in weights]
    # 1/3 is written with sixteen digits: the nearest simple fraction is what was meant
    near = [number.limit_denominator(LONGEST) for number in exact]
    exact = [b if abs(a - b) <= a / (1 << 40) else a for a, b in zip(exact, near, strict=True)]
    whole = sum(exact)
    parts = [number / whole for number in exact]
    period = lcm(*(part.denominator for part in parts))
    if period <= LONGEST:
        return [int(part * period) for part in parts]
    shares = [int(part * LONGEST) for part in parts]
    if min(shares) < 1:
        raise UsageError(
            "a weight is too small compared with the others",
            where="weight",
            expected=f"at least 1/{LONGEST:,} of the sum",
            got=f"{float(min(parts)):.3g} of the sum",
        )
    rests = [part * LONGEST - share for part, share in zip(parts, shares, strict=True)]
    for source in sorted(range(len(shares)), key=lambda one: (-rests[one], one))[: LONGEST - sum(shares)]:
        shares[source] += 1
    return shares


def _sequence(shares: Sequence[int]) -> NDArray[np.int64]:
    """The sources of one period."""
    chairmen = np.fromiter(_chairmen(shares), np.int64, sum(shares))
    behind = np.fromiter(_furthest_behind(shares), np.int64, sum(shares))
    (reach, _), (other, farthest) = _evenness(chairmen, shares), _evenness(behind, shares)
    return behind if farthest < 1 and other < reach else chairmen


def _chairmen(shares: Sequence[int]) -> Iterator[int]:
    """Tijdeman's sequence, in whole numbers: everything is multiplied by the period and by 2k - 2."""
    whole, parts = sum(shares), max(1, 2 * len(shares) - 2)
    counts = [0] * len(shares)
    for turn in range(1, whole + 1):
        ready = [n for n, share in enumerate(shares) if parts * (turn * share - counts[n] * whole) >= whole]
        taken = min(ready or range(len(shares)), key=lambda n: ((parts * (counts[n] + 1) - 1) / shares[n], n))
        counts[taken] += 1
        yield taken


def _furthest_behind(shares: Sequence[int]) -> Iterator[int]:
    whole = sum(shares)
    lag = [0] * len(shares)
    for _ in range(whole):
        lag = [late + share for late, share in zip(lag, shares, strict=True)]
        taken = lag.index(max(lag))
        lag[taken] -= whole
        yield taken


def _evenness(sequence: NDArray[np.int64], shares: Sequence[int]) -> tuple[float, float]:
    """How far off the weights any window is at most, and any window from the beginning, over a period."""
    whole = len(sequence)
    reach = farthest = 0
    for source, share in enumerate(shares):
        lag = np.arange(1, whole + 1) * share - np.cumsum(sequence == source) * whole
        low, high = min(0, int(lag.min())), max(0, int(lag.max()))
        reach, farthest = max(reach, high - low), max(farthest, high, -low)
    return reach / whole, farthest / whole
