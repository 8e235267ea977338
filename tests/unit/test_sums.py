"""Checksum lists as people and their tools write them."""

from __future__ import annotations

import functools
import hashlib
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import xxhash

from tests.support.command import run_command
from wdstools import FormatError
from wdstools.executors.open import open_executor
from wdstools.formats.sums import parse_sums, render_sums
from wdstools.ops.verify.lone import verify_sums
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wdstools.results import Report

DATA = b"some bytes of a file"


def sha(data: bytes = DATA) -> str:
    return hashlib.sha256(data).hexdigest()


def check(folder: Path, text: bytes, name: str = "SUMS", data: bytes = DATA) -> Report:
    (folder / "a b.tar").write_bytes(data)
    (folder / name).write_bytes(text)
    return verify_sums(str(folder / name), executor=open_executor("serial"), progress=Silent())


BY_LENGTH: dict[str, Callable[[bytes], Any]] = {
    "md5": hashlib.md5, "sha1": hashlib.sha1, "sha224": hashlib.sha224, "sha256": hashlib.sha256, "sha384": hashlib.sha384,
    "sha512": hashlib.sha512, "blake2b": hashlib.blake2b, "blake2s": hashlib.blake2s, "sha3-256": hashlib.sha3_256,
    **{name: functools.partial(hashlib.new, name) for name in ("sha512_256", "sm3", "ripemd160") if name in hashlib.algorithms_available},
    "blake2b-256": lambda data: hashlib.blake2b(data, digest_size=32), "xxh32": xxhash.xxh32, "xxh64": xxhash.xxh64,
    "xxh3": xxhash.xxh3_64, "xxh128": xxhash.xxh3_128,
}  # fmt: skip


@pytest.mark.parametrize("algorithm", BY_LENGTH)
@pytest.mark.parametrize("name", ["SUMS", "b2sums.txt", "x.xxh"])
def test_before_a_file_is_called_damaged_every_algorithm_of_that_length_is_tried(
    algorithm: str, name: str, tmp_path: Path
) -> None:
    digest = BY_LENGTH[algorithm](DATA).hexdigest()
    assert check(tmp_path, f"{digest}  a b.tar\n".encode(), name).ok
    (finding,) = check(tmp_path, f"{digest}  a b.tar\n".encode(), name, b"other").findings
    assert (finding.kind, finding.cause) == ("file", "bytes-differ")


FORMS: dict[str, bytes] = {
    "binary": f"{sha()} *a b.tar".encode(),
    "capitals": f"{sha().upper()}  a b.tar\n".encode(),
    "one space": f"{sha()} a b.tar\n".encode(),
    "a tab": f"{sha()}\ta b.tar\n".encode(),
    "tabs and spaces": f"{sha()} \t a b.tar\n".encode(),
    "CR LF": f"{sha()}  a b.tar\r\n".encode(),
    "a byte order mark": b"\xef\xbb\xbf" + f"{sha()}  a b.tar\n".encode(),
    "UTF-16": f"{sha()}  a b.tar\r\n".encode("utf-16"),
    "comments": f"# made by hand\n\n{sha()}  a b.tar\n".encode(),
    "tagged": f"SHA256 (a b.tar) = {sha()}\n".encode(),
    "OpenSSL": f"SHA256(a b.tar)= {sha()}\n".encode(),
    "OpenSSL 3": f"SHA2-256(a b.tar)= {sha()}\n".encode(),
    "tagged BLAKE2b": f"BLAKE2b (a b.tar) = {hashlib.blake2b(DATA).hexdigest()}\n".encode(),
    "tagged BLAKE2b-256": f"BLAKE2b-256 (a b.tar) = {hashlib.blake2b(DATA, digest_size=32).hexdigest()}\n".encode(),
    "tagged XXH128": f"XXH128 (a b.tar) = {xxhash.xxh3_128(DATA).hexdigest()}\n".encode(),
    "comments of Windows": f"; made by a tool\n{sha()} *a b.tar\r\n".encode(),
    "ends of NUL": f"{sha()}  a b.tar\0".encode(),
    "certutil": f"SHA256 hash of a b.tar:\r\n{sha()}\r\nCertUtil: -hashfile command completed successfully.\r\n".encode(),
    "certutil of Windows 7": f"SHA256 hash of file a b.tar:\r\n{' '.join(re.findall('..', sha()))}\r\nCertUtil: -hashfile command completed successfully.\r\n".encode(),
    "clear-signed": f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{sha()}  a b.tar\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n".encode(),
}
if "sha512_256" in hashlib.algorithms_available:
    FORMS["OpenSSL SHA-512/256"] = f"SHA2-512/256(a b.tar)= {hashlib.new('sha512_256', DATA).hexdigest()}\n".encode()


@pytest.mark.parametrize("form", FORMS)
def test_what_other_tools_write_is_read(form: str, tmp_path: Path) -> None:
    assert check(tmp_path, FORMS[form]).ok
    assert check(tmp_path, FORMS[form], data=b"other").findings


def test_a_digest_alone_is_of_the_file_that_the_list_is_named_after(tmp_path: Path) -> None:
    assert check(tmp_path, f"{sha()}\n".encode(), "a b.tar.sha256").ok
    with pytest.raises(FormatError):
        parse_sums(sha().encode(), where="SUMS")


@pytest.mark.parametrize(
    "line",
    [
        "SHA256 (x) = " + "0" * 40,
        "WHAT (x) = " + "0" * 64,
        "0" * 63 + "  x",
        "0" * 62 + "  x",
        "words",
        "g" * 64 + "  x",
    ],
)
def test_what_is_no_line_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_sums(f"# list\n{line}\n".encode(), where="SUMS")
    assert "line 2" in str(caught.value)


@pytest.mark.parametrize(
    "tool",
    [
        "sha256sum",
        "sha512sum --tag",
        "b2sum",
        "b2sum --tag",
        "b2sum -l 256",
        "b2sum --tag -l 256",
        "md5sum -b",
        "sha1sum --tag",
        "sha256sum -z",
    ],
)
def test_the_lists_of_coreutils_are_taken(tool: str, tmp_path: Path) -> None:
    for name in ("a b.tar", "new\nline"):
        (tmp_path / name).write_bytes(DATA)
    made = subprocess.run([*tool.split(), "a b.tar", "new\nline"], cwd=tmp_path, capture_output=True, check=True)
    assert check(tmp_path, made.stdout).ok


def test_a_pointer_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1\n"
    )
    (tmp_path / "SUMS").write_bytes(f"{sha()}  x.tar\n".encode())
    ran = run_command("verify", tmp_path / "SUMS")
    assert (ran.code, "git lfs pull" in ran.out) == (1, True)


def test_a_name_that_is_not_utf8_is_read_and_written_back() -> None:
    data = b"0" * 64 + b"  train/a\xe1.tar\n"
    lines = parse_sums(data)
    assert render_sums({line.path: line.digest for line in lines}) == data
