"""What stores in buckets have in common: how their URLs are read, and files that are sent from memory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wdstools.address import display
from wdstools.errors import UsageError
from wdstools.stores.local import open_plain, storage_error
from wdstools.stores.remote import check_source

if TYPE_CHECKING:
    from collections.abc import Mapping

_BUCKET_RE = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._$-]{0,221}")  # with Azure's $root and $web
#: Files up to this size are held in memory while they are sent.
MEMORY_BYTES = 1 << 30


def parts_of(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``SCHEME://BUCKET/PREFIX``; raises UsageError for what providers or obstore do not take."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET_RE.fullmatch(bucket):
        got = "" if "@" in rest or "?" in rest else bucket or "none"
        raise UsageError("no bucket in this URL", where=display(url), expected=f"{scheme}://BUCKET/PREFIX", got=got)
    if not prefix.isprintable() or (prefix and {"", ".", ".."} & set(prefix.split("/"))):
        raise UsageError("not a prefix that can be used", where=display(url), expected="names with one / between them")
    return bucket, prefix


def held_in_memory(path: str, digests: Mapping[str, str]) -> bytes | None:
    """A file's bytes, held against its digests; None if it is too large. Raises SourceChangedError and StoreError."""
    try:
        with open_plain(path) as file:
            if file.seek(0, 2) > MEMORY_BYTES:
                return None
            file.seek(0)
            data = file.readall()
    except OSError as error:
        raise storage_error(error, path) from error
    check_source(data, path, digests)
    return data
