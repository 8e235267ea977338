"""Checksum lists, as ``sha256sum``, ``b2sum``, ``md5sum``, ``xxhsum`` and OpenSSL write them, in their GNU and their BSD form.

Law: ``parse_sums(render_sums(s)) == s`` for sha256 entries.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass, field

from wdstools.errors import FormatError

#: Where a dataset keeps its list.
SUMS_PATH = "SHA256SUMS"

_HEX = r"(?:[0-9A-Fa-f]{2}){4,64}"
#: As ``sha256sum`` writes it, with what other tools put between digest and path: one space, or tabs.
_GNU_RE = re.compile(rf"(\\?)(?:(XXH3)_)?({_HEX})(?: [ *]|[ \t]+\*?)(.+)", re.DOTALL)
#: As ``--tag`` and the tools of BSD and OpenSSL write it: ``SHA256 (path) = digest``, also without these spaces.
_BSD_RE = re.compile(rf"(\\?)([A-Za-z0-9_/-]+) ?\((.+)\) ?= ?({_HEX})[ \t]*", re.DOTALL)
_BARE_RE = re.compile(rf"({_HEX})[ \t]*")


def _there(*algorithms: str) -> tuple[str, ...]:
    """Those that Python was built with."""
    return tuple(algorithm for algorithm in algorithms if algorithm in hashlib.algorithms_available)


#: What a digest of so many digits may be; the first is what ``sha256sum`` and its like would make of it.
ALGORITHMS_BY_DIGITS = {
    8: ("xxh32",),
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
    "SM3": "sm3",
    "SHA3224": "sha3_224",
    "SHA3256": "sha3_256",
    "SHA3384": "sha3_384",
    "SHA3512": "sha3_512",
    "BLAKE2B": "blake2b",
    "BLAKE2B512": "blake2b",
    "BLAKE2S": "blake2s",
    "BLAKE2S256": "blake2s",
    "XXH32": "xxh32",
    "XXH64": "xxh64",
    "XXH3": "xxh3_64",
    "XXH364": "xxh3_64",
    "XXH128": "xxh3_128",
    "XXH3128": "xxh3_128",
}
#: What names of lists (``b2sums.txt``, ``x.xxh128``) say of the algorithm: how its name begins.
_HINTS = (
    ("xxh128", "xxh3_128"),
    ("xxh3", "xxh3"),
    ("xxh", "xxh"),
    ("b2", "blake2b"),
    ("blake2s", "blake2s"),
    ("blake2", "blake2b"),
)
_BITS_A_DIGIT = 4
_CERTUTIL_RE = re.compile(rb"\s*(\w+) hash of (?:file )?([^\r\n]+?):?\r?\n([0-9a-fA-F ]+)\r?\nCertUtil: [^\r\n]*\s*")
_SIGNED_BEGIN, _SIGNATURE = b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PGP SIGNATURE-----"
_ESCAPED_RE = re.compile(r"\\([nr\\])")
_ESCAPES = {"n": "\n", "r": "\r", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class SumLine:
    """One line of a checksum list.

    ``algorithm`` is as in ``hashlib``, or xxh32, xxh64, xxh3_64, xxh3_128, or ``blake2b-BITS``; ``others`` may be meant
    as well where the line does not say.
    """

    path: str
    algorithm: str
    digest: str
    others: tuple[str, ...] = field(default=(), compare=False)


def render_sums(sums: dict[str, str]) -> bytes:
    """A ``sha256sum -c`` list of path -> hex digest, sorted by path; names are bytes, UTF-8 or not."""
    lines = "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items()))
    return lines.encode("utf-8", "surrogateescape")


def parse_sums(data: bytes, *, where: str = SUMS_PATH) -> list[SumLine]:
    """Read a checksum list, as coreutils' ``-c`` reads it and more; blank lines and comments (``#``, ``;``) are passed over.

    UTF-8 with or without a byte order mark, or UTF-16 with one; lines may end in CR LF, or in NUL as ``-z`` ends them; a
    clear-signed list is read to its signature (which is not checked). What Windows' ``certutil`` says of a file is read too. A digest alone is that of the file that the list is named after
    (``x.tar.sha256``). Raises FormatError (``sums-damaged``) naming the first line that is no form.
    """
    lines = []
    text = _text_of(data, where)
    certified = _CERTUTIL_RE.fullmatch(text)
    if certified is not None:
        text = b"%b (%b) = %b" % (certified[1], certified[2], certified[3].replace(b" ", b""))
    for number, raw in enumerate(text.split(b"\0" if b"\0" in text else b"\n"), 1):
        line = raw.removesuffix(b"\r")
        if not line.strip() or line.startswith((b"#", b";")):
            continue
        entry = _parse_line(line.decode("utf-8", "surrogateescape"), where)
        if entry is None:
            raise _damaged(f"{where}, line {number}", line)
        lines.append(entry)
    return lines


def _damaged(where: str, line: bytes) -> FormatError:
    return FormatError(
        "not a line of a checksum list",
        code="sums-damaged",
        where=where,
        expected="DIGEST  PATH, or ALGORITHM (PATH) = DIGEST",
        got=repr(line[:80]),
    )


def _text_of(data: bytes, where: str) -> bytes:
    """A list's lines as UTF-8, or bytes as they are; without a mark, a signature, or the lines about it."""
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


def _parse_line(line: str, where: str) -> SumLine | None:
    algorithms: tuple[str, ...]
    if match := _BSD_RE.fullmatch(line):
        escaped, name, path, digest = match.groups()
        algorithms = _named(name, len(digest))
    elif match := _GNU_RE.fullmatch(line):
        escaped, mark, digest, path = match.groups()
        algorithms = ("xxh3_64",) if mark else _possible(len(digest), where)
    elif match := _BARE_RE.fullmatch(line):
        escaped, digest, path = "", match[1], where.rpartition("/")[2].rpartition(".")[0]
        algorithms = _possible(len(digest), where) if path else ()
    else:
        return None
    if escaped:
        path = _ESCAPED_RE.sub(lambda match: _ESCAPES[match[1]], path)
    return SumLine(path, algorithms[0], digest.lower(), algorithms[1:]) if algorithms else None


def _named(name: str, digits: int) -> tuple[str, ...]:
    """The algorithm that a line names; none if its digests have another length."""
    plain = name.upper().replace("-", "").replace("_", "").replace("/", "")
    bits = digits * _BITS_A_DIGIT
    if plain == f"BLAKE2B{bits}" and bits < 512:
        return (f"blake2b-{bits}",)
    algorithm = _NAMES.get(plain)
    return (algorithm,) if algorithm is not None and algorithm in ALGORITHMS_BY_DIGITS.get(digits, ()) else ()


def _possible(digits: int, where: str) -> tuple[str, ...]:
    """What a digest of so many digits may be, the likeliest first: the list's own name tells."""
    known = ALGORITHMS_BY_DIGITS.get(digits, ())
    name = where.rsplit("/", 1)[-1].lower()
    hinted = next((a for hint, start in _HINTS if hint in name for a in known if a.startswith(start)), None)
    return known if hinted is None else (hinted, *(algorithm for algorithm in known if algorithm != hinted))
