"""What must be the same on all hosts that work on one dataset: the only list of it, and how it is compared."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from wdstools.errors import UsageError
from wdstools.version import __version__, pillow_codecs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: If these differ between hosts, shard bytes, digests or groups can differ too, and the work is refused.
#: wdstools itself is compared by its version and its files: two states of one version are two programs.
DECIDING = {
    "wdstools": "everything",
    "numpy": "hashes and groups",
    "scipy": "hashes and groups",
    "imagehash": "hashes and groups",
    "pillow": "re-encoded images, and which images are whole",
    "pillow-heif": "re-encoded images of phones",
    "simplejpeg": "re-encoded images, hashes, and which images are whole",
    "numba": "re-encoded images and hashes",
    "pyarrow": "the bytes of indexes",
    "libjpeg_turbo": "re-encoded images",
    "webp": "re-encoded images",
    "zlib": "re-encoded images",
    "littlecms2": "re-encoded images",
}
#: As far as is known, a difference in these does not affect results; it is only reported.
TOLD = ("python", "machine", "xxhash", "awscrt", "urllib3", "zstandard", "obstore")


@dataclass(frozen=True, slots=True)
class Host:
    """A host as its workers see it. Two hosts with the same ``files`` see the same disks."""

    name: str
    files: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """A digest of everything that decides results: hosts with the same digest can work together."""
        text = "\n".join(f"{name} {self.versions.get(name, 'none')}" for name in sorted(DECIDING))
        return hashlib.sha256(text.encode()).hexdigest()


@functools.cache
def this_host() -> Host:
    """The host that this process runs on."""
    return Host(platform.node(), _files(), _versions())


def _files() -> str:
    """Identifies the kernel and the mounts that this process sees: equal texts mean the same files."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.stat('/proc/self/ns/mnt').st_ino}"
    except OSError:  # not Linux
        return platform.node()


def _versions() -> dict[str, str]:
    found = {"wdstools": f"{__version__} {_code()}", "python": platform.python_version()}
    found["machine"] = f"{sys.platform} {platform.machine()}"
    for name in (*DECIDING, *TOLD):
        if name not in found:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    return found | {name: found or "none" for name, found in pillow_codecs().items()}


def _code() -> str:
    """A digest of the files of wdstools."""
    digest = hashlib.sha256()
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    names = [
        os.path.relpath(os.path.join(folder, name), package)
        for folder, _, names in os.walk(package)  # noqa: TID251  our own few folders
        for name in names
        if name.endswith((".py", ".toml"))
    ]
    for name in sorted(names):
        with open(os.path.join(package, name), "rb") as file:
            digest.update(f"{name}\n".encode() + hashlib.sha256(file.read()).digest())
    return digest.hexdigest()[:12]


def differing(ours: Host, theirs: Host, names: Iterable[str]) -> list[str]:
    """The differences in some names, as ``numpy 1.26.4 here, 2.0.0 there``."""
    pairs = ((name, ours.versions.get(name, "none"), theirs.versions.get(name, "none")) for name in names)
    return [f"{name} {here} here, {there} there" for name, here, there in pairs if here != there]


def refuse_mixture(ours: Host, theirs: Host) -> None:
    """Raise UsageError if two hosts could produce different results."""
    found = differing(ours, theirs, DECIDING)
    if found:
        raise UsageError(
            "workers have other versions than this machine, so results could differ",
            code="mixed-versions",
            where=f"host {theirs.name}",
            got="; ".join(found),
            hint="install the same versions everywhere; pip freeze lists those of this machine",
        )
