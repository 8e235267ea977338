"""Compares images by hashes and small pictures, component by component, compiled."""

from __future__ import annotations

import numpy as np

from wdstools.dedup.hamming import find, popcount, rest_alike
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
from wdstools.kernels import inlined, jit, step

_PIXELS, _CELLS = LUMA_SIDE * LUMA_SIDE, COLOUR_SIDE * COLOUR_SIDE


@inlined
def _lead(component, data, limits, result, scratch):  # type: ignore[no-untyped-def]
    """Assign each row to the first leader that is the same image, or make it a leader; followers from a stricter level keep theirs."""
    leader, how = result
    leaders, apart = scratch
    count = 0
    for row in range(component[0], component[1]):
        if leader[row] != row:
            how[row] = how[leader[row]]
            leader[row] = leader[leader[row]]
            continue
        for at in range(count):
            how[row] = same(data, limits, (row, leaders[at]), apart)
            if how[row]:
                leader[row] = leaders[at]
                break
        if leader[row] == row:
            leaders[count] = row
            count += 1


@jit
def cluster(starts, data, limits, result, own, scratch):  # type: ignore[no-untyped-def]
    """In each component, find the leaders in order, then which rows are linked, and with which categories.

    ``scratch`` is scratch space: one number per row, and that for ``same``.
    """
    leader, parent, near, how = result
    for component in range(len(starts) - 1):
        start, stop = starts[component], starts[component + 1]
        _lead((start, stop), data, limits, (leader, how), scratch)
        for row in range(start, stop):
            for other in range(start, row):
                mine, theirs = find(parent, row), find(parent, other)
                if mine == theirs and (own[other] & ~near[row]) | (own[row] & ~near[other]) == np.uint64(0):
                    continue  # already known
                if same(data, limits, (row, other), scratch[1]):
                    near[row] |= own[other]
                    near[other] |= own[row]
                    parent[max(theirs, mine)] = min(theirs, mine)


@step
def same(data, limits, pair, apart):  # type: ignore[no-untyped-def]
    """How two images are the same: directly, mirrored, or with one or both rotated; 0 if they are not.

    ``apart`` is scratch space for the differences of their pixels.
    """
    words, mirrored, looks, low, second, vague = data
    for way in range(4 if limits[4] else 1):
        a = second[pair[0]] if way & 1 else pair[0]
        b = second[pair[1]] if way & 2 else pair[1]
        if a < 0 or b < 0:
            continue
        for turned in range(2 if limits[4] else 1):
            other = mirrored if turned else words
            alike = vague[a] or vague[b] or _hashes_alike(words[a], other[b], limits)
            # a hash and that of the mirror image have different medians: the two directions may differ by a bit
            if not alike and turned:
                alike = _hashes_alike(words[b], mirrored[a], limits)
            if alike and _pixels_alike(looks[a], looks[b], (low[a] or low[b], turned), limits, apart):
                return FLIPPED if turned else DIRECT
    return 0


@step
def _hashes_alike(a, b, limits):  # type: ignore[no-untyped-def]
    return popcount(a[0] ^ b[0]) <= np.uint64(limits[0]) and rest_alike(a, b, limits[1])


@inlined
def _pixels_alike(a, b, how, limits, apart):  # type: ignore[no-untyped-def]
    """Whether two lumas are alike: by mean absolute difference and normalised correlation, from exact integer sums, and locally."""
    low, mirrored = how
    difference = sum_a = sum_b = sum_aa = sum_bb = sum_ab = np.int64(0)
    for at in range(_PIXELS):
        x = np.int64(a[at])
        y = np.int64(b[at ^ (LUMA_SIDE - 1)]) if mirrored else np.int64(b[at])
        apart[at] = x - y
        difference += abs(x - y)
        sum_a += x
        sum_b += y
        sum_aa += x * x
        sum_bb += y * y
        sum_ab += x * y
    if difference > (np.int64(NEAR_PIXELS * _PIXELS) if low else limits[2]):
        return False
    local, chroma = (4 * NEAR_LOCAL, 3 * NEAR_CHROMA) if low else (limits[5], limits[6])
    if not _locally_alike(apart, local) or not _colours_alike(a, b, chroma, mirrored):
        return False
    covariance = _PIXELS * sum_ab - sum_a * sum_b
    spread = float(_PIXELS * sum_aa - sum_a * sum_a) * float(_PIXELS * sum_bb - sum_b * sum_b)
    return low or limits[3] <= -1.0 or covariance > limits[3] * np.sqrt(spread)


@inlined
def _locally_alike(apart, limit):  # type: ignore[no-untyped-def]
    """Whether no sum of the differences of 2x2 neighbours is larger, and no single pixel exceeds 1.5 times their mean.

    Text printed on a picture changes single pixels much more than re-encoding does.
    """
    largest = np.int64(0)
    for at in range(_PIXELS):
        largest = max(largest, abs(apart[at]) * 8 // 3)
    for row in range(LUMA_SIDE, _PIXELS, LUMA_SIDE):
        for at in range(row + 1, row + LUMA_SIDE):
            total = apart[at] + apart[at - 1] + apart[at - LUMA_SIDE] + apart[at - LUMA_SIDE - 1]
            largest = max(largest, abs(total))
    return largest <= limit


@inlined
def _colours_alike(a, b, chroma, mirrored):  # type: ignore[no-untyped-def]
    """Whether no cell differs by more in alpha, or in a colour's distance from gray (times three)."""
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
def first_matches(data, limits, sides, unknown, found, apart):  # type: ignore[no-untyped-def]
    """For each row of one side, the first row of the other side in its component that is the same image."""
    mine, theirs, starts, their_starts, offset = sides
    other, how = found
    for component in range(len(starts) - 1):
        for at in range(starts[component], starts[component + 1]):
            row = mine[at]
            if not unknown[row - offset]:
                continue
            for place in range(their_starts[component], their_starts[component + 1]):
                how[row - offset] = same(data, limits, (row, theirs[place]), apart)
                if how[row - offset]:
                    other[row - offset] = theirs[place]
                    break


KERNELS, MATCHING = (cluster,), (first_matches,)
