"""What a test raises where a process would be killed."""

from __future__ import annotations


class KilledError(BaseException):
    """The process is gone. ``except Exception`` does not catch it, as it would not catch a kill."""
