"""Search and comparison for few images, with numpy alone: the same results as the compiled loops, without compiling them.

Compiling the loops takes seconds, and loading them most of a second: more than this code takes for a few thousand images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.dedup.forest import row_type
from wdstools.dedup.levels import (
    COLOUR_SIDE,
    DIRECT,
    FLIPPED,
    LUMA_SIDE,
    NEAR_ALPHA,
    NEAR_CHROMA,
    NEAR_LOCAL,
    NEAR_PIXELS,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wdstools.dedup.forest import Rows

#: Up to so many codes are each compared with all others.
FEW_CODES = 1 << 14
#: Up to so many pairs of images are compared here.
FEW_PAIRS = 1 << 17
#: The overhead of a component, in pairs.
_A_COMPONENT = 2
_PIXELS = LUMA_SIDE * LUMA_SIDE
_PAIRS_AT_ONCE = 256


class _Left:
    """Codes that are in no component yet."""

    def __init__(self, rows: Rows, words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None) -> None:
        self.rows = rows
        # the first words separately, as they are searched
        sets = (words,) if mirrored is None else (words, mirrored)
        self._sets = [(np.ascontiguousarray(codes[rows, 0]), codes[rows, 1:]) for codes in sets]

    def take(self, words: list[NDArray[np.uint64]], limits: tuple[int, int]) -> Rows:
        """Remove and return the codes that are like ``words``: directly, or with one of the two mirrored."""
        pairs = [(self._sets[0], words[0])]
        if len(words) > 1:
            pairs += [(self._sets[1], words[0]), (self._sets[0], words[1])]
        found = [_within(first, rest, code, limits) for (first, rest), code in pairs]
        hits = np.concatenate(found)
        taken = self.rows[hits]
        if len(hits):
            self._keep(np.delete(np.arange(len(self.rows)), hits))
            taken = np.unique(taken)
        return taken

    def pop(self) -> int:
        """Remove the first."""
        row = int(self.rows[0])
        self._keep(slice(1, None))
        return row

    def _keep(self, some: Any) -> None:
        self.rows = self.rows[some]
        self._sets = [(first[some], rest[some]) for first, rest in self._sets]


def _within(
    first: NDArray[np.uint64], rest: NDArray[np.uint64], code: NDArray[np.uint64], limits: tuple[int, int]
) -> NDArray[np.int64]:
    near = np.flatnonzero(np.bitwise_count(first ^ code[0]) <= limits[0])
    if not len(near):
        return near
    alike: NDArray[np.int64] = near[np.bitwise_count(rest[near] ^ code[1:]).sum(axis=1) <= limits[1]]
    return alike


def link(codes: NDArray[np.uint64], limits: tuple[int, int], mirrored: NDArray[np.uint64] | None) -> Rows:
    """As ``hamming.link``."""
    return _linked(codes, mirrored, limits, len(codes), within=True)


def link_across(
    words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, limits: tuple[int, int], first: int
) -> Rows:
    """The components of two sets, the ``first`` rows and those after them; rows within one set are not compared."""
    return _linked(words, mirrored, limits, first, within=False)


def _linked(
    words: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, limits: tuple[int, int], first: int, *, within: bool
) -> Rows:
    """Visit all rows reachable from each row, the smallest first; each is searched from once."""
    parent: Rows = np.arange(len(words), dtype=row_type(len(words)))
    sets = (words,) if mirrored is None else (words, mirrored)
    mine = _Left(parent[:first].copy(), words, mirrored)
    theirs = mine if within else _Left(parent[first:].copy(), words, mirrored)
    while len(mine.rows):
        root = mine.pop()
        reached = [root]
        while reached and (len(mine.rows) or len(theirs.rows)):
            row = reached.pop()
            other = theirs if row < first else mine
            found = other.take([codes[row] for codes in sets], limits)
            parent[found] = root
            reached.extend(found.tolist())
    return parent


def effort_of(starts: NDArray[np.int64]) -> int:
    """The effort for components that begin at ``starts`` (its last value is the end), in pairs."""
    sizes = np.diff(starts)
    return int((sizes * (sizes - 1) // 2).sum()) + _A_COMPONENT * len(sizes)


def pairs_across(starts: NDArray[np.int64], their_starts: NDArray[np.int64]) -> int:
    """The number of pairs in components of two sets, with one image of each set."""
    return int((np.diff(starts) * np.diff(their_starts)).sum())


def cluster(
    starts: NDArray[np.int64],
    data: tuple[Any, ...],
    limits: tuple[Any, ...],
    leader: NDArray[np.int64],
    own: NDArray[np.uint64],
) -> tuple[NDArray[np.uint8], NDArray[np.uint64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """How each row equals its leader, and its nearby categories; and the pairs that are the same. Writes ``leader``."""
    how, near = np.zeros(len(leader), np.uint8), own.copy()
    sizes = np.diff(starts).tolist()
    local = [np.tril_indices(size, -1) for size in sizes]
    nothing = [np.zeros(0, np.int64)]
    rows, others = (
        np.concatenate([*nothing, *(pair[side] + start for pair, start in zip(local, starts.tolist(), strict=False))])
        for side in (0, 1)
    )
    found = same(data, limits, rows, others)
    hits = np.flatnonzero(found)
    first, second = rows[hits], others[hits]
    np.bitwise_or.at(near, first, own[second])
    np.bitwise_or.at(near, second, own[first])
    at = 0
    for start, size, pair in zip(starts.tolist(), sizes, local, strict=False):
        ways = np.zeros((size, size), np.uint8)
        ways[pair] = found[at : at + len(pair[0])]
        at += len(pair[0])
        _lead(start, ways, leader, how)
    return how, near, (first, second)


def _lead(start: int, ways: NDArray[np.uint8], leader: NDArray[np.int64], how: NDArray[np.uint8]) -> None:
    """Assign each row to the first leader that is the same image, or make it a leader; followers from a stricter level keep theirs."""
    leaders: list[int] = []
    for number in range(len(ways)):
        row = start + number
        if leader[row] != row:
            how[row], leader[row] = how[leader[row]], leader[leader[row]]
            continue
        chosen = ways[number, leaders]
        hits = np.flatnonzero(chosen)
        if len(hits):
            how[row], leader[row] = chosen[hits[0]], start + leaders[hits[0]]
        else:
            leaders.append(number)


def same(
    data: tuple[Any, ...], limits: tuple[Any, ...], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The result of the compiled ``same`` for each pair."""
    how = np.zeros(len(a), np.uint8)
    second = data[4]
    ways = [(a, b)]
    if limits[4]:
        ways += [(second[a], b), (a, second[b]), (second[a], second[b])]
    for mine, theirs in ways:
        some = np.flatnonzero((how == 0) & (mine >= 0) & (theirs >= 0))
        how[some] = _same_way(data, limits, mine[some], theirs[some])
    return how


