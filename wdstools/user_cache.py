"""Where the user's caches are, and the secret that hosts without a common cache folder can share."""

from __future__ import annotations

import os


def cache_folder() -> str:
    """The folder of this user's caches for wdstools: ``$XDG_CACHE_HOME/wdstools`` or ``~/.cache/wdstools``."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "wdstools")


#: Hosts that do not share the cache folder can share a secret instead.
SHARED_BY = "WDSTOOLS_PACK_SECRET"


def shared_secret() -> str:
    """The secret that the user gave to several hosts; empty if there is none."""
    return os.environ.get(SHARED_BY, "")
