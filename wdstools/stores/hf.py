"""Datasets on the Hugging Face Hub, read: files by ranges, sizes and SHA-256 from the tree API (one call a folder).

Uploading is the Hub client's work: ``hf upload OWNER/NAME shards --repo-type dataset``.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wdstools.errors import FormatError, NotFoundError, UsageError
from wdstools.stores.base import ObjectInfo
from wdstools.stores.http import HttpStore, Web

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.cloud import Waits
    from wdstools.stores.remote import Body

_URL_RE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@([\w./-]+?))?(?:/(.*))?")
_NEXT_RE = re.compile(r'<([^>]+)>;\s*rel="next"')


def open_hf(url: str, waits: Waits, *, hub: str = "") -> HubStore:
    """The store at ``hf://datasets/OWNER/NAME[@REVISION][/FOLDER]``.

    Address, token and revision are those of ``huggingface_hub`` where it is installed (a login, HF_TOKEN, HF_ENDPOINT).
    """
    found = _URL_RE.fullmatch(url)
    if not found:
        raise UsageError("not a dataset on the Hub", where=url, expected="hf://datasets/OWNER/NAME[@REVISION]")
    token = None
    if importlib.util.find_spec("huggingface_hub") is not None:
        from huggingface_hub import constants, get_token

        hub, token = hub or constants.ENDPOINT, get_token()
    web = Web(waits, lambda _method, _url: {"Authorization": f"Bearer {token}"} if token else {})
    repository, revision, folder = found.groups()
    return HubStore(
        url, hub or "https://huggingface.co", f"{repository}@{revision or 'main'}", folder or "", web, waits
    )


class HubStore(HttpStore):
    """One dataset repository at one revision, below a folder of it."""

    def __init__(self, url: str, hub: str, repository: str, folder: str, web: Web, waits: Waits) -> None:  # see open_hf
        name, _, revision = repository.partition("@")
        self._folder = folder.strip("/") + "/" if folder.strip("/") else ""
        quoted = quote(revision, safe="")
        super().__init__(f"{hub}/datasets/{name}/resolve/{quoted}", waits, web=web)
        self._tree = f"{hub}/api/datasets/{name}/tree/{quoted}"
        self._name = url.rstrip("/")

    @property
    def url(self) -> str:
        """As it was given."""
        return self._name

    def locate(self, key: str) -> str:
        """Where a file is served; large ones are redirected to a content network."""
        return super().locate(self._folder + key)

    def head(self, key: str) -> ObjectInfo:
        """Size from the tree: the file itself may be served from elsewhere, under another ETag."""
        return ObjectInfo(key, int(self._entry(key)["size"]))

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes as they come; versions have no names here, since the Hub and where it redirects to give different ones."""
        return replace(super().open_body(key, start, length, etag=etag), etag="")

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The SHA-256 that the Hub keeps of every large file (LFS or Xet); none of small ones, kept by git."""
        lfs = self._entry(key).get("lfs") or {}
        oid = str(lfs.get("oid") or lfs.get("sha256") or "").removeprefix("sha256:")
        return {"sha256": oid} if re.fullmatch(r"[0-9a-f]{64}", oid) else {}

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Files under a prefix, sorted by key."""
        try:
            entries = list(self._entries(self._tree + "?recursive=true", prefix))
        except NotFoundError:
            entries = []
        sizes = {str(entry["path"]).removeprefix(self._folder): int(entry["size"]) for entry in entries if entry.get("type") == "file" and str(entry["path"]).startswith(self._folder)}  # fmt: skip
        for key in sorted(sizes):
            if key.startswith(prefix):
                yield ObjectInfo(key, sizes[key])

    def _entry(self, key: str) -> dict[str, Any]:
        """What the tree says of one file."""
        path = self._folder + key
        folder = path.rpartition("/")[0]
        url = f"{self._tree}/{quote(folder)}" if folder else self._tree
        for entry in self._entries(url, key):
            if entry.get("path") == path and entry.get("type") == "file":
                return entry
        raise NotFoundError("nothing is stored here", where=f"{self.url}/{key}")

    def _entries(self, url: str, what: str) -> Iterator[dict[str, Any]]:
        """Every entry of a tree, page by page."""
        where = f"{self.url}/{what}"
        following: str | None = url
        while following:
            answer = self._web.ask("GET", following, where=where)
            answer.check(where)
            try:
                page = json.loads(answer.body)
                yield from (entry for entry in page if isinstance(entry, dict) and "size" in entry)
            except (ValueError, TypeError) as error:
                raise FormatError("the Hub's answer is not understood", where=where, got=str(error)[:200]) from error
            found = _NEXT_RE.search(answer.headers.get("Link", ""))
            following = found.group(1) if found else None
