"""Checksum lists as people have them: lines of ``sha256sum`` and its like among other text, and what other tools print.

Read are also SFV lists, what PowerShell's ``Get-FileHash`` shows or exports, ``certutil -hashfile``, hashdeep's lists and
``gpg --print-md``. As for ``sha256sum -c``, a line that is no sum does not spoil the others; it is counted, and where it
looks like a sum it is named.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.formats.sums import SumLine, is_comment, line_of, sum_line, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEX = "[0-9A-Fa-f]"
_HEX_RE = re.compile(f"{_HEX}+")
_BLANKS_RE = re.compile(r"[ \t]+")
#: Of a shorter digest than MD5's nobody sees whether it is one: it may be a day.
CRC_DIGITS, _MD5_DIGITS = 8, 32
_PREFIXED_RE = re.compile(rf"([A-Za-z][A-Za-z0-9-]*):({_HEX}{{8,128}})(?:[ \t]+\*?(.+))?")
#: gpg shows a digest in groups, and breaks long ones.
_GROUPS = rf"{_HEX}{{2,8}}(?:[ \t]+{_HEX}{{2,8}})*"
_GPG_RE = re.compile(rf"(.+?):[ \t]*(?:([A-Za-z][A-Za-z0-9-]*)[ \t]*=[ \t]*)?({_GROUPS})[ \t]*")
_GPG_MORE_RE = re.compile(rf"[ \t]+{_GROUPS}[ \t]*")
_CERTUTIL_END = "CertUtil: "
_CERTUTIL_DIGEST_RE = re.compile(rf"[ \t]*{_HEX}[0-9A-Fa-f \t]*")
_CERTUTIL_ALGORITHM_RE = re.compile(r"\b(MD2|MD4|MD5|SHA1|SHA256|SHA384|SHA512)\b")
#: What stands between the algorithm and the file, in the languages of Windows.
_CERTUTIL_NAME_RE = re.compile(r".*?\b(?:of file|of|von|du fichier|de|di|van)\b[ \t]+(.+)")
_FIELD_RE = re.compile(r"(Algorithm|Hash|Path)[ \t]*:[ \t]?(.*)")
_TABLE_HEAD_RE = re.compile(r"Algorithm[ \t]+Hash[ \t]+Path[ \t]*")
_TABLE_ROW_RE = re.compile(rf"([A-Z0-9]+)[ \t]+({_HEX}+)[ \t]+(.+?)[ \t]*")
_COLUMNS = ("algorithm", "hash", "path")
_HASHDEEP = "%%%% HASHDEEP-1."
_DEBIAN_FIELD_RE = re.compile(
    r"^(?:Checksums-(?=Sha))?(Sha\d+|SHA\d+|(?=Files|MD5Sum))(?:Files|MD5Sum)?:[ \t]*$", re.MULTILINE
)
_STRONGEST = ("sha256", "sha1", "md5")
#: As much of a digest as is no word; other lines are prose.
_DIGEST_RE = re.compile(rf"{_HEX}{{31}}")
_CKSUM_RE = re.compile(r"\d+[ \t]+\d+(?:[ \t]+\S.*)?")
_SIZE_RE = re.compile(r"size ?\(.+\) ?= ?\d+.*", re.IGNORECASE)
_TAGGED_RE = re.compile(r"([A-Za-z0-9/_-]+) ?\(.+\) ?= ?\S{1,200}[ \t]*")
#: Algorithms that are not read, and what checks them.
_OTHER_TOOLS = {"BLAKE3": "b3sum --check LIST"}
_BLAKE3_RE = re.compile(r"(?:^|[/._-])(?:b3sums?|blake3)", re.IGNORECASE)
_FORMS = (
    "DIGEST  PATH, ALGORITHM (PATH) = DIGEST, SFV, or what Get-FileHash, certutil, hashdeep or gpg --print-md print"
)
_MOST_SHOWN = 80
#: What goes on in the next line is no longer than the longest path.
_LONGEST_BROKEN = 5000


@dataclass(frozen=True, slots=True)
class OddLine:
    """A line that looks like a sum and cannot be checked: its number, and why."""

    number: int
    why: str


@dataclass(slots=True)
class SumList:
    """A checksum list: its ``lines``, those that are ``odd``, and how many others are ``passed`` over as words.

    ``guesses``, by the numbers of their lines, are sums if they name files that are there: "commit" before a digest is none.
    """

    lines: list[SumLine] = field(default_factory=list)
    guesses: list[tuple[int, SumLine]] = field(default_factory=list)
    odd: list[OddLine] = field(default_factory=list)
    passed: int = 0


def read_list(data: bytes, *, where: str) -> SumList:
    """Read a checksum list of any tool. Raises FormatError (``sums-damaged``) where no line of it is a sum."""
    text = text_of(data, where).decode("utf-8", "surrogateescape")
    if "\0" not in text:
        text = text.replace("\r\n", "\n")
        text = text.replace("\r", "\n") if "\n" not in text else text  # as an old Macintosh ends lines
    found = next((read for form in _REPORTS if (read := form(text)) is not None), None) or _read_lines(text, where)
    if not found.lines:
        found.lines, found.guesses = [line for _, line in found.guesses], []
    if not found.lines and (found.odd or found.passed):
        raise _refusal(data, text, where, found)
    return found


def _read_lines(text: str, where: str) -> SumList:
    found = SumList()
    is_sfv = where.lower().endswith((".sfv", ".crc", ".crc32")) or text.lstrip().startswith(";")
    for number, line in _joined(text):
        if not line.strip() or is_comment(line):
            continue
        read = _sfv(line, where) if is_sfv else None
        read = read or (None if _is_blake3(where, line) else _read_line(line, where))
        if read is not None and (is_sfv or len(read.digest) > CRC_DIGITS or _TAGGED_RE.fullmatch(line)):
            found.lines.append(read)
        elif read is not None:  # a day, perhaps
            found.guesses.append((number, read))
        elif (guess := _guessed(line, where)) is not None:
            found.guesses.append((number, guess))
        elif _is_like_a_sum(line):
            found.odd.append(OddLine(number, _why(line, where)))
        else:
            found.passed += 1
    return found


def _is_like_a_sum(line: str) -> bool:
    if _SIZE_RE.fullmatch(line):
        return False
    forms = (_TAGGED_RE, _CKSUM_RE)
    return _DIGEST_RE.search(line) is not None or any(form.fullmatch(line) for form in forms)


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; groups of digits that go on in the next line are put together."""
    last: tuple[int, str] | None = None
    for number, line in enumerate(text.split("\0" if "\0" in text else "\n"), 1):
        more = last is not None and len(last[1]) < _LONGEST_BROKEN and _GPG_MORE_RE.fullmatch(line)
        if more and last is not None and _GPG_RE.fullmatch(last[1]):
            last = last[0], f"{last[1]} {line.strip()}"
            continue
        if last is not None:
            yield last
        last = number, line
    if last is not None:
        yield last


