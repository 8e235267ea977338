"""The programs and libraries that the tests compare with: without them tests skip, but never in CI."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pyarrow as pa
import pytest


def need(tool: str, folder: str = "") -> str:
    """The path of a program, also looked for in ``folder``; without it the test skips, and fails in CI."""
    path = shutil.which(tool) or (shutil.which(tool, path=folder) if folder else None)
    if path is None:
        missing(f"the program {tool} is not installed (see tests/install-tools.sh)")
    return path


def need_module(name: str) -> Any:
    """A Python module, on the same terms."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing(f"the Python module {error.name} is not installed (see the dev extra)")


def need_pyarrow(version: int, why: str) -> None:
    """A version of pyarrow at least, on the same terms; older ones are allowed, and lack what the test is about."""
    if int(pa.__version__.partition(".")[0]) < version:
        missing(f"pyarrow {pa.__version__} is installed, and only {version} and later {why}")


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail if the environment variable CI is set."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
