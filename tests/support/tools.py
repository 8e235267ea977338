"""The programs and libraries that the tests compare with: skipped where they are missing, but never in CI."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any, NoReturn

import pytest


def need(tool: str) -> str:
    """The path of a program; without it the test skips, and fails where the environment variable CI is set."""
    path = shutil.which(tool)
    if path is None:
        _missing(f"the program {tool} is not installed (see tests/install-tools.sh)")
    return path


def need_module(name: str) -> Any:
    """A Python module, on the same terms."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        _missing(f"the Python module {error.name} is not installed (see the dev extra)")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
