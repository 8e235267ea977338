"""Temporary files left by a killed ``emit``. A file counts as ours only by its name and its content."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from wdstools.errors import StoreError
from wdstools.formats.digest import sha256_hex
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from wdstools.stores.base import Store

_NAME_RE = re.compile(rf"(.*)\.[0-9a-f]{{16}}{re.escape(TEMP_SUFFIX)}", re.DOTALL)


def torn_files(store: Store, paths: Iterable[str], ours: Callable[[str, bytes], bool]) -> dict[str, str]:
    """The temporary files of ``paths`` with their SHA-256; ``ours`` says whether one has the content that emit writes to a path."""
    wanted = set(paths)
    found: dict[str, str] = {}
    if not isinstance(store, LocalStore):
        return found
    for folder in sorted({os.path.dirname(path) for path in wanted}):
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = sorted(os.listdir(store.locate(folder)))
        for name in names:
            match = _NAME_RE.fullmatch(name)
            path, torn = (os.path.join(folder, one) for one in (match[1] if match else "", name))
            if match is None or path not in wanted or store.is_link(torn):
                continue
            with contextlib.suppress(StoreError):
                data = get_whole(store, torn, 1 << 40)
                if not data or ours(path, data):
                    found[torn] = sha256_hex(data)
    return found
