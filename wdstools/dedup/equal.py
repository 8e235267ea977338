"""Which of many codes are equal: a table of those seen so far, over a part of all codes at a time, so that it stays small."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.kernels import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The table is made for about so many codes, as a power of two: it then takes 400 MB at most.
_BITS_AT_ONCE = 24


def equal_many(
    codes: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, takes: NDArray[np.bool_] | None, first: NDArray[Any]
) -> None:
    """Write into ``first``, which has each row's own number, what ``forest.equal_codes`` gives."""
    count = len(codes)
    codes = np.ascontiguousarray(codes)
    more = codes[:, :0] if mirrored is None else np.ascontiguousarray(mirrored)
    tags = codes[:, 0] if codes.shape[1] == 1 and mirrored is None else _mix(codes, more)
    everyone = np.ones(count, bool) if takes is None else takes
    # nobody who makes codes knows the salt: no choice of theirs fills one part of the table
    salt, bits = np.uint64(secrets.randbits(64)), max(0, (count - 1).bit_length() - _BITS_AT_ONCE)
    for part, size in enumerate(_sizes(tags, everyone, salt, bits).tolist()):
        slots = 1 << (2 * size + 1).bit_length()
        table = np.full(slots, -1, first.dtype), np.empty(slots, np.uint64)
        _link_equal((codes, more), (tags, everyone), (salt, bits, np.uint64(part)), table, first)


@jit
def _mixed(value):  # type: ignore[no-untyped-def]
    """The finaliser of MurmurHash3."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    value ^= value >> np.uint64(33)
    return value


@jit
def _mix(words, more):  # type: ignore[no-untyped-def]
    """A 64-bit hash of each row, of both sets of words."""
    mixed = np.empty(len(words), np.uint64)
    for row in range(len(words)):
        value = np.uint64(0x9E3779B97F4A7C15)
        for word in range(words.shape[1]):
            value = _mixed(value ^ words[row, word])
        for word in range(more.shape[1]):
            value = _mixed(value ^ more[row, word])
        mixed[row] = value
    return mixed


@jit
def _sizes(tags, takes, salt, bits):  # type: ignore[no-untyped-def]
    """How many codes are in each part."""
    sizes = np.zeros(1 << bits, np.int64)
    if not bits:
        sizes[0] = len(tags)
        return sizes
    for row in range(len(tags)):
        if takes[row]:
            sizes[_mixed(tags[row] ^ salt) >> np.uint64(64 - bits)] += 1
    return sizes


@jit
def _link_equal(sets, known, part, table, first):  # type: ignore[no-untyped-def]
    """Of the codes of one part, each that is equal to one before it gets that one's row."""
    codes, more = sets
    tags, takes = known
    salt, bits, number = part
    slots, seen = table
    last = np.uint64(len(slots) - 1)
    for row in range(len(tags)):
        if not takes[row]:
            continue
        mixed = _mixed(tags[row] ^ salt)
        if bits and mixed >> np.uint64(64 - bits) != number:
            continue
        at = mixed & last
        while slots[at] >= 0:
            other = slots[at]
            if seen[at] == tags[row] and _equal(codes[row], codes[other]) and _equal(more[row], more[other]):
                first[row] = other
                break
            at = (at + np.uint64(1)) & last
        if slots[at] < 0:
            slots[at], seen[at] = row, tags[row]


@jit
def _equal(a, b):  # type: ignore[no-untyped-def]
    same = True
    for word in range(len(a)):
        same &= a[word] == b[word]
    return same
