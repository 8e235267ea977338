"""Run a function like an unprivileged user: permissions apply even to root, in one thread."""

from __future__ import annotations

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION_3 = 0x20080522
_Result = TypeVar("_Result")


def unprivileged(function: Callable[[], _Result]) -> _Result:
    """The result of the function where permissions apply."""
    if os.geteuid() != 0:
        return function()
    if sys.platform != "linux":
        pytest.skip("root may read everything")
    with ThreadPoolExecutor(1, initializer=_drop) as thread:
        return thread.submit(function).result()


def _drop() -> None:
    """Take every capability from this thread, and from no other."""
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "capset")
