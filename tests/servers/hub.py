"""A server that speaks what the Hub's library calls: repositories, preupload, LFS, commits, pull requests, trees. In memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tests.servers.handler import Handler

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_canary" + 28 * "0"
_LARGE = (".tar", ".parquet", ".jsonl")
_NOW = "2024-01-01T00:00:00.000Z"
_NAME, _REVISION = r"/api/datasets/([^/]+/[^/]+)", r"(main|refs/pr/\d+)"
Tree = dict[str, tuple[str | None, bytes]]


@dataclass
class Pull:
    """A pull request: the commit that it began at, the one that it stands at, and draft, open, closed or merged."""

    title: str
    base: str
    head: str
    author: str
    status: str = "draft"


@dataclass
class Repository:
    """Commits, each the whole tree: path -> (SHA-256 of a large file or None, content)."""

    private: bool
    trees: dict[str, Tree] = field(default_factory=dict)
    head: str = ""
    log: list[list[dict[str, Any]]] = field(default_factory=list)
    pulls: list[Pull] = field(default_factory=list)
    #: Every commit that main stood at.
    heads: list[str] = field(default_factory=list)

    def add(self, tree: Tree) -> str:
        """A commit with this tree, on main."""
        return self.stand_at(self.keep(tree))

    def keep(self, tree: Tree) -> str:
        """A commit with this tree, on nothing."""
        made = hashlib.sha1(f"{len(self.trees)} {sorted(tree)}".encode(), usedforsecurity=False).hexdigest()
        self.trees[made] = tree
        return made

    def stand_at(self, commit: str) -> str:
        """Main moves."""
        self.head = commit
        self.heads.append(commit)
        return commit

    def at(self, revision: str) -> str:
        """The commit that main or a pull request stands at."""
        return self.head if revision == "main" else self.pulls[int(revision.rpartition("/")[2]) - 1].head

    def merge(self, pull: Pull) -> bool:
        """What changed on a pull request comes to main; what changed on both otherwise is a conflict."""
        base, ours, theirs = (self.trees[commit] for commit in (pull.base, self.head, pull.head))
        merged = dict(ours)
        for path in {*base, *theirs}:
            if theirs.get(path) == base.get(path):
                continue
            if ours.get(path) not in (base.get(path), theirs.get(path)):
                return False
            merged.pop(path, None)
            if path in theirs:
                merged[path] = theirs[path]
        self.stand_at(pull.head if self.head == pull.base else self.keep(merged))
        pull.status = "merged"
        return True


@dataclass
class Hub:
    """What the server holds, what it was asked, and what it does wrong."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""
    #: The number of blobs after which every PUT is refused.
    fail_after: int | None = None
    #: Called before a commit is looked at.
    meanwhile: Any = None
    lies: bool = False
    #: Whether repositories take pull requests, and whether these are merged.
    takes_pulls: bool = True
    merges: bool = True

    @property
    def sent(self) -> list[str]:
        """SHA-256 of the blobs that were sent."""
        return [line.rpartition("/")[2] for line in self.requests if line.startswith("PUT")]

    def files(self, name: str) -> dict[str, bytes]:
        """What a repository holds."""
        repository = self.repositories[name]
        return {path: data for path, (_, data) in repository.trees[repository.head].items()}


