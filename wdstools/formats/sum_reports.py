"""Checksums that tools print or export: Get-FileHash, certutil, hashdeep, and Debian's control files.

Some are whole files (``read_whole``); the others may be among other lines (``take_reports``).
"""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING

from wdstools.formats.sums import OddLine, SumList, line_of, sum_line
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEX = "[0-9A-Fa-f]"
_MOST_SHOWN = 80
#: What continues on the next line is no longer than the longest path.
_LONGEST_BROKEN = 5000
_CERTUTIL_END = "CertUtil: "
_CERTUTIL_DIGEST_RE = re.compile(rf"[ \t]*{_HEX}[0-9A-Fa-f \t]*")
_CERTUTIL_ALGORITHM_RE = re.compile(r"\b(MD2|MD4|MD5|SHA1|SHA256|SHA384|SHA512)\b")
#: The words between the algorithm and the file, in some languages of Windows.
_CERTUTIL_NAME_RE = re.compile(r".*?\b(?:of file|of|von|du fichier|de|di|van)\b[ \t]+(.+)")
_FIELD_RE = re.compile(r"(Algorithm|Hash|Path)[ \t]*:[ \t]?(.*)")
_TABLE_HEAD_RE = re.compile(r"Algorithm[ \t]+Hash[ \t]+Path[ \t]*")
_TABLE_ROW_RE = re.compile(rf"([A-Z0-9]+)[ \t]+({_HEX}+)[ \t]+(.+?)[ \t]*")
_COLUMNS = ("algorithm", "hash", "path")
_HASHDEEP = "%%%% HASHDEEP-1."
_DEBIAN_FIELD_RE = re.compile(
    r"^(?:Checksums-(?=Sha))?(Sha\d+|SHA\d+|(?=Files|MD5Sum))(?:Files|MD5Sum)?:[ \t]*$", re.MULTILINE
)
#: A field of another kind, in which a commit or a key fingerprint is not a checksum.
_DEBIAN_OTHER_RE = re.compile(r"[A-Z][A-Za-z0-9-]*:(?: .*)?")
_STRONGEST = ("sha256", "sha1", "md5")


def _records(rows: Iterator[tuple[int, str, str, str]]) -> SumList:
    """Rows of number, algorithm, digest, path."""
    found = SumList()
    for number, algorithm, digest, path in rows:
        line = None if path.endswith("...") else sum_line(path, digest.replace(" ", ""), "", algorithm)
        if line is not None:
            found.lines.append(line)
        else:
            cut = path.endswith("...") or digest.endswith("...")
            why = (
                "the window was too narrow for it: use Get-FileHash ... | Format-List" if cut else f"no {algorithm} sum"
            )
            found.odd.append(OddLine(number, why))
    return found


def _certutil(lines: list[str]) -> tuple[SumList, set[int]]:
    """Three lines per file: algorithm and name in the language of that Windows, the digest, and the result."""
    rows, odd, taken = [], list[OddLine](), set[int]()
    failed = -2
    for at, end in enumerate(lines):
        if not end.startswith(_CERTUTIL_END):
            continue
        first, digest = lines[at - 2 : at] if at > 1 and at - 2 not in taken else ("", "")
        algorithm = _CERTUTIL_ALGORITHM_RE.search(first)
        if algorithm is not None and _CERTUTIL_DIGEST_RE.fullmatch(digest):
            about = first.rstrip(" \t").removesuffix(":").rstrip(" \t")
            named = _CERTUTIL_NAME_RE.fullmatch(about)
            rows.append((at - 1, algorithm[1], digest, named[1] if named else about))
            taken |= {at - 2, at - 1, at}
        else:
            if at - 1 != failed:  # a failure takes two lines
                odd.append(OddLine(at + 1, f"no checksum by certutil: {end[:_MOST_SHOWN]!r}"))
            failed = at
            taken |= {at - 2, at - 1, at} if algorithm is not None else {at}
    found = _records(iter(rows))
    return SumList(found.lines, odd=found.odd + odd), taken


def _file_hash_list(lines: list[str]) -> tuple[SumList, set[int]]:
    """``Get-FileHash | Format-List``: a record is three fields, which may be wrapped onto the next line."""
    rows: list[tuple[int, dict[str, str]]] = []
    taken = set[int]()
    last = ""
    for at, line in enumerate(lines):
        if match := _FIELD_RE.fullmatch(line):
            last = match[1].lower()
            if last == "algorithm":
                rows.append((at + 1, {}))
            elif not rows:
                continue
            rows[-1][1][last] = match[2]
            taken.add(at)
        elif rows and line[:1] == " " and line.strip() and last and len(rows[-1][1][last]) < _LONGEST_BROKEN:
            rows[-1][1][last] += line.strip()
            taken.add(at)
        else:
            last = ""
    odd = [OddLine(number, "not a complete record of Get-FileHash") for number, row in rows if len(row) < len(_COLUMNS)]
    found = _records(
        (number, row["algorithm"].rstrip(), row["hash"].rstrip(), row["path"].rstrip())
        for number, row in rows
        if len(row) == len(_COLUMNS)
    )
    return SumList(found.lines, odd=found.odd + odd), taken


