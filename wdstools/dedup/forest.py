"""Trees of rows that belong together: each row points to a smaller one of its tree, or is its root. With numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Numbers of rows: 32 bits are enough for most, and half the memory.
Rows: TypeAlias = "NDArray[Any]"
_MOST_32_BITS = 2**31 - 1
_ROWS_AT_ONCE = 1 << 16
#: With more codes, a compiled loop finds equal ones.
_MANY = 1 << 20


def row_type(count: int) -> type[np.int32 | np.int64]:
    """The type for the numbers of ``count`` rows."""
    return np.int32 if count <= _MOST_32_BITS else np.int64


def fixed(codes: NDArray[Any]) -> NDArray[Any]:
    """The same array, contiguous and read-only: compiled loops have one form for it, wherever its memory comes from."""
    view = np.ascontiguousarray(codes).view()
    view.flags.writeable = False
    return view


def unite(parent: Rows, first: Rows, second: Rows) -> None:
    """Unite the trees of each pair of rows; the smaller root remains."""
    while len(first):
        first, second = roots(parent, first), roots(parent, second)
        apart = first != second
        first, second = first[apart], second[apart]
        np.minimum.at(parent, np.maximum(first, second), np.minimum(first, second))


def roots(parent: Rows, rows: Rows) -> Rows:
    """The root of each row's tree. Rows on the way are pointed further up, so that paths stay short."""
    found = parent[rows]
    climbing = np.flatnonzero(parent[found] != found)
    while len(climbing):
        at = found[climbing]
        higher = parent[parent[at]]
        parent[at] = higher
        found[climbing] = higher
        climbing = climbing[parent[higher] != higher]
    parent[rows] = found
    return found


def flatten(parent: Rows) -> None:
    """Make each row point to its root."""
    for start in range(0, len(parent), _ROWS_AT_ONCE):
        roots(parent, np.arange(start, min(start + _ROWS_AT_ONCE, len(parent))))


def merge(parent: Rows, other: Rows) -> None:
    """Unite each row with its parent in another forest."""
    for start in range(0, len(other), _ROWS_AT_ONCE):
        above = other[start : start + _ROWS_AT_ONCE]
        rows = np.flatnonzero(above != np.arange(start, start + len(above))) + start
        unite(parent, rows, other[rows])


def are_roots(parent: Rows) -> NDArray[np.bool_]:
    """Which rows are the roots of their trees."""
    found = np.empty(len(parent), np.bool_)
    for start in range(0, len(parent), _ROWS_AT_ONCE):
        above = parent[start : start + _ROWS_AT_ONCE]
        np.equal(above, np.arange(start, start + len(above)), out=found[start : start + _ROWS_AT_ONCE])
    return found


def in_company(parent: Rows) -> NDArray[np.bool_]:
    """Which rows are not alone in their tree."""
    found = ~are_roots(parent)
    for start in range(0, len(parent), _ROWS_AT_ONCE):
        rows = np.flatnonzero(found[start : start + _ROWS_AT_ONCE]) + start
        found[roots(parent, rows)] = True
    return found


def equal_codes(
    codes: NDArray[np.uint64], mirrored: NDArray[np.uint64] | None = None, takes: NDArray[np.bool_] | None = None
) -> Rows:
    """For each row of [N, W], the first equal row (also in ``mirrored``, if given); the row itself if it does not take part."""
    first: Rows = np.arange(len(codes), dtype=row_type(len(codes)))
    if len(codes) > _MANY:
        from wdstools.dedup.equal import equal_many

        equal_many(codes, mirrored, takes, first)
        return first
    whole = codes if mirrored is None else np.concatenate((codes, mirrored), axis=1)
    if takes is None:
        return _sorted_equal(whole)
    rows = np.flatnonzero(takes)
    first[rows] = rows[_sorted_equal(whole[rows])]
    return first


def _sorted_equal(codes: NDArray[np.uint64]) -> Rows:
    kind = row_type(len(codes))
    order = np.argsort(_mixed(codes), kind="stable").astype(kind)
    begins = np.zeros(len(codes), kind)
    for start in range(0, len(codes), _ROWS_AT_ONCE):
        some = codes[order[max(0, start - 1) : start + _ROWS_AT_ONCE]]
        new = np.flatnonzero((some[1:] != some[:-1]).any(axis=1)) + max(1, start)
        begins[new] = new
    np.maximum.accumulate(begins, out=begins)
    first = np.empty(len(codes), kind)
    first[order] = order[begins]
    return first


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row (the finaliser of MurmurHash3, chained)."""
    mixed = np.full(len(words), 0x9E3779B97F4A7C15, np.uint64)
    for start in range(0, len(words), _ROWS_AT_ONCE):
        value = mixed[start : start + _ROWS_AT_ONCE]
        for word in range(words.shape[1]):
            value ^= words[start : start + _ROWS_AT_ONCE, word]
            value ^= value >> np.uint64(33)
            value *= np.uint64(0xFF51AFD7ED558CCD)
            value ^= value >> np.uint64(33)
            value *= np.uint64(0xC4CEB9FE1A85EC53)
            value ^= value >> np.uint64(33)
    return mixed
