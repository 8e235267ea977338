"""Runs of plain headers, parsed together: most tars consist of nothing else.

A plain entry is a regular file with an ASCII ustar header without a prefix, alone or after one pax record that says
nothing about name or size (times, owners: what webdataset's writer puts before every member). No I/O.

Law: the entries of a run are those that ``hop`` yields there one by one, and each of their headers has the right sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.tar import BLOCK, CHKSUM_AT, MAGIC_AT, NAME_BYTES, SIZE_AT, TYPE_AT

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: The most headers to parse together, because they are copied.
_MOST = 8192
#: The fewest that are worth it.
_FEWEST = 16
_SIZE_DIGITS, _CHKSUM_DIGITS = 11, 6
_PREFIX_AT = 345
_PAX = ord("x")
_DIGITS = Struct(f"{_SIZE_DIGITS}s").unpack_from
_WEIGHTS = 8 ** np.arange(_SIZE_DIGITS - 1, -1, -1, dtype=np.int64)
_EVEN_BYTES = np.uint64(0x00FF00FF00FF00FF)
_HIGH_BITS = np.uint64(0x8080808080808080)
_BLANK_SUM = 8 * 0x20


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive plain entries, as arrays with a value for each.

    ``names`` is an array of (entries, 100) bytes, padded with zeros; ``start`` is the offset of an entry's first
    header, ``offset`` that of its payload. ``headers`` is the number of headers parsed; the next one is at ``end``.
    """

    names: NDArray[np.uint8]
    start: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]
    headers: int
    end: int


def read_run(
    data: memoryview, base: int, *, payloads: bool, total: int | None = None, fill: Callable[[int], None] | None = None
) -> Run | None:
    """The plain entries at the beginning of ``data``, which is at offset ``base`` of the tar; None if they are too few.

    With ``payloads``, only entries whose payload and padding are in ``data`` too count: all of it is read. Otherwise
    only headers are read, and the entries are those that end by ``total``; ``fill``, if given, is called before a
    header is read, and puts it and the following block into ``data``.
    """
    rows = np.frombuffer(data, np.uint8, len(data) // BLOCK * BLOCK).reshape(-1, BLOCK)
    places = _headers_in(rows) if payloads else _hop_over(data, fill)
    blocks = rows[places]
    size = _octal(blocks, SIZE_AT, _SIZE_DIGITS)
    end = places + 1 + -(-size // BLOCK)
    limit = len(data) if total is None else total - base
    sound = _are_plain(blocks) & (places == np.concatenate(([0], end[:-1]))) & (end * BLOCK <= limit)
    pax = blocks[:, TYPE_AT] == _PAX
    sound[1:] &= ~(pax[1:] & pax[:-1])
    sound[pax] &= _say_nothing(rows, places[pax] + 1, size[pax])
    count = len(sound) if sound.all() else int(np.argmin(sound))
    count -= count > 0 and bool(pax[count - 1])
    if count < _FEWEST:
        return None
    files = np.flatnonzero(~pax[:count])
    first = files - np.concatenate(([False], pax))[files]
    return Run(
        np.ascontiguousarray(blocks[files, :NAME_BYTES]),
        base + places[first] * BLOCK,
        base + (places[files] + 1) * BLOCK,
        size[files],
        count,
        base + int(end[count - 1]) * BLOCK,
    )


def _headers_in(rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Which blocks may be headers."""
    places: NDArray[np.int64] = np.flatnonzero(rows[:, MAGIC_AT] == ord("u"))
    found: NDArray[np.int64] = places[
        (rows[places, MAGIC_AT + 1] == ord("s")) & (rows[places, MAGIC_AT + 2] == ord("t"))
    ]
    return found


def _hop_over(data: memoryview, fill: Callable[[int], None] | None) -> NDArray[np.int64]:
    """Follow the sizes from header to header; what comes after one that is not plain is undefined."""
    places: list[int] = []
    at, last = 0, len(data) - BLOCK
    while at <= last and len(places) < _MOST:
        if fill is not None:
            fill(at)
        (digits,) = _DIGITS(data, at + SIZE_AT)
        try:
            size = int(digits, 8)
        except ValueError:
            break
        if size < 0:
            break
        places.append(at)
        at += BLOCK + size + -size % BLOCK
    return np.array(places, np.int64) // BLOCK


def _are_plain(blocks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which headers are plain and have the right sum."""
    words = blocks.view("<u8")
    lanes = (words & _EVEN_BYTES).sum(axis=1) + ((words >> np.uint64(8)) & _EVEN_BYTES).sum(axis=1)
    total = lanes.view("<u2").reshape(-1, 4).sum(axis=1, dtype=np.int64)
    total += _BLANK_SUM - blocks[:, CHKSUM_AT:TYPE_AT].sum(axis=1, dtype=np.int64)
    kind = blocks[:, TYPE_AT]
    names = blocks[:, :NAME_BYTES] != 0
    lengths = np.where(names.all(axis=1), NAME_BYTES, np.argmin(names, axis=1))
    found: NDArray[np.bool_] = (
        (_octal(blocks, CHKSUM_AT, _CHKSUM_DIGITS) == total)
        & (_octal(blocks, SIZE_AT, _SIZE_DIGITS) >= 0)
        & (np.bitwise_or.reduce(words, axis=1) & _HIGH_BITS == 0)
        & ((kind == ord("0")) | (kind == 0) | (kind == ord("7")) | (kind == _PAX))
        & (blocks[:, MAGIC_AT : MAGIC_AT + 5] == np.frombuffer(b"ustar", np.uint8)).all(axis=1)
        & (blocks[:, _PREFIX_AT] == 0)
        & (blocks[:, SIZE_AT + _SIZE_DIGITS] <= 0x20)
        & (blocks[:, CHKSUM_AT + _CHKSUM_DIGITS] <= 0x20)
        & (np.count_nonzero(names, axis=1) == lengths)  # nothing after the zero byte that ends the name
    )
    return found


def _octal(blocks: NDArray[np.uint8], at: int, digits: int) -> NDArray[np.int64]:
    """The numbers in a field of octal digits; -1 if it has other characters."""
    values = blocks[:, at : at + digits] - np.uint8(ord("0"))  # smaller characters wrap around to more than 200
    numbers: NDArray[np.int64] = values.astype(np.int64) @ _WEIGHTS[-digits:]
    return np.where((values < 8).all(axis=1), numbers, -1)


def _say_nothing(rows: NDArray[np.uint8], places: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pax records (of at most one block) say nothing about the place or the name of anything."""
    found = (sizes >= 0) & (sizes <= BLOCK) & (places < len(rows))
    records = rows[places[found], : int(sizes[found].max(initial=0))].tobytes()
    if b"path=" in records or b"size=" in records:  # in one of them, or across two
        found[found] = [
            b"path=" not in record and b"size=" not in record
            for record in (
                rows[place, :size].tobytes() for place, size in zip(places[found], sizes[found], strict=True)
            )
        ]
    return found
