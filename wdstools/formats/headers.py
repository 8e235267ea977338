"""Many headers of a shard at once: the same bytes as one by one, in less than half the time.

Law: row ``i`` of ``render_headers(names, sizes, digests)`` is ``render_header(names[i], sizes[i], digests[i])``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.formats.tar import (
    BLOCK,
    CHKSUM_AT,
    GNAME_AT,
    GNAME_END,
    HEADER_MARK,
    NAME_BYTES,
    PAYLOAD_MARK,
    SIZE_AT,
    TYPE_AT,
    UNAME_AT,
    render_header,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SIZE = slice(SIZE_AT, SIZE_AT + 11)
_CHKSUM = slice(CHKSUM_AT, TYPE_AT)
_CHKSUM_DIGITS = slice(CHKSUM_AT, CHKSUM_AT + 6)
_PAYLOAD_DIGITS = slice(UNAME_AT + len(PAYLOAD_MARK), UNAME_AT + len(PAYLOAD_MARK) + 16)
_GNAME = slice(GNAME_AT, GNAME_END)
_GNAME_MARK = slice(GNAME_AT, GNAME_AT + len(HEADER_MARK))
_GNAME_DIGITS = slice(GNAME_AT + len(HEADER_MARK), GNAME_AT + len(HEADER_MARK) + 16)
_SIZE_SHIFTS = np.arange(30, -1, -3)
_SUM_SHIFTS = np.arange(15, -1, -3)


def render_headers(
    names: Sequence[bytes], sizes: NDArray[np.int64], payload_xxh3: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    """The headers of members, uint8 [members, 512]; names have at most 100 bytes, sizes at most eleven octal digits."""
    count = len(names)
    headers = np.tile(_template(), (count, 1))
    headers[:, :NAME_BYTES] = np.array(names, f"S{NAME_BYTES}").view(np.uint8).reshape(count, NAME_BYTES)
    headers[:, _SIZE] = _octal(sizes, _SIZE_SHIFTS)
    headers[:, _PAYLOAD_DIGITS] = _hexadecimal(payload_xxh3)
    flat = headers.reshape(-1).data
    seals = [xxh3_64_intdigest(flat[at : at + BLOCK]) for at in range(0, len(flat), BLOCK)]
    headers[:, _GNAME] = 0
    headers[:, _GNAME_MARK] = np.frombuffer(HEADER_MARK, np.uint8)
    headers[:, _GNAME_DIGITS] = _hexadecimal(np.array(seals, np.uint64))
    sums = headers.sum(axis=1, dtype=np.uint32)  # of the draft, whose own sum is eight spaces
    headers[:, _CHKSUM] = np.frombuffer(b"000000\0 ", np.uint8)
    headers[:, _CHKSUM_DIGITS] = _octal(sums.astype(np.int64), _SUM_SHIFTS)
    return headers


def _template() -> NDArray[np.uint8]:
    """What all headers share, with ``chksum`` and ``gname`` as spaces: the draft whose digest ``gname`` holds."""
    template = np.frombuffer(render_header(b"", 0, 0), np.uint8).copy()
    template[_CHKSUM] = template[_GNAME] = ord(" ")
    return template


def _octal(numbers: NDArray[np.int64], shifts: NDArray[np.int64]) -> NDArray[np.uint8]:
    return ((numbers[:, None] >> shifts & 7) + ord("0")).astype(np.uint8)


def _hexadecimal(numbers: NDArray[np.uint64]) -> NDArray[np.uint8]:
    digits = numbers.astype(">u8").tobytes().hex().encode()
    return np.frombuffer(digits, np.uint8).reshape(len(numbers), 16)