class _Handler(Handler):
    hub: Hub

    def _answer(self, status: int, body: object = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _allowed(self) -> bool:
        if self.headers.get("Authorization") == f"Bearer {TOKEN}":
            return True
        # a server may repeat what it was sent
        self._answer(403, {"error": f"no right with {self.headers.get('Authorization')} {TOKEN}"})
        return False

    def do_PUT(self) -> None:  # noqa: N802  # the name http.server looks for
        """A blob; one that is not what its name says is refused."""
        data, name = self._body(), self.path.rpartition("/")[2]
        hub = self.hub
        if hub.fail_after is not None and len(hub.blobs) >= hub.fail_after:
            self._answer(403, {"error": f"no {TOKEN}"})
            return
        hub.requests.append(f"PUT {self.path}")
        if hashlib.sha256(data).hexdigest() != name:
            self._answer(400)
            return
        hub.blobs[name] = data
        self._answer(200)

    def do_POST(self) -> None:  # noqa: N802  # the name http.server looks for
        """Everything that the library asks to be done."""
        path, body = unquote(urlsplit(self.path).path), self._body()
        self.hub.requests.append(f"POST {path}")
        if not self._allowed():
            return
        if path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            document = json.loads(body)
            name = (
                f"{document['organization']}/{document['name']}" if document.get("organization") else document["name"]
            )
            if name in self.hub.repositories:
                self._answer(409, {"url": f"{self.hub.url}/datasets/{name}"})
                return
            made = self.hub.repositories[name] = Repository(
                "private" in (document.get("visibility"), document.get("private") and "private")
            )
            made.add({".gitattributes": (None, b"*.tar filter=lfs\n")})
            self._answer(200, {"url": f"{self.hub.url}/datasets/{name}"})
        elif found := re.fullmatch(f"{_NAME}/preupload/{_REVISION}", path):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(_LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._answer(200 if found[1] in self.hub.repositories else 404, {"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            self._answer(200, {"objects": [self._action(entry) for entry in json.loads(body)["objects"]]})
        elif path.endswith("/verify"):
            found_blob = json.loads(body)["oid"] in self.hub.blobs
            self._answer(200 if found_blob else 404, {})
        elif found := re.fullmatch(f"{_NAME}/commit/{_REVISION}", path):
            self._commit(found[1], found[2], [json.loads(line) for line in body.splitlines()])
        elif found := re.fullmatch(f"{_NAME}/discussions(?:/(\\d+)/(status|merge))?", path):
            self._discuss(found[1], found[2], found[3], json.loads(body or b"null"))
        else:
            self._answer(404)

    def _action(self, entry: dict[str, Any]) -> dict[str, Any]:
        oid = entry["oid"]
        if oid in self.hub.blobs:
            return {"oid": oid, "size": entry["size"]}
        upload = {"href": f"{self.hub.url}/blobs/{oid}"}
        return {
            "oid": oid,
            "size": entry["size"],
            "actions": {"upload": upload, "verify": {"href": f"{self.hub.url}/verify"}},
        }

    def _discuss(self, name: str, number: str | None, what: str | None, document: Any) -> None:
        repository = self.hub.repositories[name]
        if number is None:
            if not self.hub.takes_pulls:
                self._answer(403, {"error": f"discussions are disabled {TOKEN}"})
                return
            repository.pulls.append(Pull(document["title"], repository.head, repository.head, "me"))
            self._answer(200, {"num": len(repository.pulls), "pullRequest": True})
            return
        pull = repository.pulls[int(number) - 1]
        if what == "status":
            pull.status = document["status"]
            event = {"id": "0", "type": "status-change", "createdAt": _NOW, "data": {"status": pull.status}}
            self._answer(200, {"newStatus": event})
        elif pull.status != "open" or not self.hub.merges:
            self._answer(400, {"error": f"not to be merged {TOKEN}"})
        else:
            self._answer(200 if repository.merge(pull) else 409, {})

    def _pull(self, name: str, repository: Repository, number: int) -> dict[str, Any]:
        pull = repository.pulls[number - 1]
        return {
            "num": number,
            "title": pull.title,
            "status": pull.status,
            "author": {"name": pull.author},
            "createdAt": _NOW,
            "repo": {"name": name, "type": "dataset"},
            "isPullRequest": True,
            "changes": {"base": "refs/heads/main"},
            "filesWithConflicts": [],
            "events": [],
        }

    def _commit(self, name: str, revision: str, lines: list[dict[str, Any]]) -> None:
        repository = self.hub.repositories[name]
        if self.hub.meanwhile:
            self.hub.meanwhile()
        parent = lines[0]["value"].get("parentCommit")
        head = repository.at(revision)
        if parent is not None and parent != head:
            self._answer(412, {"error": f"not the head, {TOKEN}"})
            return
        tree = dict(repository.trees[head])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = (None, base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.blobs:
                    self._answer(400, {"error": "no such blob"})
                    return
                tree[value["path"]] = (value["oid"], self.hub.blobs[value["oid"]])
            else:
                tree.pop(value["path"], None)
        repository.log.append(lines)
        commit = repository.keep(tree)
        if revision == "main":
            repository.stand_at(commit)
        else:
            repository.pulls[int(revision.rpartition("/")[2]) - 1].head = commit
        self._answer(200, {"commitUrl": f"{self.hub.url}/datasets/{name}/commit/{commit}", "commitOid": commit})

    def do_HEAD(self) -> None:  # noqa: N802  # the name http.server looks for
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:  # noqa: N802  # the name http.server looks for
        """Heads, trees and files."""
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        listed = re.fullmatch(f"{_NAME}/(?:revision|tree)/{_REVISION}(/.*)?", path)
        resolved = re.fullmatch(f"/datasets/([^/]+/[^/]+)/resolve/{_REVISION}/(.*)", path)
        pulls = re.fullmatch(f"{_NAME}/discussions(?:/(\\d+))?", path)
        match = listed or resolved or pulls
        repository = self.hub.repositories.get(match[1]) if match else None
        if match is None or repository is None:
            self._answer(404)
            return
        if repository.private and not self._allowed():
            return
        if pulls and pulls[2]:
            self._answer(200, self._pull(match[1], repository, int(pulls[2])))
            return
        if pulls:
            found = [self._pull(match[1], repository, number + 1) for number in range(len(repository.pulls))]
            self._answer(200, {"count": len(found), "start": 0, "discussions": found})
            return
        commit = repository.at(match[2])
        tree = repository.trees[commit]
        if resolved:
            self._file(tree.get(resolved[3]))
        elif "/revision/" in path:
            self._answer(200, {"sha": commit, "id": match[1]})
        else:
            below = (match[3] or "/").strip("/")
            self._answer(200, [self._entry(name, *tree[name]) for name in sorted(tree) if name.startswith(below)])

    def _entry(self, path: str, large: str | None, data: bytes) -> dict[str, Any]:
        oid = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": oid}
        if large:
            entry["lfs"] = {"oid": "0" * 64 if self.hub.lies else large, "size": len(data)}
        return entry

    def _file(self, found: tuple[str | None, bytes] | None) -> None:
        if found is None:
            self._answer(404)
            return
        data, asked = found[1], re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            self._answer(200, data)
            return
        start, end = int(asked[1]), int(asked[2] or len(data) - 1)
        if start >= len(data):
            self._answer(416, b"", Content_Range=f"bytes */{len(data)}")
            return
        end = min(end, len(data) - 1)
        self._answer(206, data[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}")


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A Hub of its own, on this machine."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
