"""What each tool says of a file, in few words: ours, and those that people know."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import subprocess
import warnings
import zipfile
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import webdataset
from PIL import Image

from wdstools.checks.sums import SumCheckTask, check_sum
from wdstools.errors import FormatError, WdsError
from wdstools.formats.image_types import STORABLE_TYPES, TYPE_OF_EXTENSION
from wdstools.formats.sums import parse_sums
from wdstools.formats.tar_names import encoding_of
from wdstools.images.check import DamagedImageError
from wdstools.images.encoding import Encoding
from wdstools.images.resize import reencode
from wdstools.images.whole import ImageChecker
from wdstools.ops.verify.lone import verify_shard_file
from wdstools.sources.base import DamagedEntryError
from wdstools.sources.readers import ArchiveReader, zip_entry
from wdstools.sources.zipscan import scan_zip
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOOD, BAD = "good", "refused"
_LARGEST = 64 << 20
_SECONDS = 120
_MEMORY = 8 << 30


@dataclass(frozen=True, slots=True)
class Decision:
    """What two tools say of one file: ``ours`` and ``theirs`` are ``good``, or why not."""

    subject: str
    tool: str
    ours: str
    theirs: str
    path: str

    @property
    def differs(self) -> bool:
        """Whether one takes what the other refuses."""
        return (self.ours == GOOD) != (self.theirs == GOOD)

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """Differences of one kind are explained together."""
        return self.subject, self.tool, self.ours, self.theirs


def is_tar(path: Path) -> bool:
    """Whether a file's name is that of a tar."""
    return encoding_of(path.name) is not None


def is_image(path: Path) -> bool:
    """Whether a file's name is that of an image."""
    return path.suffix[1:].lower() in TYPE_OF_EXTENSION


def of_tar(path: Path) -> Iterator[Decision]:
    """Decisions about one tar."""
    ours = _our_tar(path)
    yield Decision("tar", "GNU tar", ours, _gnu_tar(path), str(path))
    yield Decision("tar", "webdataset", ours, _webdataset(path), str(path))


def _our_tar(path: Path) -> str:
    """``verify SHARD.tar``: what it does not call damaged is good, proved or not."""
    try:
        report = verify_shard_file(str(path))
    except FormatError as error:
        return error.code
    return GOOD if not report.findings else report.findings[0].cause or report.findings[0].kind


def _gnu_tar(path: Path) -> str:
    command = ["tar", "--list", "--file", str(path), "--force-local"]
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=_SECONDS, env={**os.environ, "LC_ALL": "C"}
    )
    return GOOD if done.returncode == 0 else BAD


@contextmanager
def bounded_memory() -> Iterator[None]:
    """webdataset holds each member whole, and a sparse one may be of any size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _webdataset(path: Path) -> str:
    try:
        with open(path, "rb") as stream, warnings.catch_warnings(), bounded_memory():
            warnings.simplefilter("ignore")
            for _ in webdataset.tariterators.tar_file_iterator(stream):
                pass
    except Exception:  # noqa: BLE001  # whatever it raises, it does not take the file
        return BAD
    return GOOD


def is_zip(path: Path) -> bool:
    """Whether a file's name is that of a zip."""
    return path.suffix.lower() == ".zip"


def of_zip(path: Path) -> Iterator[Decision]:
    """Decisions about one zip: whether every file in it comes out whole."""
    ours = _our_zip(path)
    yield Decision("zip", "unzip", ours, _unzip(path), str(path))
    yield Decision("zip", "Python", ours, _zipfile(path), str(path))


def _our_zip(path: Path) -> str:
    try:
        members = list(scan_zip(str(path)))
        with closing(ArchiveReader(str(path))) as reader:
            for member in members:
                if member.size > _LARGEST:
                    return "member-too-large"
                entry = zip_entry(member.offset, member.stored, member.size, member.method, member.crc)
                reader.read_into(member.name, entry, memoryview(bytearray(member.size)))
    except (WdsError, DamagedEntryError) as error:
        return error.code
    return GOOD


def _unzip(path: Path) -> str:
    """``unzip -t``: of 1 its manual says that files were processed, with warnings."""
    done = subprocess.run(
        ["unzip", "-tqq", str(path)], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_SECONDS
    )
    return GOOD if done.returncode in (0, 1) else BAD


def _zipfile(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive, bounded_memory():
            return GOOD if archive.testzip() is None else BAD
    except Exception:  # noqa: BLE001  # whatever it raises, it does not take the file
        return BAD


def of_image(path: Path) -> Iterator[Decision]:
    """Decisions about one image, as ``pack`` (with ``--convert`` where its type needs it) takes it."""
    data = path.read_bytes()
    yield Decision("image", "Pillow", _our_image(path, data), _pillow(data), str(path))


def _our_image(path: Path, data: bytes) -> str:
    kind = TYPE_OF_EXTENSION[path.suffix[1:].lower()]
    try:
        if kind in STORABLE_TYPES:
            ImageChecker("decode").check(data, 0, len(data), kind)
        else:
            reencode(data, Encoding("png"))
    except DamagedImageError as error:
        return error.code
    return GOOD


def _pillow(data: bytes) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                image.load()
    except Exception:  # noqa: BLE001
        return BAD
    return GOOD


def of_list(path: Path, root: str) -> Iterator[Decision]:
    """Decisions about each line of a list of MD5 sums of files below ``root``."""
    command = ["md5sum", "--check", str(path)]
    done = subprocess.run(
        command, cwd=root, capture_output=True, check=False, timeout=_SECONDS, env={**os.environ, "LC_ALL": "C"}
    )
    theirs = dict(line.rsplit(": ", 1) for line in done.stdout.decode("utf-8", "surrogateescape").splitlines() if line)
    for line in parse_sums(path.read_bytes(), where=str(path)):
        found = check_sum(SumCheckTask(LocalStore(root), line), lambda _: None).finding
        ours = GOOD if found is None else found.cause or found.kind
        said = GOOD if theirs.get(line.path) == "OK" else BAD
        yield Decision("sums", "md5sum", ours, said, f"{path}: {line.path}")


def is_small(path: Path) -> bool:
    """Whether a file is small enough for all tools to read it in the time of a test."""
    return path.stat().st_size <= _LARGEST


def digest(path: Path) -> bytes:
    """What makes files that are there several times one."""
    return hashlib.sha256(path.read_bytes()).digest()