def _file_hash_table(text: str) -> SumList | None:
    """``Get-FileHash``: a table, whose last columns a narrow window truncates."""
    lines = text.split("\n")
    head = next((at for at, line in enumerate(lines) if line.strip()), None)
    if head is None or not _TABLE_HEAD_RE.fullmatch(lines[head]):
        return None
    found = SumList()
    for number, line in enumerate(lines[head + 1 :], head + 2):
        if not line.replace("-", " ").strip():
            continue
        match = _TABLE_ROW_RE.fullmatch(line)
        algorithm, digest, path = match.groups() if match else ("", "...", "...")
        one = _records(iter([(number, algorithm, digest, path)]))
        found.lines += one.lines
        found.odd += one.odd
    return found


def _file_hash_csv(text: str) -> SumList | None:
    """``Get-FileHash | Export-Csv``, with its columns in any order, and ``ConvertTo-Json``."""
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
    numbered = [(number, row) for number, row in enumerate(rows[1:], 2 + skipped) if any(row)]
    algorithm, digest, path = places
    found = _records((n, row[algorithm], row[digest], row[path]) for n, row in numbered if len(row) == len(head))
    why = f"not a row of {counted(len(head), 'column')}"
    found.odd += [OddLine(number, why) for number, row in numbered if len(row) != len(head)]
    return found


def _file_hash_json(text: str) -> SumList | None:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    named = [_record_of(row) for row in rows]
    if not any(named):
        return None
    found = _records((number, *row) for number, row in enumerate(named, 1) if row is not None)
    found.odd += [OddLine(n, f"not a record of {', '.join(_COLUMNS)}") for n, row in enumerate(named, 1) if row is None]
    return found


def _record_of(row: object) -> tuple[str, str, str] | None:
    held = {str(name).lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
    algorithm, digest, path = (held.get(name) for name in _COLUMNS)
    if isinstance(algorithm, str) and isinstance(digest, str) and isinstance(path, str):
        return algorithm, digest, path
    return None


def _hashdeep(text: str) -> SumList | None:
    """Size, digests and name of each file; if there are several digests, the strongest is checked."""
    if not text.startswith(_HASHDEEP):
        return None
    head, _, rows = text.partition("\n")[2].partition("\n")
    columns = head.removeprefix("%%%% ").strip().split(",")
    chosen = next((name for name in _STRONGEST if name in columns), None)
    found = SumList()
    for number, line in enumerate(rows.split("\n"), 3):
        if not line.strip() or line.startswith("#"):
            continue
        cells = line.split(",", len(columns) - 1)
        row = None
        if chosen is not None and len(cells) == len(columns):
            row = sum_line(cells[-1], cells[columns.index(chosen)], "", chosen)
        if row is not None:
            found.lines.append(row)
        else:
            found.odd.append(OddLine(number, f"not a row of {', '.join(columns)} with MD5, SHA-1 or SHA-256"))
    return found


def _debian(lines: list[str]) -> tuple[SumList, set[int]]:
    """A ``.dsc``, ``.changes`` or ``Release``: a field for each algorithm, and in it digest, size and name of each file."""
    found, taken, heads, other = SumList(), set[int](), list[int](), list[int]()
    name: str | None = None
    is_other = False
    for at, line in enumerate(lines):
        if line[:1] != " ":
            match = _DEBIAN_FIELD_RE.fullmatch(line)
            name = match[1] or "MD5" if match else None
            is_other = match is None and _DEBIAN_OTHER_RE.fullmatch(line) is not None and line_of(line, "") is None
        if line[:1] != " " or name is None:
            heads += [at] if name is not None else []
            other += [at] if is_other else []
            continue
        cells = line.split()
        if len(cells) < 3 or not cells[1].isdecimal():
            continue  # perhaps a line of sha256sum
        if (read := sum_line(cells[-1], cells[0], "", name)) is not None:
            found.lines.append(read)
        else:
            found.odd.append(OddLine(at + 1, f"no {name} sum"))
        taken.add(at)
    if found.lines:
        found.passed = len(other)
        taken.update(heads, other)
    return found, taken


_WHOLE: tuple[Callable[[str], SumList | None], ...] = (_hashdeep, _file_hash_table, _file_hash_csv)
_MIXED = (_debian, _certutil, _file_hash_list)
#: Only texts with one of these are searched.
_MARK_RE = re.compile(rf"{_CERTUTIL_END}|^Algorithm[ \t]*:|{_DEBIAN_FIELD_RE.pattern}", re.MULTILINE)


def read_whole(text: str) -> SumList | None:
    """A text that is the whole output of one tool; None if it is not."""
    return next((read for form in _WHOLE if (read := form(text)) is not None), None)


def take_reports(text: str) -> tuple[SumList, str]:
    """Tool output among other lines, and the text with blank lines in its place."""
    found = SumList()
    if "\0" in text or not _MARK_RE.search(text):
        return found, text
    lines = text.split("\n")
    for form in _MIXED:
        read, taken = form(lines)
        found.lines += read.lines
        found.odd += read.odd
        found.passed += read.passed
        lines = ["" if at in taken else line for at, line in enumerate(lines)]
    return found, "\n".join(lines)
