"""Sizes as people write them."""

from __future__ import annotations

import re

from wdstools.errors import UsageError

_SIZE_RE = re.compile(r"(\d{1,15}) ?(?:(k|m|g)(i)?b?|b)?", re.IGNORECASE)


def parse_size(text: str, where: str) -> int:
    """``64KiB``, ``1MB``, ``65536`` as bytes; raises UsageError."""
    match = _SIZE_RE.fullmatch(text.strip())
    if match is None:
        raise UsageError("not a size", where=where, expected="as 65536, 64KiB or 1MB", got=text)
    number, prefix, binary = match.groups()
    power = " kmg".index(prefix.lower()) if prefix else 0
    unit: int = (1024 if binary else 1000) ** power
    return int(number) * unit
