"""What checksum lists of many tools say, line by line: the sums, and which lines are odd, passed over or only guessed."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from wdstools.errors import FormatError, UsageError
from wdstools.formats.digest import parse_root
from wdstools.formats.sum_lists import read_list
from wdstools.formats.sums import line_of, parse_sums, sum_line

ONE, TWO = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
MD5, SHA1 = hashlib.md5(b"1", usedforsecurity=False).hexdigest(), hashlib.sha1(b"1", usedforsecurity=False).hexdigest()


def _sums(text: str | bytes, where: str = "SUMS") -> list[tuple[str, str, str]]:
    found = read_list(text if isinstance(text, bytes) else text.encode(), where=where)
    return [(line.path, line.algorithm, line.digest) for line in found.lines]


def _odd(text: str, where: str = "SUMS") -> list[int]:
    return [odd.number for odd in read_list(text.encode(), where=where).odd]


_ERROR = "-hashfile command FAILED: 0x80070002"
A, B = ("a.tar", "sha256", ONE), ("b.tar", "sha256", TWO)


def _certutil(name: str, digest: str) -> str:
    return f"SHA256 hash of {name}:\n{digest}\nCertUtil: -hashfile command completed successfully.\n"


def _fields(name: str, digest: str) -> str:
    return f"Algorithm : SHA256\nHash      : {digest.upper()}\nPath      : {name}\n\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}  a.tar\n{TWO}  b.tar\n",
        f"{ONE}  a.tar\r\n{TWO}  b.tar\r\n",
        f"{ONE}  a.tar\r{TWO}  b.tar\r",
        f"# a word\n; another\n// a third\n\n{ONE} *a.tar\n  \n{TWO} *b.tar",
        f"SHA256 (a.tar) = {ONE}\nSHA256(b.tar)= {TWO}\n",
        f"{_certutil('a.tar', ONE)}{_certutil('b.tar', TWO)}",
        f"{_certutil('a.tar', ONE)}{TWO}  b.tar\n",
        f"{_fields('a.tar', ONE)}{_fields('b.tar', TWO)}",
        f"\nAlgorithm       Hash                 Path\n---------       ----                 ----\nSHA256  {ONE}  a.tar\nSHA256  {TWO}  b.tar\n",
        f'"Algorithm","Hash","Path"\n"SHA256","{ONE}","a.tar"\n\n"SHA256","{TWO}","b.tar"\n',
        f"#TYPE One\n#TYPE Two\nPath;Hash;Algorithm\na.tar;{ONE};SHA256\nb.tar;{TWO};SHA256\n",
        f"Hash\tPath\tAlgorithm\n{ONE}\ta.tar\tSHA256\n{TWO}\tb.tar\tSHA256\n",
        json.dumps(
            [
                {"Algorithm": "SHA256", "Hash": ONE, "Path": "a.tar"},
                {"algorithm": "SHA256", "hash": TWO, "path": "b.tar"},
            ]
        ),
        f"%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n# a word\n9,{MD5},{ONE},a.tar\n\n8,{MD5},{TWO},b.tar\n",
        f"Format: 1.0\nChecksums-Sha256:\n {ONE} 9 a.tar\n {TWO} 8 b.tar\n",
    ],
)
def test_sums_are_read_in_every_form(text: str) -> None:
    found = read_list(text.encode(), where="SUMS")
    lines = [(line.path, line.algorithm, line.digest) for line in found.lines]
    assert lines == [A, B]
    assert [odd.number for odd in found.odd] == []


@pytest.mark.parametrize(
    ("text", "odd", "lines"),
    [
        (f"{ONE}  a.tar\nBLAKE3 (b.tar) = {TWO}\n", [2], [A]),
        (f"{ONE}  a.tar\n123 456 b.tar\n{TWO}  b.tar\n", [2], [A, B]),
        (
            f"{_certutil('a.tar', ONE)}CertUtil: -hashfile command FAILED: 0x80070002\nCertUtil: It is not there.\n",
            [4],
            [A],
        ),
        (f"CertUtil: {_ERROR}\nCertUtil: why\n{_certutil('a.tar', ONE)}CertUtil: {_ERROR}\n", [1, 6], [A]),
        (f"{_certutil('a.tar', ONE)}{_certutil('b.tar', TWO).replace('SHA256', 'MD2')}", [4], [A]),
        (f"{_certutil('a.tar', ONE)}CertUtil: SHA256: {_ERROR}\n{TWO}\nCertUtil: {_ERROR}\n", [4, 6, 5], [A]),
        (f"{_fields('a.tar', ONE)}Algorithm : SHA256\nHash : {TWO}\n", [5], [A]),
        (f"Algorithm,Hash,Path\nSHA256,{ONE},a.tar\nSHA256,{TWO}\nSHA256,{TWO},b.tar\n", [3], [A, B]),
        (f"#TYPE One\nAlgorithm,Hash,Path\nSHA256,{ONE},a.tar\nSHA256,{TWO}\n", [4], [A]),
        (json.dumps([{"Algorithm": "SHA256", "Hash": ONE, "Path": "a.tar"}, 5, {"Hash": TWO}]), [2, 3], [A]),
        (json.dumps([{"Algorithm": "SHA256", "Hash": name, "Path": "a.tar"} for name in (MD5, ONE)]), [1], [A]),
        (f"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n9,{ONE},a.tar\n8,{TWO[1:]},b.tar\n8,{TWO}\n", [4, 5], [A]),
        (f"Checksums-Sha256:\n {ONE} 9 a.tar\n {TWO[1:]} 8 b.tar\n", [3], [A]),
        (f"Algorithm Hash Path\n--------- ---- ----\nSHA256 {ONE} a.tar\nSHA256 {TWO[:20]}...\n", [4], [A]),
        (f"Algorithm Hash Path\n--------- ---- ----\n\f\nSHA256 {ONE} a.tar\n\u00a0\nSHA256\n", [6], [A]),
        (f"%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n9,{ONE},a.tar\n8,éééé,b.tar\n", [4], [A]),
        (f"Algorithm,Hash,Path\nSHA256,{ONE},a.tar\nSHA256,é,b.tar\n", [3], [A]),
        (f"Checksums-Sha256:\n {ONE} 9 a.tar\n é 8 b.tar\n", [3], [A]),
    ],
)
def test_a_line_that_is_no_sum_is_named_by_its_number(
    text: str, odd: list[int], lines: list[tuple[str, str, str]]
) -> None:
    assert _sums(text) == lines
    assert _odd(text) == odd


def test_a_record_that_a_narrow_window_breaks_is_put_together() -> None:
    text = f"Algorithm : SHA256\nHash      : {ONE[:40]}\n            {ONE[40:]}\nPath      : a.t\n            ar\n"
    found = read_list(text.encode(), where="SUMS")
    assert (_sums(text), found.odd, found.guesses, found.passed) == ([A], [], [], 0)
    assert _sums(f"Hash : {TWO}\n\n{text}") == [A]


def test_a_quoted_path_may_go_on_in_the_next_line() -> None:
    assert _sums(f'Algorithm,Hash,Path\nSHA256,{ONE},"a\nb.tar"\n') == [("a\nb.tar", "sha256", ONE)]


def test_a_list_of_names_with_any_letters_holds_no_other_lists() -> None:
    """As ``sha256sum --zero`` writes it: a name may be what any other tool prints."""
    names = [f"x\nChecksums-Sha256:\n {TWO} 8 b.tar", f"x\n{_certutil('c.tar', TWO)}"]
    assert _sums("".join(f"{ONE}  {name}\0" for name in names)) == [(name, "sha256", ONE) for name in names]


def test_an_indented_sum_before_a_control_file_is_one() -> None:
    assert _sums(f" {ONE}  a.tar\nChecksums-Sha256:\n {TWO} 8 b.tar\n") == [B, A]


def test_a_list_of_hashdeep_may_be_empty_and_its_names_may_have_commas() -> None:
    head = "%%%% HASHDEEP-1.0\n%%%% size,sha256,filename\n"
    for text in (head, head[:-1], head[:18], head[:17]):
        assert (_sums(text), _odd(text)) == ([], [])
    assert _sums(f"{head}9,{ONE},a,b,c.tar\n") == [("a,b,c.tar", "sha256", ONE)]


def test_groups_of_gpg_go_on_in_the_next_line() -> None:
    groups = [ONE[at : at + 8].upper() for at in range(0, 64, 8)]
    text = f"a.tar: SHA256 = {' '.join(groups[:4])}\n                {' '.join(groups[4:])}\nb.tar: SHA256 = {' '.join(groups)}\n"
    assert _sums(text) == [A, ("b.tar", "sha256", ONE)]
    # an algorithm that is named is that one, and what is put together has the number of its first line
    fours = [SHA1[at : at + 4].upper() for at in range(0, 40, 4)]
    other = f"\na.tar: RMD160 = {' '.join(fours[:5])}\n  {' '.join(fours[5:])}\n123 456 b.tar\n{TWO}  b.tar\n"
    assert _sums(other) == [("a.tar", "ripemd160", SHA1), B]
    assert _odd(other) == [4]
    guessed = read_list(other.replace(" RMD160 =", "").encode(), where="SUMS").guesses
    assert [(number, line.path, line.digest) for number, line in guessed] == [(2, "a.tar", SHA1)]
    single = f"a.tar:  {' '.join(MD5.upper()[at : at + 2] for at in range(0, 32, 2))}\n"
    assert _sums(single) == [("a.tar", "md5", MD5)]


def test_a_short_sum_counts_only_where_it_is_named_or_the_list_is_of_such() -> None:
    assert _sums("a.tar 0A0B0C0D\nb.tar 00000001\n", "x.sfv") == [
        ("a.tar", "crc32", "0a0b0c0d"),
        ("b.tar", "crc32", "00000001"),
    ]
    assert _sums("; made today\na.tar 0A0B0C0D\n") == [("a.tar", "crc32", "0a0b0c0d")]
    assert _sums(f"20240101  a.tar\n{ONE}  a.tar\n") == [A]
    assert _sums("CRC32 (a.tar) = 0a0b0c0d\n") == [("a.tar", "crc32", "0a0b0c0d")]


def test_a_name_before_a_digest_is_a_sum_where_nothing_else_is() -> None:
    assert _sums(f"a.tar {ONE}\n") == [A]
    assert _sums(f"a.tar: {MD5}\n") == [("a.tar", "md5", MD5)]
    assert _sums(f"commit {SHA1}\n{ONE}  a.tar\n") == [A]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a.tar 0A0B0C0D\n", "SUMS"),
        (f"a.tar {base64.b64encode(bytes.fromhex(ONE)).decode()}\n", "SUMS"),
        ("a.tar AAAAAA==\n", "x.sfv"),  # four bytes in base64
        (f"a.tar {TWO[:9]}\n", "x.sfv"),
        ("[1, 2]\n", "SUMS"),
    ],
)
def test_a_name_before_what_may_be_anything_is_no_sum(text: str, where: str) -> None:
    with pytest.raises(FormatError, match="no line of a checksum list"):
        read_list(text.encode(), where=where)


def test_a_sum_in_base64_is_nothing_but_that() -> None:
    base64_one = base64.b64encode(bytes.fromhex(ONE)).decode()
    assert sum_line("a", base64_one, "") is not None
    for digest in ("!" + base64_one, base64_one[:9] + " " + base64_one[9:], base64_one + "="):
        assert sum_line("a", digest, "") is None


def test_lines_of_a_record_that_failed_are_not_counted_as_words() -> None:
    text = f"{ONE}  a.tar\nSHA256 hash of b.tar:\nno digest\nCertUtil: {_ERROR}\n"
    found = read_list(text.encode(), where="SUMS")
    assert ([odd.number for odd in found.odd], found.passed) == ([4], 0)


def test_why_a_line_is_no_sum_is_told_by_what_is_wrong_with_it() -> None:
    found = read_list(f"{ONE}  a.tar\nSHA256 (b.tar) = {MD5}\nBLAKE3 (b.tar) = {ONE}\n".encode(), where="SUMS")
    assert ["not supported" in odd.why for odd in found.odd] == [False, True]


@pytest.mark.parametrize(
    ("text", "where", "line"),
    [
        (b"<html><body>", "SUMS", ""),
        (b"# a word\n\nno sum at all\n", "SUMS", ", line 3"),
        (b"123 456 a.tar\n", "SUMS", ", line 1"),
        (f"\nBLAKE3 (a.tar) = {ONE}\n".encode(), "SUMS", ", line 2"),
        (f"{ONE}  a.tar\n".encode(), "B3SUMS", ", line 1"),
    ],
)
def test_a_list_of_no_sums_is_refused_by_what_it_is(text: bytes, where: str, line: str) -> None:
    with pytest.raises(FormatError) as told:
        read_list(text, where=where)
    assert (told.value.code, told.value.where) == ("sums-damaged", where + line)
    words = {"": "web page", ", line 3": "no line of a checksum list"}.get(line, "not supported")
    assert words in str(told.value)


def test_lines_of_a_signed_list_keep_their_numbers() -> None:
    text = f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{ONE}  a.tar\n- {TWO}  b.tar\n-----BEGIN PGP SIGNATURE-----\nx\n"
    assert _sums(text) == [A, B]
    with pytest.raises(FormatError, match="line 5"):
        parse_sums(text.replace(f"- {TWO}", "- no sum").encode(), where="SUMS")
    with pytest.raises(FormatError):
        parse_sums(b"\xff\xfea", where="SUMS")
    assert _sums(text.encode("utf-16")) == [A, B]
    with pytest.raises(FormatError):  # half a letter: nobody knows what the rest of it says
        read_list(b"\xff\xfe\n" + f"{ONE}  a.tar\n".encode(), where="SUMS")


@pytest.mark.parametrize(
    ("line", "where", "path", "algorithm"),
    [
        (ONE, "d/x.tar.sha256", "x.tar", "sha256"),
        (ONE, "x", "", ""),
        (f"{ONE}  -", "x.tar.sha256", "x.tar", "sha256"),
        (f"{ONE}  -", "x", "-", "sha256"),
        (f"SHA256(stdin)= {ONE}", "x.tar.sha256", "x.tar", "sha256"),
        (f"{base64.b64encode(bytes.fromhex(ONE)).decode()}  a", "", "a", "sha256"),
        (f"{base64.b64encode(bytes.fromhex(ONE)).decode()[:-1]}  a", "", "", ""),
        (f"\\{ONE}  a\\nb", "", "a\nb", "sha256"),
        (f"BLAKE2b-256 (a) = {ONE}", "", "a", "blake2b-256"),
        (f"BLAKE2b-512 (a) = {ONE * 2}", "", "a", "blake2b"),
        (f"BLAKE2b (a) = {ONE * 2}", "", "a", "blake2b"),
        (f"BLAKE2b-128 (a) = {ONE}", "", "", ""),
        (f"SHA512/256 (a) = {ONE}", "", "a", "sha512_256"),
        (f"SHA-1 (a) = {ONE}", "", "", ""),
        (f"\t {ONE}  a", "", "a", "sha256"),
        ("no sum", "", "", ""),
    ],
)
def test_a_line_says_path_and_algorithm(line: str, where: str, path: str, algorithm: str) -> None:
    found = line_of(line, where)
    assert (found.path, found.algorithm) == (path, algorithm) if found else not path


def test_a_root_digest_is_64_digits() -> None:
    assert parse_root(ONE) == ONE
    for text in ("", ONE[1:], ONE + "0", "g" + ONE[1:]):
        with pytest.raises(UsageError) as told:
            parse_root(text)
        assert told.value.got == (text or "nothing")
