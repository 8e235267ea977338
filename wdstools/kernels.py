"""Loops over arrays, compiled by numba."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numba

from wdstools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_LOCK = "compiling.lock"


def jit(function: Any) -> Any:
    """Compile a function at its first call, and cache the result on disk; in memory if no folder is writable.

    The compiled function releases the GIL and does not check bounds. It is cached in the user's cache folder, or where
    ``NUMBA_CACHE_DIR`` says; if that is not writable, in a temporary folder that belongs to this user alone.
    """
    return _compiled(function)


def step(function: Any) -> Any:
    """The same for a function that only compiled ones call: the Python wrapper, which takes longer to compile, is left out."""
    return _compiled(function, no_cpython_wrapper=True)


def inlined(function: Any) -> Any:
    """The same, inlined into its caller: compiles fastest for functions that are small or called in one place."""
    return _compiled(function, inline="always")


def _compiled(function: Any, **options: Any) -> Any:
    options = {"nogil": True, "boundscheck": False, "no_cfunc_wrapper": True, **options}
    with _kept():
        try:
            return numba.njit(function, cache=True, **options)
        except RuntimeError:  # numba found no folder to cache it in
            return numba.njit(function, **options)


def uncompiled(kernels: Iterable[Any]) -> bool:
    """Whether any of these has not been compiled yet, by this process or an earlier one."""
    return any(not kernel.signatures and not _is_kept(kernel) for kernel in kernels)


@contextmanager
def alone() -> Iterator[bool]:
    """Yield whether no other process is compiling into the same folder, as far as can be told: it would be the same work."""
    config: Any = numba.config
    folder = config.CACHE_DIR or _folder()
    try:
        lock = os.open(
            os.path.join(folder or os.devnull, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
    except OSError:
        yield True
        return
    try:
        yield _is_locked(lock)
    finally:
        # closing is not enough: a process forked meanwhile would still hold the lock
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _is_locked(lock: int) -> bool:
    """Lock a file, unless another process has locked it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_kept(kernel: Any) -> bool:
    folder, name = kernel.stats.cache_path, kernel.py_func.__qualname__
    module = kernel.py_func.__module__.rpartition(".")[2]
    try:
        return any(kept.startswith(f"{module}.{name}-") for kept in os.listdir(folder or ""))
    except OSError:
        return False


@contextmanager
def _kept() -> Iterator[None]:
    """Set numba's cache folder for our functions only: those of other libraries stay in theirs."""
    config: Any = numba.config  # its stubs lack what it reads from the environment
    given = config.CACHE_DIR
    config.CACHE_DIR = given or _folder()
    try:
        yield
    finally:
        config.CACHE_DIR = given


def _folder() -> str:
    """A writable folder that nobody else can put code into; "" if there is none."""
    for folder in (os.path.join(cache_folder(), "kernels"), _temporary()):
        try:
            os.makedirs(folder, mode=stat.S_IRWXU, exist_ok=True)  # noqa: TID251  # a handful of folders deep
            status = os.lstat(folder)
        except OSError:
            continue
        alone = stat.S_ISDIR(status.st_mode) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if alone and status.st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    return ""


def _temporary() -> str:
    return os.path.join(tempfile.gettempdir(), f"wdstools-kernels-{os.getuid()}")