def _read_line(line: str, where: str) -> SumLine | None:
    if (found := line_of(line, where)) is not None:
        return found
    if match := _PREFIXED_RE.fullmatch(line):
        return sum_line(match[3] or "", match[2], where, match[1])
    if (match := _GPG_RE.fullmatch(line)) and match[2]:
        return sum_line(match[1].strip(), _BLANKS_RE.sub("", match[3]), where, match[2])
    return None


def _sfv(line: str, where: str) -> SumLine | None:
    """The name, then the CRC-32."""
    name, _, digest = line.rstrip(" \t").replace("\t", " ").rpartition(" ")
    is_crc = len(digest) == CRC_DIGITS and _HEX_RE.fullmatch(digest)
    return sum_line(name.rstrip(" "), digest, where, "CRC32") if is_crc else None


def _guessed(line: str, where: str) -> SumLine | None:
    """A name and then a digest, which may be something else, such as a commit."""
    if _is_blake3(where, line) or _TAGGED_RE.fullmatch(line):
        return None
    if match := _GPG_RE.fullmatch(line):
        return sum_line(match[1].strip(), _BLANKS_RE.sub("", match[3]), where)
    name, _, digest = line.rstrip(" \t").replace("\t", " ").rpartition(" ")
    is_digest = len(digest) >= _MD5_DIGITS and _HEX_RE.fullmatch(digest)
    return sum_line(name.rstrip(" ").removesuffix(":"), digest, where) if is_digest else None


