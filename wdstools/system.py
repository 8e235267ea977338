"""Which systems this runs on; asked before anything is imported that only these have."""

from __future__ import annotations

import sys

CODE = "system-unsupported"
REFUSED = "this system is not supported: use Linux or macOS, or WSL on Windows"


def is_supported() -> bool:
    """Whether files can be locked, linked and read here as the rest expects."""
    return sys.platform != "win32"
