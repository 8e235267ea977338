"""Loops over arrays, compiled by numba."""

from __future__ import annotations

from typing import Any

import numba


def jit(function: Any) -> Any:
    """Compile a function at its first call, and keep the result on the disk; where no folder can be written, in memory.

    The compiled function releases the GIL and does not check bounds.
    """
    try:
        return numba.njit(function, nogil=True, boundscheck=False, cache=True)
    except RuntimeError:  # numba has no folder to keep it in
        return numba.njit(function, nogil=True, boundscheck=False)
