"""Checksum lists as found in practice: lines like those of ``sha256sum`` among other text, and output of other tools.

These are SFV lists, what PowerShell's ``Get-FileHash`` shows or exports, ``certutil -hashfile``, hashdeep's lists and
``gpg --print-md``. As with ``sha256sum -c``, a line that is not a checksum does not spoil the others; it is counted,
and if it looks like a checksum it is named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.formats.sum_reports import read_whole, take_reports
from wdstools.formats.sums import OddLine, SumLine, SumList, is_comment, line_of, sum_line, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEX = "[0-9A-Fa-f]"
_HEX_RE = re.compile(f"{_HEX}+")
_BLANKS_RE = re.compile(r"[ \t]+")
#: Anything shorter than an MD5 may not be a digest: eight digits could be a date.
CRC_DIGITS, _MD5_DIGITS = 8, 32
_PREFIXED_RE = re.compile(rf"([A-Za-z][A-Za-z0-9-]*):({_HEX}{{8,128}})(?:[ \t]+\*?(.+))?")
#: gpg shows a digest in groups, and breaks long ones.
_GROUPS = rf"{_HEX}{{2,8}}(?:[ \t]+{_HEX}{{2,8}})*"
_GPG_RE = re.compile(rf"(.+?):[ \t]*(?:([A-Za-z][A-Za-z0-9-]*)[ \t]*=[ \t]*)?({_GROUPS})[ \t]*")
_GPG_MORE_RE = re.compile(rf"[ \t]+{_GROUPS}[ \t]*")
#: So many hexadecimal digits are not a word; lines without them are prose.
_DIGEST_RE = re.compile(rf"{_HEX}{{31}}")
_CKSUM_RE = re.compile(r"\d+[ \t]+\d+(?:[ \t]+\S.*)?")
_SIZE_RE = re.compile(r"size ?\(.+\) ?= ?\d+.*", re.IGNORECASE)
_TAGGED_RE = re.compile(r"([A-Za-z0-9/_-]+) ?\(.+\) ?= ?\S{1,200}[ \t]*")
#: Unsupported algorithms, and the commands that check them.
_OTHER_TOOLS = {"BLAKE3": "b3sum --check LIST"}
_BLAKE3_RE = re.compile(r"(?:^|[/._-])(?:b3sums?|blake3)", re.IGNORECASE)
_FORMS = (
    "DIGEST  PATH, ALGORITHM (PATH) = DIGEST, SFV, or what Get-FileHash, certutil, hashdeep or gpg --print-md print"
)
_MOST_SHOWN = 80
#: What continues on the next line is no longer than the longest path.
_LONGEST_BROKEN = 5000


def read_list(data: bytes, *, where: str) -> SumList:
    """Read a checksum list of any tool. Raises FormatError (``sums-damaged``) if no line of it is a checksum."""
    text = text_of(data, where).decode("utf-8", "surrogateescape")
    if "\0" not in text:
        text = text.replace("\r\n", "\n")
        text = text.replace("\r", "\n") if "\n" not in text else text  # line ends of an old Macintosh
    found = read_whole(text) or _read_mixed(text, where)
    if not found.lines:
        found.lines, found.guesses = [line for _, line in found.guesses], []
    if not found.lines and (found.odd or found.passed):
        raise _refusal(data, text, where, found)
    return found


def _read_mixed(text: str, where: str) -> SumList:
    """Tool output may be mixed with list lines: nothing that looks like a checksum may get lost between the two."""
    found, others = take_reports(text)
    return _read_lines(others, where, found)


def _read_lines(text: str, where: str, found: SumList) -> SumList:
    is_sfv = where.lower().endswith((".sfv", ".crc", ".crc32")) or text.lstrip().startswith(";")
    for number, line in _joined(text):
        if not line.strip() or is_comment(line):
            continue
        read = _sfv(line, where) if is_sfv else None
        read = read or (None if _is_blake3(where, line) else _read_line(line, where))
        if read is not None and (is_sfv or len(read.digest) > CRC_DIGITS or _TAGGED_RE.fullmatch(line)):
            found.lines.append(read)
        elif read is not None:  # perhaps a date
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
    """Lines with their numbers; groups of digits that continue on the next line are joined."""
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
    """A line of an SFV list: the name, then the CRC-32."""
    name, _, digest = line.rstrip(" \t").replace("\t", " ").rpartition(" ")
    return sum_line(name.rstrip(" "), digest, where, "CRC32") if _HEX_RE.fullmatch(digest) else None


def _guessed(line: str, where: str) -> SumLine | None:
    """A name followed by a digest, which may be something else, such as a commit."""
    if _is_blake3(where, line) or _TAGGED_RE.fullmatch(line):
        return None
    if match := _GPG_RE.fullmatch(line):
        return sum_line(match[1].strip(), _BLANKS_RE.sub("", match[3]), where)
    name, _, digest = line.rstrip(" \t").replace("\t", " ").rpartition(" ")
    is_digest = len(digest) >= _MD5_DIGITS and _HEX_RE.fullmatch(digest)
    return sum_line(name.rstrip(" ").removesuffix(":"), digest, where) if is_digest else None


def _is_blake3(where: str, line: str) -> bool:
    """Whether the name of a list says that untagged digests are BLAKE3."""
    return bool(_BLAKE3_RE.search(where.rpartition("/")[2])) and not _TAGGED_RE.fullmatch(line)


def _why(line: str, where: str) -> str:
    tagged = _TAGGED_RE.fullmatch(line)
    name = tagged[1] if tagged else "BLAKE3" if _is_blake3(where, line) else ""
    if name and (not tagged or sum_line("x", "0" * 64, "", name) is None):
        tool = _OTHER_TOOLS.get(name.upper())
        return f"{name} is not supported" + (f": {tool}" if tool else "")
    if _CKSUM_RE.fullmatch(line):
        return "a checksum of cksum or sum, which is not supported: make the list with sha256sum"
    return f"not a line of a checksum list: {line[:_MOST_SHOWN]!r}"


def _refusal(data: bytes, text: str, where: str, found: SumList) -> FormatError:
    """The error for a list of which nothing can be checked."""
    sniffed = what_is(data[:SNIFF_BYTES], len(data))
    if sniffed is not None and sniffed.code not in ("tar", "json"):
        return FormatError(
            f"this is {sniffed}, not a list of checksums", code="sums-damaged", where=where, hint=sniffed.hint
        )
    if found.odd:
        first = found.odd[0]
        return FormatError(first.why, code="sums-damaged", where=f"{where}, line {first.number}", expected=_FORMS)
    number, line = next(
        (n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip() and not is_comment(line)
    )
    return FormatError(
        "it has no line of a checksum list",
        code="sums-damaged",
        where=f"{where}, line {number}",
        expected=_FORMS,
        got=repr(line[:_MOST_SHOWN]),
    )
