"""Every kind of store that the conformance suites run on, each empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wdstools.stores.local import LocalStore
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import open_remote, open_store, remote

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.stores.base import RemoteStore, Store

NEAR_KINDS = ("memory", "local", "local-url")
_SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("localstack", "azurite")]
#: rclone is not reliable as a store (it ignores ranges): it has its own tests.
ALL_KINDS = (*NEAR_KINDS, "swift", "google", *_SLOW)


def make_store(kind: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store; servers are started when they are first needed."""
    if kind == "memory":
        return MemoryStore()
    if kind in ("local", "local-url"):
        return LocalStore(folder) if kind == "local" else open_store(f"file://{folder}")
    return make_remote(kind, folder, request, monkeypatch)


def make_remote(
    kind: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> RemoteStore:
    """An empty store as a RemoteStore."""
    if kind in NEAR_KINDS:
        return remote(make_store(kind, folder, request, monkeypatch))
    server: Any = request.getfixturevalue(kind)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    if kind == "azurite":
        return open_remote(f"az://{server.new_container()}/some/prefix")
    if kind == "google":
        return open_remote(f"gs://{server.new_bucket()}/some/prefix")
    return open_remote(f"s3://{server.new_bucket()}/some/prefix")
