"""Mutes warnings of Python and Pillow that are irrelevant here, in any number of threads at once.

Warning filters belong to the whole process. ``warnings.catch_warnings`` saves and restores them, and if two threads do so at
once, what one of them muted may stay muted for ever. Here the first thread mutes, and the last one unmutes.
"""

from __future__ import annotations

import contextlib
import os
import threading
import warnings

#: The modules whose warnings are muted; parsed text has no module. Warnings of other modules in other threads still show.
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
        """Reset in a forked process: the threads that were inside do not exist here."""
        self._lock = threading.Lock()
        self._within = 0
        self._filters.close()


#: Enter this to read foreign data without the warnings of Python and Pillow: wdstools has its own limits and checks.
quiet = _Quiet()
os.register_at_fork(after_in_child=quiet.forget_threads)
