"""What a file is by its first bytes: each type from the bytes that tell it, and nothing from those that only look alike."""

from __future__ import annotations

import pytest

from wdstools.formats.image_types import MEDIA_TYPE_OF, is_image_extension, sniff, sniff_plain
from wdstools.formats.sniff import SNIFF_BYTES, what_is


def _bare_bitmap(size: int = 40, planes: int = 1, bits: int = 24) -> bytes:
    sides = (7).to_bytes(4, "little") * 2
    return size.to_bytes(4, "little") + sides + planes.to_bytes(2, "little") + bits.to_bytes(2, "little")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "avif"),
        (b"\0\0\0\x20ftypheicmif1", "heic"),
        (b"\0\0\0\x20ftypisomavif", ""),
        (b"\0\0\0\x20FTYPavif", ""),
        (b"RIFF\4\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\4\0\0\0WAVEfmt ", ""),
        (b"RIFX\4\0\0\0WEBPVP8 ", ""),
        (b"RIFF\4\0\0\0 WEBPVP8", ""),
        (b"BM\x36\0", "bmp"),
        (b"", ""),
    ],
)
def test_a_magic_number_tells_an_image(head: bytes, kind: str) -> None:
    assert sniff_plain(head) == kind
    assert sniff(head) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        *((b"P%d%bx" % (number, space), "ppm") for number in (1, 6) for space in (b" ", b"\t", b"\n", b"\r", b"#")),
        *((head, "") for head in (b"P7\n", b"P0 4", b"P6x", b"p6 4", b"P", b"P6", b"1P6 ", b" P6 ")),
        *((_bare_bitmap(size), "bmp") for size in (40, 52, 56, 64, 108, 124)),
        *((_bare_bitmap(bits=bits), "bmp") for bits in (1, 4, 8, 16, 24, 32)),
        (_bare_bitmap() + b"\1\2", "bmp"),
        *(
            (head, "")
            for head in (_bare_bitmap(41), _bare_bitmap(planes=2), _bare_bitmap(planes=0), _bare_bitmap(bits=2))
        ),
        (_bare_bitmap()[:15], ""),
        (b"\0" + _bare_bitmap(), ""),
    ],
)
def test_a_weak_sign_tells_an_image_only_where_one_is_expected(head: bytes, kind: str) -> None:
    assert sniff(head) == kind
    assert sniff_plain(head) == ""


def test_the_extension_of_an_image_is_the_last_one_in_either_case() -> None:
    assert all(map(is_image_extension, ("jpg", "JPEG", "mask.png", "a.b.Tiff", "dib")))
    assert not any(map(is_image_extension, ("", "txt", "png.txt", "jpg.", "jp")))


def test_browsers_know_an_image_by_its_media_type() -> None:
    names = {"jpg": "jpeg", "png": "png", "webp": "webp", "gif": "gif", "avif": "avif"}
    assert {kind: f"image/{name}" for kind, name in names.items()} == MEDIA_TYPE_OF


_BRANDED = b"\0\0\0\x1cftypXXXX\0\0\0\0"


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "git-lfs"),
        (b"../../.git/annex/objects/x", "git-annex"),
        (b"/annex/objects/x", "git-annex"),
        (b"\xef\xbb\xbf <!-- a --> <HTML>", "html"),
        (b"<!DOCTYPE html>", "html"),
        (b"<?xml version='1.0'?><html>", "html"),
        (b"<?xml version='1.0'?><svg >", "svg"),
        (b"<svg>", "svg"),
        (b"<!-- a\n b --> <SVG>", "svg"),
        (b"<!-- a\n b --> <html>", "html"),
        (b" <?xml version='1.0'?><a>", "xml"),
        (b"<Error><Code>", "xml"),
        (b" {'a': 1}", "json"),
        (b"{", "json"),
        (b"\x1f\x8b{", "gzip"),
        (b"\xff\xd8\xff{", "jpg"),
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", "heic"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"\0\0\0\x18ftypcrx ", "raw"),
        # the brand that says it is the last of those that it is compatible with
        (_BRANDED + b"miafMiHBavif", "avif"),
        (_BRANDED + b"miafavifMiHB", "avif"),
        (_BRANDED + b"avif", "avif"),
        (_BRANDED + b"miafmp42MiHB", "video"),
        (b"RIFF\4\0\0\0WAVEfmt ", "sound"),
        (b"RIFF\4\0\0\0AVI LIST", "video"),
        (b"RIFF\4\0\0\0WEBPVP8 ", "webp"),
        (b"\1" * 257 + b"ustar\0", "tar"),
        (b"II\x2a\0\x10\0\0\0CR", "raw"),
        (b"II\x2a\0\x08\0\0\0", "tiff"),
    ],
)
def test_a_file_is_what_its_first_bytes_say(head: bytes, code: str) -> None:
    found = what_is(head)
    assert found is not None
    assert found.code == code
    assert what_is(head.ljust(SNIFF_BYTES, b"\1"), 10_000) == found


@pytest.mark.parametrize(
    "head",
    [
        b"a text",
        b"[1]",
        b"RIFF\4\0\0\0XXXX",
        b"RIFF",
        b"RIFX\4\0\0\0WAVE",
        _BRANDED,
        b"\0\0\0\x10" + _BRANDED[4:] + b"avif",  # behind the end of what it claims
        b"\0\0\0\x13" + _BRANDED[4:] + b"avif",
        b"\0\0\0\x1cFTYPXXXX\0\0\0\0avif",
        b"\0\0\0\x1cFTYPavif\0\0\0\0",
        _BRANDED + b"  avif",  # not at the place of one
        _BRANDED + b"avi",
        b"\1" * 256 + b"ustar\0",
        b"P6 4 4 255 ",
        _bare_bitmap(),
    ],
)
def test_what_says_nothing_is_nothing_known(head: bytes) -> None:
    assert what_is(head) is None


def test_only_a_file_of_no_bytes_is_empty() -> None:
    (empty,) = {what_is(b""), what_is(b"", 0), what_is(b"x", 0)}
    assert empty is not None
    assert empty.code == "empty"
    assert what_is(b"", 5) is None
    assert what_is(b"x", 5) is None
