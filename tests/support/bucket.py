"""A dataset in a bucket, and the bucket behind a fault proxy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers.proxy import FaultProxy, Link, fault_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from tests.servers.s3 import S3Server


@dataclass(frozen=True)
class InBucket:
    """A dataset's copy at ``url``, seen through ``proxy``; ``folder`` is the original."""

    folder: Path
    url: str
    proxy: FaultProxy
    server: S3Server
    bucket: str

    @property
    def env(self) -> dict[str, str]:
        """The environment with which commands find the bucket, through the proxy."""
        return self.server.at(self.proxy.endpoint).env

    def put(self, path: str, data: bytes, **options: Any) -> None:
        """Store other bytes behind everybody's back."""
        self.server.client().put_object(Bucket=self.bucket, Key=f"data/{path}", Body=data, **options)

    def delete(self, path: str) -> None:
        """Remove an object behind everybody's back."""
        self.server.client().delete_object(Bucket=self.bucket, Key=f"data/{path}")

    def note_md5(self) -> None:
        """What a mirror would have noted."""
        shards = [path.read_bytes() for path in self.folder.glob("*/*.tar")]
        md5 = {
            hashlib.sha256(data).hexdigest(): hashlib.md5(data, usedforsecurity=False).hexdigest() for data in shards
        }
        (self.folder / ".wdstools/remote-digests.json").write_text(json.dumps({"format": 1, "md5": md5}))


def in_bucket(
    folder: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch, link: Link | None = None
) -> Iterator[InBucket]:
    """The dataset in a new bucket."""
    bucket, client = server.new_bucket(), server.client()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), bucket, f"data/{path.relative_to(folder)}")
    with fault_proxy(server.endpoint, link) as proxy:
        found = InBucket(folder, f"s3://{bucket}/data", proxy, server, bucket)
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        yield found
