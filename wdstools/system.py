"""Which systems are supported; checked before importing modules that only they have."""

from __future__ import annotations

import sys

CODE = "system-unsupported"
REFUSED = "this system is not supported: use Linux or macOS, or WSL on Windows"


def is_supported() -> bool:
    """Whether this system can lock, link and read files as wdstools needs."""
    return sys.platform != "win32"
