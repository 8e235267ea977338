"""Bring test files of others here, from the packages that hold them: once, into ``.corpora``.

Each corpus is a folder of plain files. What cannot be had is left out, and said.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERE = Path(__file__).resolve().parents[2] / ".corpora"
#: Corpus -> the sdist that holds it.
SDISTS = {"Pillow": "pillow", "webdataset": "webdataset"}
#: Corpus -> the Debian package that holds it.
BINARIES = {"CPython": "libpython3.11-testsuite", "Go": "golang-1.19-src"}
#: Corpus -> the Debian source package that holds it.
SOURCES = {
    "libarchive": "libarchive",
    "libjpeg-turbo": "libjpeg-turbo",
    "libwebp": "libwebp",
    "exiv2": "exiv2",
    "leptonica": "leptonlib",
    "node-tar": "node-tar",
    "libzip": "libzip",
}
_SUFFIXES = (
    ".zip", ".tar", ".tgz", ".gz", ".tbz", ".bz2", ".txz", ".xz", ".zst", ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp",
    ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
_LONGEST = 1800


def fetch() -> dict[str, Path]:
    """Every corpus that can be had, by name."""
    WHERE.mkdir(exist_ok=True)
    getters = (
        *((name, _get_sdist, package) for name, package in SDISTS.items()),
        *((name, _get_binary, package) for name, package in BINARIES.items()),
        *((name, _get_source, package) for name, package in SOURCES.items()),
    )
    found = {}
    for name, get, package in getters:
        folder = WHERE / name
        if not folder.is_dir():
            making = WHERE / f"{name}.making"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            try:
                get(package, making)
            except (subprocess.SubprocessError, OSError, tarfile.TarError) as error:
                print(f"{name}: not to be had here ({error})", file=sys.stderr)  # noqa: T201
                shutil.rmtree(making)
                continue
            making.rename(folder)
        found[name] = folder
    return found


def _run(*command: str, cwd: Path) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, timeout=_LONGEST)


def _get_sdist(package: str, folder: Path) -> None:
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", package)
    _run(*command, cwd=folder)
    _unpack_all(folder)


def _get_binary(package: str, folder: Path) -> None:
    _run("apt-get", "-o", "APT::Sandbox::User=root", "download", package, cwd=folder)
    for deb in list(folder.glob("*.deb")):
        _run("dpkg-deb", "--extract", deb.name, ".", cwd=folder)
        deb.unlink()
    _prune(folder)


def _get_source(package: str, folder: Path) -> None:
    """A source package; its list is fetched beside the system's, which may name binary packages alone."""
    apt = WHERE / "apt"
    for made in ("lists/partial", "cache/archives/partial"):
        (apt / made).mkdir(parents=True, exist_ok=True)
    listed = Path("/etc/apt/sources.list.d/debian.sources").read_text("utf-8")
    (apt / "sources.sources").write_text(listed.replace("Types: deb\n", "Types: deb-src\n"), "utf-8")
    options = (
        "-o", f"Dir::Etc::sourcelist={apt}/sources.sources", "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", f"Dir::State::lists={apt}/lists", "-o", f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root",
    )  # fmt: skip
    if not any((apt / "lists").glob("*Sources*")):
        _run("apt-get", *options, "update", cwd=folder)
    _run("apt-get", *options, "source", "--download-only", package, cwd=folder)
    _unpack_all(folder)


def _unpack_all(folder: Path) -> None:
    """Unpack every tar here, which is kept: it is a tar like any other."""
    for path in [*folder.glob("*.tar.*"), *folder.glob("*.tgz")]:
        if path.suffix != ".asc":
            _run("tar", "-xf", path.name, cwd=folder)
    _prune(folder)


def _prune(folder: Path) -> None:
    """Decode what is uuencoded, and keep only tars and images."""
    for path in list(_files(folder)):
        if path.suffix == ".uu":
            _decode(path)
    for path in list(_files(folder)):
        if path.suffix.lower() not in _SUFFIXES:
            path.unlink()


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):  # never deep
        yield from (Path(place) / name for name in names)


def _decode(path: Path) -> None:
    with contextlib.suppress(binascii.Error):
        lines = path.read_bytes().splitlines()
        body = [line for line in lines[1:] if line not in (b"end", b"`", b"")]
        path.with_suffix("").write_bytes(b"".join(map(_line, body)))
    path.unlink()


def _line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:  # some encoders write a byte more than the line says
        size = ((line[0] - 32 & 63) * 4 + 5) // 3
        return binascii.a2b_uu(line[:size])
