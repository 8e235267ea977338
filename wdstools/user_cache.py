"""Where this user's caches lie: the one rule."""

from __future__ import annotations

import os


def cache_folder() -> str:
    """The folder of this user's caches for wdstools: ``$XDG_CACHE_HOME/wdstools`` or ``~/.cache/wdstools``."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "wdstools")
