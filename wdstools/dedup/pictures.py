"""Comparing images by hashes and by small pictures, component by component, compiled."""

from __future__ import annotations

import numpy as np

from wdstools.dedup.hamming import find, popcount, rest_alike, unite
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
from wdstools.kernels import jit

_PIXELS, _CELLS = LUMA_SIDE * LUMA_SIDE, COLOUR_SIDE * COLOUR_SIDE


@jit
def cluster(starts, data, limits, result, own):  # type: ignore[no-untyped-def]
    """In each component: leaders first come, then who is linked with whom, and with which categories."""
    leader, parent, near, how = result
    leaders = np.empty(len(leader), np.int64)
    for component in range(len(starts) - 1):
        start, stop = starts[component], starts[component + 1]
        _lead(start, stop, data, limits, (leader, how, leaders))
        for row in range(start, stop):
            for other in range(start, row):
                known = (own[other] & ~near[row]) | (own[row] & ~near[other]) == np.uint64(0)
                if known and find(parent, row) == find(parent, other):
                    continue
                if same(data, limits, row, other):
                    near[row] |= own[other]
                    near[other] |= own[row]
                    unite(parent, row, other)


@jit
def _lead(start, stop, data, limits, result):  # type: ignore[no-untyped-def]
    """Each row follows the first leader that it is the same as, or leads; a stricter level's followers stay with theirs."""
    leader, how, leaders = result
    count = 0
    for row in range(start, stop):
        if leader[row] != row:
            how[row] = how[leader[row]]
            leader[row] = leader[leader[row]]
            continue
        for at in range(count):
            how[row] = same(data, limits, row, leaders[at])
            if how[row]:
                leader[row] = leaders[at]
                break
        if leader[row] == row:
            leaders[count] = row
            count += 1


@jit
def same(data, limits, a, b):  # type: ignore[no-untyped-def]
    """Whether two images are the same: directly, or one mirrored, or one turned or both; 0 if not."""
    how = _same_way(data, limits, a, b)
    if how or not limits[4]:
        return how
    second = data[4]
    other, another = second[a], second[b]
    if other >= 0:
        how = _same_way(data, limits, other, b)
    if not how and another >= 0:
        how = _same_way(data, limits, a, another)
    if not how and other >= 0 and another >= 0:
        how = _same_way(data, limits, other, another)
    return how


@jit
def _same_way(data, limits, a, b):  # type: ignore[no-untyped-def]
    """The same for two images, each one way round."""
    words, mirrored, luma, low, _, vague = data
    blind = vague[a] or vague[b]
    if (blind or _hashes_alike(words[a], words[b], limits)) and _pixels_alike(
        luma[a], luma[b], limits, low[a] or low[b], False
    ):
        return DIRECT
    if (
        limits[4]
        # a hash and that of the mirror image have medians of their own: the two ways round may differ by a bit
        and (blind or _hashes_alike(words[a], mirrored[b], limits) or _hashes_alike(words[b], mirrored[a], limits))
        and _pixels_alike(luma[a], luma[b], limits, low[a] or low[b], True)
    ):
        return FLIPPED
    return 0


@jit
def _hashes_alike(a, b, limits):  # type: ignore[no-untyped-def]
    return popcount(a[0] ^ b[0]) <= np.uint64(limits[0]) and rest_alike(a, b, limits[1])


@jit
def _pixels_alike(a, b, limits, low, mirrored):  # type: ignore[no-untyped-def]
    """Mean absolute difference and normalised correlation of two lumas, from exact integer sums, and what is local."""
    difference = sum_a = sum_b = sum_aa = sum_bb = sum_ab = np.int64(0)
    for at in range(_PIXELS):
        x = np.int64(a[at])
        y = np.int64(b[at ^ (LUMA_SIDE - 1)]) if mirrored else np.int64(b[at])
        difference += abs(x - y)
        sum_a += x
        sum_b += y
        sum_aa += x * x
        sum_bb += y * y
        sum_ab += x * y
    if difference > (np.int64(NEAR_PIXELS * _PIXELS) if low else limits[2]):
        return False
    local, chroma = (4 * NEAR_LOCAL, 3 * NEAR_CHROMA) if low else (limits[5], limits[6])
    if _largest_local(a, b, mirrored) > local or not _colours_alike(a, b, chroma, mirrored):
        return False
    if low or limits[3] <= -1.0:
        return True
    covariance = _PIXELS * sum_ab - sum_a * sum_b
    spread = float(_PIXELS * sum_aa - sum_a * sum_a) * float(_PIXELS * sum_bb - sum_b * sum_b)
    return covariance > limits[3] * np.sqrt(spread)


@jit
def _largest_local(a, b, mirrored):  # type: ignore[no-untyped-def]
    """The largest difference of the sums of 2x2 neighbours of two lumas, or of a single pixel where that is 1.5 times their mean.

    Words that are printed on a picture change single pixels much more than encoding it again does.
    """
    largest = 0
    above = np.zeros(LUMA_SIDE, np.int64)
    for row in range(LUMA_SIDE):
        before = np.int64(0)
        for column in range(LUMA_SIDE):
            at = row * LUMA_SIDE + column
            here = np.int64(a[at]) - np.int64(b[at ^ (LUMA_SIDE - 1)] if mirrored else b[at])
            largest = max(largest, int(abs(here)) * 8 // 3)
            if row and column:
                largest = max(largest, abs(here + before + above[column] + above[column - 1]))
            if column:
                above[column - 1] = before
            before = here
        above[LUMA_SIDE - 1] = before
    return largest


@jit
def _colours_alike(a, b, chroma, mirrored):  # type: ignore[no-untyped-def]
    """Whether in no cell the alpha, or a colour's distance from gray (three times over), differs by more."""
    for cell in range(_CELLS):
        mine = _PIXELS + 4 * cell
        theirs = _PIXELS + 4 * (cell ^ (COLOUR_SIDE - 1) if mirrored else cell)
        if abs(np.int64(a[mine + 3]) - np.int64(b[theirs + 3])) > NEAR_ALPHA:
            return False
        total = np.int64(0)
        for channel in range(3):
            total += np.int64(a[mine + channel]) - np.int64(b[theirs + channel])
        for channel in range(3):
            if abs(3 * (np.int64(a[mine + channel]) - np.int64(b[theirs + channel])) - total) > chroma:
                return False
    return True


@jit
def first_matches(data, limits, sides, unknown, other, how):  # type: ignore[no-untyped-def]
    """For each row of one side the first of the other side, in its component, that it is the same as."""
    mine, theirs, starts, their_starts, offset = sides
    for component in range(len(starts) - 1):
        for at in range(starts[component], starts[component + 1]):
            row = mine[at]
            if not unknown[row - offset]:
                continue
            for place in range(their_starts[component], their_starts[component + 1]):
                found = same(data, limits, row, theirs[place])
                if found:
                    other[row - offset] = theirs[place]
                    how[row - offset] = found
                    break


KERNELS, MATCHING = (cluster,), (first_matches,)
