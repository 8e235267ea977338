"""Warnings of Python and Pillow that are no news here, passed over in any number of threads at once.

The filters of warnings are those of the whole process. ``warnings.catch_warnings`` saves them and puts them back, and where two
threads do so at once, what one of them has muted may stay muted for good. Here the first thread mutes, and the last one ends it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings

#: Where those come from: a text that is parsed has no module. What other threads warn of meanwhile is shown.
_OURS = r"(PIL|pillow_heif|wdstools)(\.|\Z)|<unknown>"


class _Quiet:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within = 0
        self._filters = contextlib.ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=_OURS)
            self._within += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                self._filters.close()

    def forget_threads(self) -> None:
        """In a process that was forked: the threads that were within are not here."""
        self._lock = threading.Lock()
        self._within = 0
        self._filters.close()


#: Enter it to read what others wrote without Python's and Pillow's warnings: limits and checks here are our own.
quiet = _Quiet()
os.register_at_fork(after_in_child=quiet.forget_threads)
