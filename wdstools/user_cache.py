"""Where this user's caches lie, and what hosts share that do not share them: the one rule."""

from __future__ import annotations

import os


def cache_folder() -> str:
    """The folder of this user's caches for wdstools: ``$XDG_CACHE_HOME/wdstools`` or ``~/.cache/wdstools``."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "wdstools")


#: Hosts that do not share the folder of caches may share a secret in its place.
SHARED_BY = "WDSTOOLS_PACK_SECRET"


def shared_secret() -> str:
    """The secret that this user has given to several hosts; empty where there is none."""
    return os.environ.get(SHARED_BY, "")
