"""Finds which of many codes are equal, with a table of those seen so far; it handles a part of all codes at a time, so that it stays small."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.kernels import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The table is made for about so many codes, as a power of two. It grows with the number of different ones: to 800 MB, briefly 1.2 GB.
_BITS_AT_ONCE = 24
_FIRST_SLOTS = 1 << 16


def equal_many(
    codes: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None, takes: NDArray[np.bool_] | None, first: NDArray[Any]
) -> None:
    """Write the result of ``forest.equal_codes`` to ``first``, which initially has each row's own number."""
    count = len(codes)
    codes = np.ascontiguousarray(codes)
    more = codes[:, :0] if mirrored is None else np.ascontiguousarray(mirrored)
    tags = codes[:, 0] if codes.shape[1] == 1 and mirrored is None else _mix(codes, more)
    everyone = np.ones(count, bool) if takes is None else takes
    # the salt is secret, so nobody can choose codes that all fall into one part of the table
    salt, bits = np.uint64(secrets.randbits(64)), max(0, (count - 1).bit_length() - _BITS_AT_ONCE)
    for part in range(1 << bits):
        table, row, held = _table(_FIRST_SLOTS, first), 0, 0
        while True:
            number = (salt, bits, np.uint64(part))
            row, held = _link_equal((codes, more), (tags, everyone), number, table, (first, row, held))
            if row == count:
                break
            larger = _table(2 * len(table[0]), first)
            _move(table, larger, salt)
            table = larger


def _table(slots: int, first: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """An empty table: the row of the code in each slot (-1: none), and its tag."""
    return np.full(slots, -1, first.dtype), np.empty(slots, np.uint64)


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
    """A 64-bit hash of each row, over both sets of words."""
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
def _move(table, larger, salt):  # type: ignore[no-untyped-def]
    """Move the entries of a table to a larger one."""
    slots, seen = larger
    last = np.uint64(len(slots) - 1)
    for old in range(len(table[0])):
        if table[0][old] < 0:
            continue
        at = _mixed(table[1][old] ^ salt) & last
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & last
        slots[at], seen[at] = table[0][old], table[1][old]


@jit
def _link_equal(sets, known, part, table, state):  # type: ignore[no-untyped-def]
    """Give each code of one part that equals an earlier one the row of that; stops when the table is half full.

    ``state`` is where to write, the row from which to continue, and how many codes are in the table; returns the last two.
    """
    codes, more = sets
    tags, takes = known
    salt, bits, number = part
    slots, seen = table
    last = np.uint64(len(slots) - 1)
    first, start, held = state
    for row in range(start, len(tags)):
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
            if 2 * held >= len(slots):
                return row, held
            slots[at], seen[at] = row, tags[row]
            held += 1
    return len(tags), held


@jit
def _equal(a, b):  # type: ignore[no-untyped-def]
    same = True
    for word in range(len(a)):
        same &= a[word] == b[word]
    return same