def _is_blake3(where: str, line: str) -> bool:
    """Whether a list's name says that digests without a name are BLAKE3's."""
    return bool(_BLAKE3_RE.search(where.rsplit("/", 1)[-1])) and not _TAGGED_RE.fullmatch(line)


def _why(line: str, where: str) -> str:
    tagged = _TAGGED_RE.fullmatch(line)
    name = tagged[1] if tagged else "BLAKE3" if _is_blake3(where, line) else ""
    if name and (not tagged or sum_line("x", "0" * 64, "", name) is None):
        tool = _OTHER_TOOLS.get(name.upper())
        return f"{name} is not read here" + (f": {tool}" if tool else "")
    if _CKSUM_RE.fullmatch(line):
        return "a sum of cksum or sum, which is not read here: let sha256sum make the list"
    return f"no line of a checksum list: {line[:_MOST_SHOWN]!r}"


def _records(rows: Iterator[tuple[int, str, str, str]]) -> SumList:
    """Rows of number, algorithm, digest, path."""
    found = SumList()
    for number, algorithm, digest, path in rows:
        line = None if path.endswith("...") else sum_line(path, digest.replace(" ", ""), "", algorithm)
        if line is not None:
            found.lines.append(line)
        else:
            cut = path.endswith("...") or digest.endswith("...")
            why = "the window was too narrow for it: Get-FileHash ... | Format-List" if cut else f"no {algorithm} sum"
            found.odd.append(OddLine(number, why))
    return found


def _certutil(text: str) -> SumList | None:
    """Three lines a file: algorithm and name in the language of that Windows, the digest, and how it went."""
    if _CERTUTIL_END not in text:
        return None
    lines = text.split("\n")
    rows = []
    for number, (first, digest, end) in enumerate(zip(lines, lines[1:], lines[2:], strict=False), 1):
        algorithm = _CERTUTIL_ALGORITHM_RE.search(first) if end.startswith(_CERTUTIL_END) else None
        if algorithm is not None and _CERTUTIL_DIGEST_RE.fullmatch(digest):
            about = first.rstrip(" \t").removesuffix(":").rstrip(" \t")
            named = _CERTUTIL_NAME_RE.fullmatch(about)
            rows.append((number, algorithm[1], digest, named[1] if named else about))
    return _records(iter(rows)) if rows else None


def _file_hash_list(text: str) -> SumList | None:
    """``Get-FileHash | Format-List``: a record is three fields; what a narrow window breaks goes on in the next line."""
    rows: list[tuple[int, dict[str, str]]] = []
    last = ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := _FIELD_RE.fullmatch(line):
            last = match[1].lower()
            if last == "algorithm":
                rows.append((number, {}))
            if rows:
                rows[-1][1][last] = match[2]
        elif rows and line[:1] == " " and line.strip() and last and len(rows[-1][1][last]) < _LONGEST_BROKEN:
            rows[-1][1][last] += line.strip()
        elif line.strip():
            return None
    if not rows or any(set(row) != set(_COLUMNS) for _, row in rows):
        return None
    return _records(
        (number, row["algorithm"].rstrip(), row["hash"].rstrip(), row["path"].rstrip()) for number, row in rows
    )


def _file_hash_table(text: str) -> SumList | None:
    """``Get-FileHash``: a table, whose last columns a narrow window cuts."""
    lines = text.split("\n")
    head = next((at for at, line in enumerate(lines) if line.strip()), None)
    if head is None or not _TABLE_HEAD_RE.fullmatch(lines[head]):
        return None
    found = SumList()
    for number, line in enumerate(lines[head + 1 :], head + 2):
        if not line.strip("- \t"):
            continue
        match = _TABLE_ROW_RE.fullmatch(line)
        algorithm, digest, path = match.groups() if match else (line.split()[0], "...", "...")
        one = _records(iter([(number, algorithm, digest, path)]))
        found.lines += one.lines
        found.odd += one.odd
    return found


