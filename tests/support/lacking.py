"""A file system that lacks something, simulated by a small library that is compiled here and preloaded into a command."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.support.tools import missing, need

_SOURCE = Path(__file__).with_name("lacking.c")


@cache
def lacking_library(folder: Path) -> Path:
    """The library; skips where it cannot be compiled or preloaded."""
    if sys.platform != "linux":
        missing("a library that takes abilities away is preloaded on Linux only")
    compiler = need("gcc")
    library = folder / "lacking.so"
    made = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, _SOURCE, "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        missing(f"gcc makes no library: {made.stderr[-300:]}")
    return library


def without(what: str, folder: Path) -> dict[str, str]:
    """The environment in which a file system lacks ``what`` (words of ``lacking.c``, separated by spaces)."""
    return {"LD_PRELOAD": str(lacking_library(folder)), "LACKS": what}
