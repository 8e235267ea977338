"""Reading datasets on the Hugging Face Hub: files by ranges, sizes and SHA-256 from the tree API (one call per folder).

Publishing is done by ``ops/mirror/hub.py``, with the Hub's own library.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from wdstools.address import display
from wdstools.errors import FormatError, NotFoundError, StoreError, UsageError
from wdstools.stores.base import ObjectInfo
from wdstools.stores.http import HttpStore
from wdstools.stores.web import Request, Web, host_of, joined, origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wdstools.stores.base import Body
    from wdstools.stores.meter import Limits, Waits


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the tree says about a file: the ``sha256`` of a large file, or git's ``blob`` id of any other."""

    bytes: int
    sha256: str
    blob: str


_URL_RE = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+?)(?:@(refs/(?:pr|convert)/\w+|[\w./-]+?))?(?:/(.*))?")
_NEXT_RE = re.compile(r'<([^>]+)>;\s*rel="next"')


def open_hf(url: str, waits: Waits, *, hub: str = "", limits: Limits | None = None) -> HubStore:
    """The store at ``hf://datasets/OWNER/NAME[@REVISION][/FOLDER]``.

    Address and token are those of ``huggingface_hub``, where it is installed (a login, HF_TOKEN, HF_ENDPOINT).
    """
    found = _URL_RE.fullmatch(url)
    if not found:
        raise UsageError("not a dataset on the Hub", where=display(url), expected="hf://datasets/OWNER/NAME[@REVISION]")
    token = None
    if importlib.util.find_spec("huggingface_hub") is not None:
        from huggingface_hub import constants, get_token

        hub, token = hub or constants.ENDPOINT, get_token()
    web = Web(waits, lambda _request: {"Authorization": f"Bearer {token}"} if token else {}, limits)
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
        self.hub, self.repository, self.revision = hub, name, revision

    @property
    def folder(self) -> str:
        """The folder of the repository that keys are relative to, ending in a slash; "" for the whole repository."""
        return self._folder

    def commit(self) -> str:
        """The commit that the revision points to; raises NotFoundError if there is no such repository."""
        where = self.url
        url = f"{self.hub}/api/datasets/{self.repository}/revision/{quote(self.revision, safe='')}"
        answer = self._web.succeed(Request("GET", url, where))
        answer.read(self._web.limits.page)
        try:
            found = json.loads(answer.body)["sha"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise FormatError("the Hub's answer cannot be parsed", where=where) from None
        if not isinstance(found, str) or not re.fullmatch(r"[0-9a-f]{40,64}", found):
            raise FormatError("the Hub's answer cannot be parsed", where=where, got=repr(found)[:100])
        return found

    def tree(self) -> dict[str, HubFile]:
        """Every file, with the digests that the Hub stores."""
        found = {}
        for entry in self._entries(self._tree + "?recursive=true", ""):
            path = str(entry["path"])
            if entry.get("type") == "file" and path.startswith(self._folder):
                key = path.removeprefix(self._folder)
                found[key] = HubFile(int(entry["size"]), _large(entry), str(entry.get("oid") or ""))
        return found

    @property
    def url(self) -> str:
        """The URL that the store was opened with."""
        return display(self._name)

    def locate(self, key: str) -> str:
        """The URL that serves a file; large files are redirected to a content delivery network."""
        return super().locate(self._folder + key)

    def head(self, key: str) -> ObjectInfo:
        """Size, from the tree: the file itself may be served from elsewhere, under another ETag."""
        return ObjectInfo(key, int(self._entry(key)["size"]))

    def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
        """Bytes as they come, without an ETag: the Hub and the server that it redirects to have different ones."""
        return replace(super().open_body(key, start, length, etag=etag), etag="")

    def remote_digests(self, key: str) -> Mapping[str, str]:
        """The SHA-256 that the Hub stores for a large file (LFS or Xet); nothing for small files, which git keeps."""
        sha256 = _large(self._entry(key))
        return {"sha256": sha256} if sha256 else {}

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Files under a prefix, sorted by key."""
        sizes = {}
        try:
            for entry in self._entries(self._tree + "?recursive=true", prefix):
                path = str(entry["path"])
                if entry.get("type") == "file" and path.startswith(self._folder):
                    sizes[path.removeprefix(self._folder)] = int(entry["size"])
        except NotFoundError:
            return
        for key in sorted(sizes):
            if key.startswith(prefix):
                yield ObjectInfo(key, sizes[key])

    def _entry(self, key: str) -> dict[str, Any]:
        """What the tree says about one file."""
        path = self._folder + key
        folder = path.rpartition("/")[0]
        url = f"{self._tree}/{quote(folder)}" if folder else self._tree
        for entry in self._entries(url, key):
            if entry.get("path") == path and entry.get("type") == "file":
                return entry
        raise NotFoundError("nothing is stored here", where=f"{self.url}/{key}")

    def _entries(self, url: str, what: str) -> Iterator[dict[str, Any]]:
        """Every entry of a tree, page by page; a repeated page, or one on another server, is refused."""
        where, limits = f"{self.url}/{what}", self._web.limits
        seen: set[str] = set()
        count = idle = 0
        while url:
            if url in seen or len(seen) >= limits.pages or count > limits.entries or idle > limits.idle:
                raise StoreError("the listing does not end", code="list-endless", where=where, got=f"page {len(seen) + 1}")  # fmt: skip
            seen.add(url)
            answer = self._web.succeed(Request("GET", url, where))
            answer.read(limits.page)
            page = _entries_of(answer.body, where)
            count += len(page)
            idle = 0 if page else idle + 1
            yield from page
            found = _NEXT_RE.search(answer.headers.get("Link", ""))
            following = joined(url, found.group(1)) if found else ""
            if found and (not host_of(following) or origin(following) != origin(url)):
                raise StoreError("the next page of a listing is on another server", code="redirect-refused", where=where)  # fmt: skip
            url = following


def _large(entry: dict[str, Any]) -> str:
    """The SHA-256 of a file that the Hub stores as a large file; "" for others."""
    lfs = entry.get("lfs")
    found = str(lfs.get("oid") or lfs.get("sha256") or "") if isinstance(lfs, dict) else ""
    found = found.removeprefix("sha256:")
    return found if re.fullmatch(r"[0-9a-f]{64}", found) else ""


def _entries_of(body: bytes, where: str) -> list[dict[str, Any]]:
    try:
        page = json.loads(body)
        found = [entry for entry in page if isinstance(entry, dict) and "size" in entry]
        for entry in found:
            int(entry["size"]), str(entry["path"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise FormatError("the Hub's answer cannot be parsed", where=where, got=str(error)[:200]) from None
    return found
