"""The page of ``view`` as a user gets it: a server started by the command, and its answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import numpy as np

from tests.support.command import start_command
from tests.support.tools import need_module
from wdstools.formats.digest import ShardDigests
from wdstools.formats.index import build_index, shard_entry, write_index
from wdstools.formats.manifest import MANIFEST_PATH, Manifest, dumps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command import Process


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Viewing:
    """A page being served; ``url`` is its address."""

    url: str
    process: Process

    @property
    def token(self) -> str:
        """The secret part of the address."""
        return urlsplit(self.url).path.strip("/")

    def ask(self, path: str, method: str = "GET", headers: dict[str, str] | None = None, **given: Any) -> Answer:
        """Ask for a path below the page's address; ``given`` is its query."""
        query = "?" + urlencode(given, doseq=True) if given else ""
        return self.raw(f"/{self.token}/{path}{query}", method, headers)

    def raw(self, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Ask for any path."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=headers is not None and "Host" in headers)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if method == "POST":
                connection.putheader("Content-Length", "0")
            connection.endheaders()
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def samples(self, **given: Any) -> Any:
        """A part of the gallery, once the search is done."""
        for _ in range(200):
            found = self.ask("api/samples", **given)
            assert found.status == 200, found.body
            if found.document["finished"]:
                return found.document
        raise AssertionError("the search does not end")

    def end(self) -> tuple[int, str, str]:
        """Interrupt the command; returns exit code, stdout and stderr."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode is not None
        return self.process.returncode, out.decode(), err.decode()


@contextlib.contextmanager
def viewing(
    dataset: Path | str, *arguments: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> Iterator[Viewing]:
    """``wdstools view DATASET``, until the block ends. Without the extra the test skips."""
    need_module("starlette")
    need_module("uvicorn")
    with start_command("view", dataset, *arguments, env=env, cwd=cwd) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().decode().strip()
            assert url.startswith("http://127.0.0.1:"), process.communicate(timeout=60)
            yield Viewing(url, process)
        finally:
            if process.poll() is None:
                process.kill()


def write_index_alone(folder: Path, shards: int, samples: int) -> Path:
    """A dataset of many samples that has only manifest and indexes: the shards are empty."""
    (folder / ".wdstools/index").mkdir(parents=True)
    entries = []
    for shard in range(shards):
        table, size = _table(shard * samples, samples)
        digests = ShardDigests(bytes=size, sha256="0" * 64, xxh3_128="0" * 32, crc32c="0" * 8, crc64nvme="0" * 16)
        entry = shard_entry(f"train/train-{shard:06d}.tar", digests, table)
        (folder / entry.index_path).write_bytes(write_index(table))
        entries.append(entry)
    manifest = Manifest("many", 1, ("oslo", "rome"), ("jpg", "txt"), 0, {"train": tuple(entries)})
    (folder / MANIFEST_PATH).write_bytes(dumps(manifest))
    return folder


def _table(first: int, samples: int) -> tuple[Any, int]:
    numbers = range(first, first + samples)
    starts = np.arange(samples, dtype=np.int64) * 2_048
    labels = [("oslo", "rome")[number % 2] for number in numbers]
    columns: dict[str, Any] = {
        "split": ["train"] * samples,
        "key": [f"{label}/{number}" for label, number in zip(labels, numbers, strict=True)],
        "label": labels,
        "cls": [number % 2 for number in numbers],
        "offset": starts,
        "length": np.full(samples, 2_048),
        "xxh3_128": [bytes(16)] * samples,
        "width": np.full(samples, 300),
        "height": 200 + np.arange(first, first + samples) % 100,
        "format": ["jpg"] * samples,
        "caption": [f"caption of number {number}" for number in numbers],
    }
    offsets = np.stack((starts + 512, starts + 1_536), axis=1).reshape(-1)
    members: dict[str, Any] = {
        "ext": ["jpg", "txt"] * samples,
        "offset": offsets,
        "size": np.full(2 * samples, 400),
        "xxh3_64": np.zeros(2 * samples, np.uint64),
        "count": np.full(samples, 2, np.int32),
    }
    return build_index(columns, members), samples * 2_048 + 1_024
