"""What this user has named or made, recorded in the user's cache, where no dataset can write.

A dataset may claim that its tars lie elsewhere, or bring hashes of its images, but only its maker vouches for that.
What ``adopt`` was given on this machine, and what was computed here, can be used without asking again; any other place
has to be given, and anything else is computed. Losing a note costs no more than that.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat

from wdstools.stores.abilities import TEMP_SUFFIX, replace
from wdstools.stores.folders import make_folders
from wdstools.user_cache import cache_folder

_MOST_BYTES = 64 << 10


def note(kind: str, what: str, said: str) -> None:
    """Note something about ``what``, replacing an older note; a cache that cannot be written is ignored."""
    path = _note_of(kind, what)
    half = f"{path}.{os.getpid()}{TEMP_SUFFIX}"
    with contextlib.suppress(OSError):
        make_folders(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(half)
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps({"what": what, "said": said}))
        replace(half, path)


def noted(kind: str, what: str) -> str | None:
    """What this user has noted about ``what``; None for nothing."""
    try:
        fd = os.open(_note_of(kind, what), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
            found = json.loads(file.read(_MOST_BYTES)) if ours else None
    except (OSError, ValueError, RecursionError):
        return None
    said = found.get("said") if isinstance(found, dict) and found.get("what") == what else None
    return said if isinstance(said, str) else None


def secret_of(kind: str) -> str:
    """A secret of this user's, made on first use; a new one each time if the cache cannot be written."""
    if (known := noted("secrets", kind)) is None:
        note("secrets", kind, secrets.token_hex(32))
        known = noted("secrets", kind)
    return known if known is not None else secrets.token_hex(32)


def confirm(folder: str, place: str) -> None:
    """Note that this user has named a place for the tars of the dataset in ``folder``."""
    note("places", os.path.realpath(folder), place)


def is_confirmed(folder: str, place: str) -> bool:
    """Whether this user has named exactly this place for the dataset in ``folder``."""
    return noted("places", os.path.realpath(folder)) == place


def _note_of(kind: str, what: str) -> str:
    return os.path.join(cache_folder(), kind, f"{hashlib.sha256(os.fsencode(what)).hexdigest()}.json")
