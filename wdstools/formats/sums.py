"""Checksum lists as ``sha256sum``, ``b2sum``, ``md5sum``, ``xxhsum`` and OpenSSL write them, in GNU and in BSD form.

``parse_sums`` accepts nothing else; ``formats.sum_lists`` reads lists as found in practice. Law:
``parse_sums(render_sums(s)) == s`` for sha256 entries.
"""

from __future__ import annotations

import binascii
import codecs
import hashlib
import re
from dataclasses import dataclass, field

from wdstools.errors import FormatError

#: The path of a dataset's own list.
SUMS_PATH = "SHA256SUMS"

_HEX = r"(?:[0-9A-Fa-f]{2}){4,64}"
#: As ``sha256sum`` writes it, also with what other tools put between digest and path: one space, or tabs.
_GNU_RE = re.compile(rf"(\\?)(?:(XXH3)_)?({_HEX})(?: [ *]|[ \t]+\*?)(.+)", re.DOTALL)
_BASE64 = r"[A-Za-z0-9+/]{22,86}={0,2}"
#: As ``--tag``, BSD tools and OpenSSL write it: ``SHA256 (path) = digest``, also without the spaces; for a pipe,
#: OpenSSL writes ``(stdin)= digest``.
_BSD_RE = re.compile(rf"(\\?)([A-Za-z0-9_/-]*) ?\((.+)\) ?= ?({_HEX}|{_BASE64})[ \t]*", re.DOTALL)
#: As ``cksum --base64`` writes it; without padding it could be any word.
_BASE64_RE = re.compile(rf"(\\?)({_BASE64})(?: [ *]|[ \t]+\*?)(.+)", re.DOTALL)
_BARE_RE = re.compile(rf"({_HEX})[ \t]*")


def _there(*algorithms: str) -> tuple[str, ...]:
    """Those of these algorithms that this Python was built with."""
    return tuple(algorithm for algorithm in algorithms if algorithm in hashlib.algorithms_available)


#: The algorithms of digests with this many digits, the usual one first.
ALGORITHMS_BY_DIGITS = {
    8: ("xxh32", "crc32"),
    16: ("xxh64", "xxh3_64"),
    32: ("md5", "xxh3_128"),
    40: ("sha1", *_there("ripemd160")),
    56: ("sha224", "sha3_224"),
    64: ("sha256", "blake2s", "sha3_256", "blake2b-256", *_there("sha512_256", "sm3")),
    96: ("sha384", "sha3_384", "blake2b-384"),
    128: ("sha512", "blake2b", "sha3_512"),
}
_NAMES = {
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA224": "sha224",
    "SHA256": "sha256",
    "SHA384": "sha384",
    "SHA512": "sha512",
    "SHA2224": "sha224",
    "SHA2256": "sha256",
    "SHA2384": "sha384",
    "SHA2512": "sha512",
    "SHA512256": "sha512_256",
    "SHA2512256": "sha512_256",
    "RIPEMD160": "ripemd160",
    "RMD160": "ripemd160",
    "SM3": "sm3",
    "SHA3224": "sha3_224",
    "SHA3256": "sha3_256",
    "SHA3384": "sha3_384",
    "SHA3512": "sha3_512",
    "BLAKE2B": "blake2b",
    "BLAKE2B512": "blake2b",
    "BLAKE2S": "blake2s",
    "BLAKE2S256": "blake2s",
    "CRC32": "crc32",
    "XXH32": "xxh32",
    "XXH64": "xxh64",
    "XXH3": "xxh3_64",
    "XXH364": "xxh3_64",
    "XXH128": "xxh3_128",
    "XXH3128": "xxh3_128",
}
#: What the name of a list (``b2sums.txt``, ``x.xxh128``) says about the algorithm: how its name begins.
_HINTS = (
    ("xxh128", "xxh3_128"),
    ("xxh3", "xxh3"),
    ("xxh", "xxh"),
    ("b2", "blake2b"),
    ("blake2s", "blake2s"),
    ("blake2", "blake2b"),
    ("sfv", "crc32"),
    ("crc", "crc32"),
)
_BITS_A_DIGIT = 4
_COMMENTS = ("#", ";", "//")
_PIPE, _PIPE_OF_OPENSSL = "-", "stdin"
_SIGNED_BEGIN, _SIGNATURE = b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PGP SIGNATURE-----"
_ESCAPED_RE = re.compile(r"\\([nr\\])")
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class SumLine:
    """One line of a checksum list.

    ``algorithm`` is a name of ``hashlib``, or crc32, xxh32, xxh64, xxh3_64, xxh3_128, or ``blake2b-BITS``; ``others``
    are possible too if the line does not name one.
    """

    path: str
    algorithm: str
    digest: str
    others: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class OddLine:
    """A line that looks like a checksum but cannot be checked: its number, and why."""

    number: int
    why: str


@dataclass(slots=True)
class SumList:
    """A checksum list: its ``lines``, those that are ``odd``, and the number of others ``passed`` over as text.

    ``guesses``, with their line numbers, are checksums only if they name existing files: "commit" before a digest does
    not.
    """

    lines: list[SumLine] = field(default_factory=list)
    guesses: list[tuple[int, SumLine]] = field(default_factory=list)
    odd: list[OddLine] = field(default_factory=list)
    passed: int = 0