def _file_hash_csv(text: str) -> SumList | None:
    """``Get-FileHash | Export-Csv``, in whatever order its columns are, and ``ConvertTo-Json``."""
    if text.lstrip()[:1] == "[":
        return _file_hash_json(text)
    skipped = 0
    while text.startswith("#TYPE"):
        text = text.partition("\n")[2]
        skipped += 1
    first = text.partition("\n")[0]
    delimiter = ";" if first.count(";") > first.count(",") else "\t" if "\t" in first else ","
    try:
        rows = list(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))
    except csv.Error:
        return None
    head = [name.strip().lower() for name in rows[0]] if rows else []
    if not set(_COLUMNS) <= set(head):
        return None
    places = [head.index(name) for name in _COLUMNS]
    whole = ((n, row) for n, row in enumerate(rows[1:], 2 + skipped) if len(row) == len(head))
    algorithm, digest, path = places
    return _records((number, row[algorithm], row[digest], row[path]) for number, row in whole)


def _file_hash_json(text: str) -> SumList | None:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = [{str(name).lower(): value for name, value in row.items()} for row in rows if isinstance(row, dict)]
    if not named or not all(isinstance(row.get(name), str) for row in named for name in _COLUMNS):
        return None
    return _records((number, row["algorithm"], row["hash"], row["path"]) for number, row in enumerate(named, 1))


def _hashdeep(text: str) -> SumList | None:
    """Size, digests and name of each file; of several digests the strongest is checked."""
    if not text.startswith(_HASHDEEP):
        return None
    lines = text.split("\n")
    columns = lines[1].removeprefix("%%%% ").strip().split(",") if len(lines) > 1 else []
    chosen = next((name for name in _STRONGEST if name in columns), None)
    found = SumList()
    for number, line in enumerate(lines[2:], 3):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split(",", len(columns) - 1)
        row = None
        if chosen is not None and len(cells) == len(columns):
            row = sum_line(cells[-1], cells[columns.index(chosen)], "", chosen)
        if row is not None:
            found.lines.append(row)
        else:
            found.odd.append(OddLine(number, f"no row of {', '.join(columns)} with MD5, SHA-1 or SHA-256"))
    return found


def _debian(text: str) -> SumList | None:
    """A ``.dsc``, ``.changes`` or ``Release``: a field for each algorithm, and in it digest, size and name of each file."""
    if not _DEBIAN_FIELD_RE.search(text):
        return None
    found, name = SumList(), None
    for number, line in enumerate(text.split("\n"), 1):
        if line[:1] != " ":
            name = match[1] or "MD5" if (match := _DEBIAN_FIELD_RE.fullmatch(line)) else None
        elif name is not None and len(cells := line.split()) > 2:
            read = sum_line(cells[-1], cells[0], "", name)
            if read is not None:
                found.lines.append(read)
            else:
                found.odd.append(OddLine(number, f"no {name} sum"))
    return found


_REPORTS = (_debian, _hashdeep, _certutil, _file_hash_table, _file_hash_list, _file_hash_csv)


def _refusal(data: bytes, text: str, where: str, found: SumList) -> FormatError:
    """Why nothing of it can be checked."""
    sniffed = what_is(data[:SNIFF_BYTES], len(data))
    if sniffed is not None and sniffed.code not in ("tar", "json"):
        return FormatError(
            f"this is {sniffed}, no list of checksums", code="sums-damaged", where=where, hint=sniffed.hint
        )
    if found.odd:
        first = found.odd[0]
        return FormatError(first.why, code="sums-damaged", where=f"{where}, line {first.number}", expected=_FORMS)
    number, line = next(
        (n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip() and not is_comment(line)
    )
    return FormatError(
        "no line of it is one of a checksum list",
        code="sums-damaged",
        where=f"{where}, line {number}",
        expected=_FORMS,
        got=repr(line[:_MOST_SHOWN]),
    )
