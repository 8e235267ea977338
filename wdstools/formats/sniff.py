"""What a file really is, by its first bytes: for errors about files that are not what their names say. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass

from wdstools.formats.image_types import NAME_OF_TYPE, sniff_plain

#: How many bytes are enough to find out.
SNIFF_BYTES = 512


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What a file is: ``code`` is stable, ``what`` is for people (with its article), ``hint`` says what to do now."""

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
_SIGNATURE = Sniffed(
    "signature",
    "a signature, not what was signed",
    "gpg --verify SIGNATURE FILE    checks it; give the file that was signed",
)
_VIDEO = Sniffed("video", "a video")
_SOUND = Sniffed("sound", "a sound")
_RAW = Sniffed("raw", "a camera's raw image", "develop it first: darktable-cli, or dcraw -T")
_CPIO = Sniffed("cpio", "a cpio archive", "unpack it: cpio -id < FILE")
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
    (b"PK\7\x08", Sniffed("zip", "the first volume of a zip that was cut up", "put it together: 7z x FILE.zip")),
    (b"070701", _CPIO),
    (b"070702", _CPIO),
    (b"070707", _CPIO),
    (b"\xc7\x71", _CPIO),
    (b"!<arch>\n", Sniffed("ar", "an ar archive", "unpack it: ar x")),
    (b"\x89LZO", Sniffed("lzop", "lzop data", "unpack it: lzop -d")),
    (b"-----BEGIN PGP ", _SIGNATURE),
    (b"-----BEGIN SSH SIGNATURE", _SIGNATURE),
    (b"untrusted comment: ", _SIGNATURE),
    (b"7z\xbc\xaf\x27\x1c", Sniffed("7z", "a 7-Zip archive", "unpack it: 7z x")),
    (b"Rar!\x1a\7", Sniffed("rar", "a RAR archive", "unpack it: unrar x")),
    (b"\x00\x05\x16\x07", _APPLE),
    (b"PAR1", Sniffed("parquet", "a Parquet table")),
    (b"SQLite format 3\0", Sniffed("sqlite", "an SQLite database")),
    (b"\x89HDF\r\n\x1a\n", Sniffed("hdf5", "an HDF5 file")),
    (b"\x93NUMPY", Sniffed("npy", "a NumPy array")),
    (b"%PDF-", Sniffed("pdf", "a PDF document")),
    (b"II\x2a\0\x10\0\0\0CR", _RAW),
    (b"8BPS", Sniffed("psd", "a Photoshop document", "export it as PNG")),
    (b"%!PS", Sniffed("postscript", "a PostScript document")),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"IIU\0", _RAW),
    (b"DDS ", Sniffed("dds", "a DDS texture")),
    (b"qoif", Sniffed("qoi", "a QOI image")),
    (b"v/1\1", Sniffed("exr", "an OpenEXR image")),
    (b"\0\0\1\0", Sniffed("ico", "a Windows icon")),
    (b"\x1aE\xdf\xa3", _VIDEO),
    (b"OggS", _SOUND),
    (b"fLaC", _SOUND),
    (b"ID3", _SOUND),
    (b"ARROW1", Sniffed("arrow", "an Arrow table")),
)  # fmt: skip
_IMAGES = {kind: Sniffed(kind, name) for kind, name in NAME_OF_TYPE.items()}
_BRANDS = {
    b"crx ": _RAW,
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"M4V ", b"qt  ", b"3gp4", b"3gp5", b"dash"), _VIDEO),
}
_RIFF = {b"WAVE": _SOUND, b"AVI ": _VIDEO}
_TAR = Sniffed("tar", "a tar")
_HTML_RE = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_SVG_RE = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg\b", re.IGNORECASE | re.DOTALL
)
_LFS_RE = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/")
_ANNEX_RE = re.compile(rb"(?:\.\./)*(?:\.git)?/annex/objects/")


def what_is(head: bytes, size: int | None = None) -> Sniffed | None:
    """What a file with these first bytes (SNIFF_BYTES, if it has as many) is; None if unknown.

    ``size`` is the size of the file, if known.
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
    if _SVG_RE.match(text):
        return Sniffed("svg", "an SVG drawing", "draw it first: rsvg-convert, or inkscape")
    if text.lstrip().startswith(b"<?xml") or text.lstrip().startswith(b"<Error"):
        return _HTML if b"<html" in text.lower() else _XML
    found = _by_magic(head)
    return _JSON if found is None and text.lstrip()[:1] == b"{" else found


def _by_magic(head: bytes) -> Sniffed | None:
    found = next((sniffed for magic, sniffed in _MAGIC if head.startswith(magic)), None)
    if found is None:
        found = _IMAGES.get(sniff_plain(head))
    if found is None and head[4:8] == b"ftyp":
        found = next(filter(None, map(_of_brand, (head[8:12], *_brands(head)))), None)
    if found is None and head[:4] == b"RIFF":
        found = _RIFF.get(head[8:12])
    if found is None and head[257:262] == b"ustar":
        found = _TAR
    return found


def _of_brand(brand: bytes) -> Sniffed | None:
    """What an ISO media file with this brand is."""
    return _BRANDS.get(brand) or _IMAGES.get(sniff_plain(b"\0\0\0\x0cftyp" + brand))


def _brands(head: bytes) -> list[bytes]:
    """The brands that an ISO media file says it is compatible with."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return [head[at : at + 4] for at in range(16, end - 3, 4)]
