"""Whether an error means that there is no memory, or no room for another thread or process: many libraries say so badly."""

from __future__ import annotations

import errno
import threading

#: What to do about it.
HINT = "use fewer jobs, or raise the limits (ulimit -v, ulimit -u)"


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error means that there is no memory, or that no thread or process can be started.

    Where the address space is limited (``ulimit -v``), so do an error of code in C that got none and said nothing, and a
    shared library that cannot be loaded.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in (errno.ENOMEM, errno.EAGAIN):
        return True
    if type(error) is RuntimeError and _raised_in(error) == threading.__file__:  # of a thread that was not started
        return True
    return _is_limited() and (
        isinstance(error, SystemError | ImportError) or (type(error) is OSError and error.errno is None)
    )


def _is_limited() -> bool:
    try:
        import resource
    except ImportError:
        return False
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def _raised_in(error: BaseException) -> str:
    """The file of the code that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace.tb_frame.f_code.co_filename if trace is not None else ""
