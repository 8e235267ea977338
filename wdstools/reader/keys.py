"""Reads lists of keys, as people write and save them."""

from __future__ import annotations

import codecs
import string

from wdstools.errors import FormatError

#: What is stripped from the ends of a key: white space of any script, and zero-width marks.
_AROUND_KEYS = (
    string.whitespace
    + "\0\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff\u200b\u200c\u200d\u2060"
    + "".join(map(chr, range(0x2000, 0x200B)))
)


def parse_keys(data: bytes, *, where: str) -> frozenset[str]:
    """The keys of a list, one per line, however an editor or a spreadsheet saved it.

    A byte order mark, line ends, and blanks, tabs or zero-width marks around a key are not part of it: no key
    contains one there. Empty lines are ignored. Raises FormatError (``keys-not-text``) if the list is not text.
    """
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        lines = data.decode(encoding).splitlines()
    except UnicodeDecodeError:
        raise FormatError("a list of keys is not UTF-8", code="keys-not-text", where=where) from None
    return frozenset(key for line in lines if (key := line.strip(_AROUND_KEYS)))
