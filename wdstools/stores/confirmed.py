"""Places that this user has named for a dataset's tars: noted in the user's cache, where no dataset can write.

A dataset may say that its tars lie elsewhere, and whoever made it wrote that. What ``adopt`` was given on this machine is
known without asking again; any other place has to be given. A note that is gone costs a question and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat

from wdstools.stores.abilities import TEMP_SUFFIX, replace
from wdstools.stores.folders import make_folders
from wdstools.user_cache import cache_folder

_MOST_BYTES = 64 << 10


def confirm(folder: str, place: str) -> None:
    """Note that this user has named a place for the tars of the dataset in a folder; where nothing can be noted, nothing is."""
    path = _note_of(folder)
    half = f"{path}.{os.getpid()}{TEMP_SUFFIX}"
    with contextlib.suppress(OSError):
        make_folders(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(half)
        fd = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps({"tars": place}))
        replace(half, path)


def is_confirmed(folder: str, place: str) -> bool:
    """Whether this user has named exactly this place for the dataset in a folder."""
    try:
        fd = os.open(_note_of(folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
            said = json.loads(file.read(_MOST_BYTES)) if ours else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("tars") == place


def _note_of(folder: str) -> str:
    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()
    return os.path.join(cache_folder(), "places", f"{name}.json")
