"""What a file really is, by its first bytes: for errors about files that are not what their names say. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wdstools.formats.image_types import NAME_OF_TYPE, sniff_plain

#: How many bytes are enough to tell.
SNIFF_BYTES = 512


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What a file is: ``code`` never changes, ``what`` is for people (with its article), ``hint`` says what to do now."""

    code: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        return self.what


EMPTY = Sniffed("empty", "an empty file", "download it again: nothing of it is here")
_LFS = Sniffed(
    "git-lfs", "a Git LFS pointer, not the file itself", "git lfs pull    gets the files that the pointers stand for"
)
_ANNEX = Sniffed(
    "git-annex",
    "a git-annex pointer, not the file itself",
    "git annex get    gets the files that the pointers stand for",
)
_HTML = Sniffed(
    "html",
    "a web page: a sign-in or error page was saved in its place",
    "download it again, signed in, and look at the answer's status",
)
_XML = Sniffed(
    "xml",
    "an XML answer: the error of a store was saved in its place",
    "download it again; the text in it says what the store refused",
)
_JSON = Sniffed(
    "json", "JSON text: perhaps the error of a server, saved in its place", "look at the text, and download it again"
)
_APPLE = Sniffed(
    "apple-double",
    "an AppleDouble file (._NAME), which macOS leaves beside the real one",
    "remove it: find . -name '._*' -delete",
)

_MAGIC = (
    (b"\x1f\x8b", Sniffed("gzip", "gzip data", "name it .tar.gz or .gz, or unpack it: gzip -d")),
    (b"\x28\xb5\x2f\xfd", Sniffed("zstd", "Zstandard data", "name it .tar.zst, or unpack it: zstd -d")),
    (b"\xfd7zXZ\0", Sniffed("xz", "xz data", "name it .tar.xz, or unpack it: xz -d")),
    (b"BZh", Sniffed("bzip2", "bzip2 data", "name it .tar.bz2, or unpack it: bzip2 -d")),
    (b"]\0\0", Sniffed("lzma", "LZMA data", "unpack it: xz -d --format=lzma")),
    (b"LZIP", Sniffed("lzip", "lzip data", "unpack it: lzip -d")),
    (b"\x04\x22\x4d\x18", Sniffed("lz4", "LZ4 data", "unpack it: lz4 -d")),
    (b"\x1f\x9d", Sniffed("compress", "data of compress (.Z)", "unpack it: gzip -d")),
    (b"PK\3\4", Sniffed("zip", "a zip", "unpack it: unzip")),
    (b"PK\5\6", Sniffed("zip", "an empty zip")),
    (b"7z\xbc\xaf\x27\x1c", Sniffed("7z", "a 7-Zip archive", "unpack it: 7z x")),
    (b"Rar!\x1a\7", Sniffed("rar", "a RAR archive", "unpack it: unrar x")),
    (b"\x00\x05\x16\x07", _APPLE),
    (b"PAR1", Sniffed("parquet", "a Parquet table")),
    (b"SQLite format 3\0", Sniffed("sqlite", "an SQLite database")),
    (b"\x89HDF\r\n\x1a\n", Sniffed("hdf5", "an HDF5 file")),
    (b"\x93NUMPY", Sniffed("npy", "a NumPy array")),
    (b"%PDF-", Sniffed("pdf", "a PDF document")),
)  # fmt: skip
_IMAGES = {kind: Sniffed(kind, name) for kind, name in NAME_OF_TYPE.items()}
_TAR = Sniffed("tar", "a tar")
_HTML_RE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_LFS_RE = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/")
_ANNEX_RE = re.compile(rb"(?:\.\./)*(?:\.git)?/annex/objects/")


def what_is(head: bytes, size: int | None = None) -> Sniffed | None:
    """What a file is whose first bytes (SNIFF_BYTES, if it has so many) these are; None if nothing known.

    ``size`` is the file's, where it is known.
    """
    if size == 0 or (size is None and not head):
        return EMPTY
    if _LFS_RE.match(head):
        return _LFS
    if _ANNEX_RE.match(head):
        return _ANNEX
    text = head.removeprefix(b"\xef\xbb\xbf")
    if _HTML_RE.match(text):
        return _HTML
    if text.lstrip().startswith(b"<?xml") or text.lstrip().startswith(b"<Error"):
        return _HTML if b"<html" in text.lower() else _XML
    found = next((sniffed for magic, sniffed in _MAGIC if head.startswith(magic)), None)
    if found is None:
        found = _IMAGES.get(sniff_plain(head)) or next(
            (_IMAGES[kind] for kind in map(sniff_plain, _brands(head)) if kind), None
        )
    if found is None and head[257:262] == b"ustar":
        found = _TAR
    if found is None and text.lstrip()[:1] == b"{":
        found = _JSON
    return found


def _brands(head: bytes) -> list[bytes]:
    """How an ISO media file would begin if each of its compatible brands were the major one."""
    end = min(int.from_bytes(head[:4], "big"), len(head)) if head[4:8] == b"ftyp" else 0
    return [head[:8] + head[at : at + 4] for at in range(16, end - 3, 4)]