def _same_way(
    data: tuple[Any, ...], limits: tuple[Any, ...], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """The same for pairs of images, each in one orientation."""
    words, mirrored, looks, low, _, vague = data
    how = np.zeros(len(a), np.uint8)
    blind, strict = vague[a] | vague[b], low[a] | low[b]
    ways = [(DIRECT, _hashes_alike(words[a], words[b], limits))]
    if limits[4]:
        flipped = _hashes_alike(words[a], mirrored[b], limits) | _hashes_alike(words[b], mirrored[a], limits)
        ways.append((FLIPPED, flipped))
    for way, alike in ways:
        some = np.flatnonzero((how == 0) & (blind | alike))
        for start in range(0, len(some), _PAIRS_AT_ONCE):
            part = some[start : start + _PAIRS_AT_ONCE]
            pictures = _pixels_alike(looks[a[part]], looks[b[part]], limits, strict[part], mirrored=way == FLIPPED)
            how[part[pictures]] = way
    return how


def _hashes_alike(a: NDArray[np.uint64], b: NDArray[np.uint64], limits: tuple[Any, ...]) -> NDArray[np.bool_]:
    bits = np.bitwise_count(a ^ b)
    alike: NDArray[np.bool_] = (bits[:, 0] <= limits[0]) & (bits[:, 1:].sum(axis=1) <= limits[1])
    return alike


def _pixels_alike(
    a: NDArray[np.uint8], b: NDArray[np.uint8], limits: tuple[Any, ...], low: NDArray[np.bool_], *, mirrored: bool
) -> NDArray[np.bool_]:
    """Whether the small pictures of each pair are alike, by the same arithmetic as in the compiled loops."""
    step = -1 if mirrored else 1
    x = a[:, :_PIXELS].reshape(-1, LUMA_SIDE, LUMA_SIDE).astype(np.int16)
    y = b[:, :_PIXELS].reshape(-1, LUMA_SIDE, LUMA_SIDE)[:, :, ::step].astype(np.int16)
    apart = x - y
    alike: Any = _sums(np.abs(apart)) <= np.where(low, int(NEAR_PIXELS * _PIXELS), limits[2])
    alike &= _largest_local(apart) <= np.where(low, 4 * NEAR_LOCAL, limits[5])
    alike &= _colours_alike(a, b, np.where(low, 3 * NEAR_CHROMA, limits[6]), step)
    if limits[3] <= -1.0:
        return np.asarray(alike)
    sum_x, sum_y, (sum_xx, sum_yy, sum_xy) = _sums(x), _sums(y), _products(x, y)
    covariance = _PIXELS * sum_xy - sum_x * sum_y
    spread = (_PIXELS * sum_xx - sum_x * sum_x).astype(np.float64) * (_PIXELS * sum_yy - sum_y * sum_y)
    alike &= low | (covariance > limits[3] * np.sqrt(spread))
    return np.asarray(alike)


def _sums(pixels: NDArray[np.int16]) -> NDArray[np.int64]:
    return np.asarray(pixels.reshape(-1, _PIXELS).sum(axis=1, dtype=np.int64))


def _products(x: NDArray[np.int16], y: NDArray[np.int16]) -> list[NDArray[np.int64]]:
    """The sums of squares of two pictures, and of their products; each is below 2 ** 27."""
    a, b = (pixels.reshape(-1, _PIXELS).astype(np.int32) for pixels in (x, y))
    return [np.einsum("np,np->n", one, other).astype(np.int64) for one, other in ((a, a), (b, b), (a, b))]


def _largest_local(apart: NDArray[np.int16]) -> NDArray[np.int16]:
    """The largest difference of the sums of 2x2 neighbours, or of a single pixel if that exceeds 1.5 times their mean."""
    flat = apart.reshape(-1, _PIXELS)
    rows = flat[:, :-LUMA_SIDE] + flat[:, LUMA_SIDE:]
    blocks = rows[:, :-1] + rows[:, 1:]
    blocks[:, LUMA_SIDE - 1 :: LUMA_SIDE] = 0  # the end of one line and the start of the next
    largest: NDArray[np.int16] = np.maximum(np.abs(flat).max(axis=1) * 8 // 3, np.abs(blocks).max(axis=1))
    return largest


def _colours_alike(
    a: NDArray[np.uint8], b: NDArray[np.uint8], chroma: NDArray[np.float64], step: int
) -> NDArray[np.bool_]:
    """Whether no cell differs by more in alpha, or in a colour's distance from gray (times three)."""
    mine, theirs = (some[:, _PIXELS:].reshape(-1, COLOUR_SIDE, COLOUR_SIDE, 4) for some in (a, b))
    apart = mine.astype(np.int16) - theirs[:, :, ::step]
    red, green, blue, alpha = (apart[..., channel] for channel in range(4))
    total = red + green + blue
    alike: NDArray[np.bool_] = np.abs(alpha).max(axis=(1, 2)) <= NEAR_ALPHA
    for colour in (red, green, blue):
        alike &= np.abs(3 * colour - total).max(axis=(1, 2)) <= chroma
    return alike


def first_matches(
    data: tuple[Any, ...], limits: tuple[Any, ...], sides: tuple[Any, ...], unknown: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """For each row of one side, the first row of the other side in its component that is the same image (-1: none), and how."""
    mine, theirs, starts, their_starts, offset = sides
    other, how = np.full(len(unknown), -1, np.int64), np.zeros(len(unknown), np.uint8)
    nothing = [np.zeros(0, np.int64)]
    rows, others = list(nothing), list(nothing)
    for component in range(len(starts) - 1):
        asking = mine[starts[component] : starts[component + 1]]
        asking = asking[unknown[asking - offset]]
        asked = theirs[their_starts[component] : their_starts[component + 1]]
        rows.append(np.repeat(asking, len(asked)))
        others.append(np.tile(asked, len(asking)))
    first, second = np.concatenate(rows), np.concatenate(others)
    found = same(data, limits, first, second)
    hits = np.flatnonzero(found)[::-1]  # of several, the first is written last
    other[first[hits] - offset], how[first[hits] - offset] = second[hits], found[hits]
    return other, how
