"""Commands with limited memory (``ulimit -v``): C libraries abort the process when they get none; a parent reports that."""

from __future__ import annotations

import os
import signal
import sys

#: How a process ends when a library gives up: by an abort, by an invalid address, or by the loader's exit code.
_GIVEN_UP_BY = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL}
_LOADER_GAVE_UP = 127
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)
_NO_MEMORY = 4
_PR_SET_PDEATHSIG = 1


def watch() -> None:
    """If memory is limited, continue in a child process; this one waits, reports what ended it, and ends the same way."""
    if sys.platform == "win32" or not _is_limited():
        return
    child = os.fork()
    if child == 0:
        _die_with_parent()
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
    for number in _FORWARDED:
        signal.signal(number, lambda number, _: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if -code in _GIVEN_UP_BY or code == _LOADER_GAVE_UP:
        os.write(2, b"error: there is not enough memory\n  hint: use fewer jobs, or raise the limit (ulimit -v)\n")
        os._exit(_NO_MEMORY)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _die_with_parent() -> None:
    """Have the system kill this process when its parent dies, where that is supported."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _is_limited() -> bool:
    import resource

    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
