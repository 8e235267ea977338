"""``remote-digests.json``: what is known of a dataset's files beyond the manifest, next to it and outside the root.

It holds the MD5 of files by their SHA-256 (some stores return nothing else, and the manifest does not have it), and the
ETags that objects had when they were proved. It is a cache: losing it costs reading, never certainty.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wdstools.errors import StoreError
from wdstools.stores.local import LocalStore
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.dataset import Dataset
    from wdstools.transfer.compare import Wanted

NAME = "remote-digests.json"
_FORMAT = 1


class KnownDigests:
    """The file of one dataset. If the metadata is not in a local folder, or cannot be written, nothing is kept."""

    def __init__(self, dataset: Dataset) -> None:
        self._store = dataset.metadata
        folder = dataset.manifest_key.rpartition("/")[0]
        self._key = f"{folder}/{NAME}" if folder else NAME
        document = self._read()
        self._md5: dict[str, str] = _texts(document.get("md5"))
        etags = document.get("etags")
        self._etags = {url: _texts(paths) for url, paths in etags.items()} if isinstance(etags, dict) else {}
        self._changed = False

    def _read(self) -> dict[str, Any]:
        if not isinstance(self._store, LocalStore):
            return {}
        try:
            document = json.loads(get_whole(self._store, self._key))
        except (StoreError, ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) and document.get("format") == _FORMAT else {}

    def md5(self, sha256: str) -> str | None:
        """The MD5 of the file with this SHA-256; None if unknown."""
        return self._md5.get(sha256)

    def etag(self, url: str, wanted: Wanted) -> str:
        """The ETag that an object had when it was proved to be this file; empty if it never was."""
        sha256, _, etag = self._etags.get(url, {}).get(wanted.path, "").partition(" ")
        return etag if sha256 == wanted.digests["sha256"] else ""

    def note(self, url: str, wanted: Wanted, etag: str, computed: Mapping[str, str]) -> None:
        """Note that an object was proved to be this file."""
        if "md5" in computed and self._md5.get(wanted.digests["sha256"]) != computed["md5"]:
            self._md5[wanted.digests["sha256"]] = computed["md5"]
            self._changed = True
        line = f"{wanted.digests['sha256']} {etag}"
        if etag and self._etags.setdefault(url, {}).get(wanted.path) != line:
            self._etags[url][wanted.path] = line
            self._changed = True

    def save(self) -> None:
        """Write the file, if there is anything new."""
        if not self._changed or not isinstance(self._store, LocalStore):
            return
        document = {"format": _FORMAT, "md5": self._md5, "etags": self._etags}
        data = (json.dumps(document, sort_keys=True, indent=0) + "\n").encode()
        try:
            self._store.put(self._key, data)
        except StoreError:
            return  # a read-only dataset is mirrored all the same
        self._changed = False


def _texts(value: object) -> dict[str, str]:
    """A mapping of text to text, without anything else that was edited in."""
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(key, str) and isinstance(text, str)}
