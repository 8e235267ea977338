"""Checksum lists, as ``sha256sum``, ``md5sum`` and ``xxhsum`` write them, in their GNU and their BSD form.

Law: ``parse_sums(render_sums(s)) == s`` for sha256 entries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wdstools.errors import FormatError

#: Where a dataset keeps its list.
SUMS_PATH = "SHA256SUMS"

_GNU_RE = re.compile(r"(\\?)(?:(XXH3)_)?([0-9A-Fa-f]{8,128}) [ *](.+)", re.DOTALL)
_BSD_RE = re.compile(r"(\\?)([A-Za-z0-9_-]+) \((.+)\) = ([0-9A-Fa-f]{8,128})", re.DOTALL)
_BY_DIGITS = {8: "xxh32", 16: "xxh64", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_BSD_NAMES = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
    "XXH32": "xxh32",
    "XXH64": "xxh64",
    "XXH3": "xxh3_64",
    "XXH128": "xxh3_128",
}
_AMBIGUOUS_DIGITS = 32
_ESCAPED_RE = re.compile(r"\\([nr\\])")
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class SumLine:
    """One line of a checksum list. ``algorithm`` is as in ``hashlib``, or xxh32, xxh64, xxh3_64, xxh3_128."""

    path: str
    algorithm: str
    digest: str


def render_sums(sums: dict[str, str]) -> bytes:
    """A ``sha256sum -c`` list of path -> hex digest, sorted by path; names are bytes, UTF-8 or not."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))
    return lines.encode("utf-8", "surrogateescape")


def parse_sums(text: bytes, *, where: str = SUMS_PATH) -> list[SumLine]:
    """Read a checksum list; blank lines and lines that begin with ``#`` are passed over.

    A digest of 32 digits is MD5 or XXH128, which no line tells apart: it is xxh3_128 when the list's own name has
    "xxh" in it, else md5. Raises FormatError (``sums-damaged``) naming the first line that is neither form.
    """
    lines = []
    for number, raw in enumerate(text.split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        entry = _parse_line(line.decode("utf-8", "surrogateescape"), where)
        if entry is None:
            raise FormatError(
                "not a line of a checksum list",
                code="sums-damaged",
                where=f"{where}, line {number}",
                expected="DIGEST  PATH, or ALGORITHM (PATH) = DIGEST",
                got=repr(line[:80]),
            )
        lines.append(entry)
    return lines


def _parse_line(line: str, where: str) -> SumLine | None:
    if match := _GNU_RE.fullmatch(line):
        escaped, mark, digest, path = match.groups()
        algorithm = "xxh3_64" if mark else _algorithm(len(digest), where)
    elif match := _BSD_RE.fullmatch(line):
        escaped, name, path, digest = match.groups()
        algorithm = _BSD_NAMES.get(name.upper(), "")
    else:
        return None
    if escaped:
        path = _ESCAPED_RE.sub(lambda match: _ESCAPES[match[1]], path)
    return SumLine(path, algorithm, digest.lower()) if algorithm else None


def _algorithm(digits: int, where: str) -> str:
    if digits == _AMBIGUOUS_DIGITS:
        return "xxh3_128" if "xxh" in where.rsplit("/", 1)[-1].lower() else "md5"
    return _BY_DIGITS.get(digits, "")
