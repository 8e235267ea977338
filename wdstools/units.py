"""Sizes, counts and durations: parsing what users write, and formatting what they see."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIZE_UNITS = ("kB", "MB", "GB", "TB")
_SIZE_RE = re.compile(r"(\d{1,15}) ?(?:(k|m|g)(i)?b?|b)?", re.IGNORECASE)
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION_RE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw])")


def parse_size(text: str, where: str) -> int:
    """Parse ``64KiB``, ``1MB`` or ``65536`` into bytes; raises UsageError."""
    match = _SIZE_RE.fullmatch(text.strip())
    if match is None:
        raise UsageError("not a size", where=where, expected="a size such as 65536, 64KiB or 1MB", got=text)
    number, prefix, binary = match.groups()
    power = " kmg".index(prefix.lower()) if prefix else 0
    unit: int = (1024 if binary else 1000) ** power
    return int(number) * unit


def parse_duration(text: str, where: str) -> float:
    """Parse ``90s``, ``30m``, ``6h``, ``7d`` or ``2w`` into seconds; raises UsageError."""
    match = _DURATION_RE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            "not a duration", where=where, expected="a duration such as 90s, 30m, 6h, 7d or 2w", got=text[:40]
        )
    return float(match[1]) * _TIME_UNITS[match[2]]


def size(count: float) -> str:
    """A size in bytes for people, in powers of 1000: ``512 B``, ``64.0 kB``, ``1.5 GB``."""
    if count < 999.5:
        return f"{count:.0f} B"
    value, last = count / 1000, _SIZE_UNITS[-1]
    for unit in _SIZE_UNITS:
        if value < 999.95 or unit == last:
            return f"{value:,.1f} {unit}"
        value /= 1000
    raise AssertionError


def count(number: float) -> str:
    """A number for people; small ones get about two digits: ``12,346``, ``215``, ``6.1``, ``0.04``."""
    if abs(number) >= 99.95 or number == int(number):
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 9.95 else f"{number:.2g}"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A number with its noun: ``1 shard``, ``2,000 shards``; ``nouns`` if the plural is not noun + s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def some_of(names: Sequence[str], first: int = 3) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - first:,} more" if len(names) > first else ""
    return ", ".join(names[:first]) + more
