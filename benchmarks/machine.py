"""What a figure was measured on: the facts that belong beside it."""

from __future__ import annotations

import os
import subprocess

from wdstools.ops.bench.machine import machine_facts

_PACKAGES = ("wdstools", "webdataset", "numpy", "pyarrow", "Pillow", "simplejpeg", "numba", "xxhash", "awscrt")


def facts(folder: str) -> dict[str, str]:
    """Processor, system, versions, and the file system that ``folder`` lies on."""
    return {**machine_facts(_PACKAGES), "file system": file_system(folder), "tar": tar_version()}


def shown(machine: dict[str, str]) -> str:
    """These facts, one a line, as every measurement begins."""
    return "\n".join(f"{name + ':':<13}{fact}" for name, fact in machine.items())


def tar_version() -> str:
    """The first line of ``tar --version``; "" without tar."""
    try:
        return subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError):
        return ""


def file_system(folder: str) -> str:
    """Type of the file system of a folder, as ``ext4``; "unknown" where nobody tells."""
    real = os.path.realpath(folder) + "/"
    try:
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[1:3] for line in file]
    except OSError:
        return "unknown"
    return max((len(at), kind) for at, kind in mounts if real.startswith(at.rstrip("/") + "/"))[1]
