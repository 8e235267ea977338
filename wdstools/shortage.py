"""Whether an error means a lack of memory, threads or processes: many libraries report that badly."""

from __future__ import annotations

import errno
import mmap
import sys
import threading

#: What to do about it.
HINT = "use fewer jobs, or raise the limits (ulimit -v, ulimit -u)"


def is_short_of_memory(error: BaseException) -> bool:
    """Whether an error means that there is no memory, or that no thread or process can be started.

    If the address space is limited (``ulimit -v``), this includes errors of C code that got no memory and set no message, and
    shared libraries that cannot be loaded.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in (errno.ENOMEM, errno.EAGAIN):
        return True
    if type(error) is RuntimeError and _raised_in(error) == threading.__file__:  # a thread could not be started
        return True
    return _is_limited() and (
        isinstance(error, SystemError | ImportError) or (type(error) is OSError and error.errno is None)
    )


def guard_numpy() -> None:
    """Load numpy only if there is memory for it: without enough, its linear algebra ends the process with code 1."""
    if _is_limited():
        sys.meta_path.insert(0, _Guard)


class _Guard:
    """An import finder that finds nothing, but raises MemoryError if numpy is imported without enough memory."""

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> None:
        """Check the free memory, once."""
        del path, target
        if name != "numpy":
            return
        sys.meta_path.remove(cls)
        try:
            mmap.mmap(-1, _ROOM_BYTES).close()
        except OSError:
            raise MemoryError from None


#: numpy 2 takes about 70 MiB of address space while it is loaded.
_ROOM_BYTES = 96 << 20


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
