"""A small real file system: a tmpfs, if the tests may mount one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.tools import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """Mount a tmpfs of this size at ``place``; without permission the test skips, or fails in CI."""
    place.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        missing("mounting a small file system needs Linux, root and the program mount")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "wdstools-test", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        missing(f"this root may not mount: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def grow(place: Path, kilobytes: int) -> None:
    """Give a mounted small disk another size."""
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(place)], check=True)


def set_read_only(place: Path) -> None:
    """Make a mounted small disk read-only."""
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