def render_sums(sums: dict[str, str]) -> bytes:
    """A list for ``sha256sum -c`` from path to hex digest, sorted by path; names are bytes, UTF-8 or not."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))
    return lines.encode("utf-8", "surrogateescape")


def parse_sums(data: bytes, *, where: str = SUMS_PATH) -> list[SumLine]:
    """Read a checksum list, as coreutils' ``-c`` and more; blank lines and comments (``#``, ``;``, ``//``) are skipped.

    It may be UTF-8, with or without a byte order mark, or UTF-16 with one. Lines may end in CR LF, or in NUL as with
    ``-z``. A clear-signed list is read up to its signature (which is not checked). A digest alone, or of a pipe,
    belongs to the file that the list is named after (``x.tar.sha256``). Raises FormatError (``sums-damaged``) naming
    the first invalid line.
    """
    lines, first, _ = split_sums(data, where=where)
    if first is not None:
        raise first
    return lines


def split_sums(data: bytes, *, where: str = SUMS_PATH) -> tuple[list[SumLine], FormatError | None, int]:
    """Like ``parse_sums``, but skipping invalid lines: also returns an error for the first of them, and their number.

    Raises FormatError if the data is not text.
    """
    lines: list[SumLine] = []
    first, odd = None, 0
    text = text_of(data, where)
    for number, raw in enumerate(text.split(b"\0" if b"\0" in text else b"\n"), 1):
        line = raw.removesuffix(b"\r").decode("utf-8", "surrogateescape")
        if not line.strip() or is_comment(line):
            continue
        entry = line_of(line, where)
        if entry is None:
            first = first or _damaged(f"{where}, line {number}", raw.removesuffix(b"\r"))
            odd += 1
        else:
            lines.append(entry)
    return lines, first, odd


def is_comment(line: str) -> bool:
    """Whether a line is a comment."""
    return line.startswith(_COMMENTS)


def _damaged(where: str, line: bytes) -> FormatError:
    return FormatError(
        "not a line of a checksum list",
        code="sums-damaged",
        where=where,
        expected="DIGEST  PATH, or ALGORITHM (PATH) = DIGEST",
        got=repr(line[:80]),
    )


def text_of(data: bytes, where: str) -> bytes:
    """A list's text as UTF-8, or its bytes unchanged, without a byte order mark, a signature, or the header of one."""
    if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError:
            raise _damaged(where, data) from None
    data = data.removeprefix(codecs.BOM_UTF8)
    if not data.startswith(_SIGNED_BEGIN):
        return data
    head, _, rest = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    body = rest.partition(_SIGNATURE)[0]
    kept = head.count(b"\n") + 2  # so that lines keep their numbers
    return b"\n" * kept + b"\n".join(line.removeprefix(b"- ") for line in body.split(b"\n"))


def line_of(line: str, where: str) -> SumLine | None:
    """What a line says; None if it does not have a form that ``sha256sum`` and similar tools write."""
    line = line.lstrip(" \t")
    name: str | None = None
    if match := _BSD_RE.fullmatch(line):
        escaped, name, path, digest = match.groups()
        path = _PIPE if path == _PIPE_OF_OPENSSL else path
    elif match := _GNU_RE.fullmatch(line):
        escaped, mark, digest, path = match.groups()
        name = mark and "XXH3"
    elif match := _BARE_RE.fullmatch(line):
        escaped, digest, path = "", match[1], ""
    elif (match := _BASE64_RE.fullmatch(line)) and match[2].endswith("="):
        escaped, digest, path = match.groups()
    else:
        return None
    if escaped:
        path = _ESCAPED_RE.sub(lambda match: _ESCAPES[match[1]], path)
    return sum_line(path, digest, where, name)


def sum_line(path: str, digest: str, where: str, name: str | None = None) -> SumLine | None:
    """A line about a file, with a digest in hexadecimal or base64; None if no algorithm, or not ``name``, fits it.

    Without a path, or with that of a pipe (``-``), it is about the file that the list is named after.
    """
    if path in ("", _PIPE):
        path = where.rpartition("/")[2].rpartition(".")[0] or path
    if not re.fullmatch(_HEX, digest):
        try:
            digest = binascii.a2b_base64(digest, strict_mode=True).hex()
        except ValueError:  # binascii.Error too
            return None
    algorithms = _named(name, len(digest)) if name else _possible(len(digest), where)
    return SumLine(path, algorithms[0], digest.lower(), algorithms[1:]) if algorithms and path else None


def _named(name: str, digits: int) -> tuple[str, ...]:
    """The algorithm that a line names; empty if its digests have another length."""
    plain = name.upper().replace("-", "").replace("_", "").replace("/", "")
    bits = digits * _BITS_A_DIGIT
    if plain == f"BLAKE2B{bits}" and bits < 512:
        return (f"blake2b-{bits}",)
    algorithm = _NAMES.get(plain)
    return (algorithm,) if algorithm is not None and algorithm in ALGORITHMS_BY_DIGITS.get(digits, ()) else ()


def _possible(digits: int, where: str) -> tuple[str, ...]:
    """The possible algorithms of a digest with this many digits, the likeliest first, judging by the list's name."""
    known = ALGORITHMS_BY_DIGITS.get(digits, ())
    name = where.rpartition("/")[2].lower()
    hinted = next((a for hint, start in _HINTS if hint in name for a in known if a.startswith(start)), None)
    return known if hinted is None else (hinted, *(algorithm for algorithm in known if algorithm != hinted))
