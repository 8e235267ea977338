"""Servers that never stop, or drip: each store ends with an error, soon, and having taken no more than it must."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.azurite import AzureServer
from tests.servers.hostile import LISTINGS, WAYS, Hostile, hostile_server
from tests.servers.s3 import S3Server
from wdstools.errors import StoreError, TransientError, WdsError
from wdstools.stores.gcs_azure import open_signed
from wdstools.stores.hf import open_hf
from wdstools.stores.http import HttpStore
from wdstools.stores.meter import Limits, Waits
from wdstools.stores.s3 import open_s3
from wdstools.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.stores.base import RemoteStore

WAITS = Waits(connect=5, stall=1, window=0.5, rate=2000, whole=1)
#: obstore limits the whole time of a request of a class of sizes: at this rate all classes have about as long.
QUICK = Waits(connect=5, stall=1, window=0.5, rate=1 << 40, whole=1)
LIMITS = Limits(unsized=1 << 20, page=1 << 20, pages=40, entries=100)
#: What is sent for each request before a server sees that nobody reads any more: buffers of the kernel on both sides.
UNREAD = 12 << 20


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hostile]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hostile_server(WAYS) as running:
        yield running


def open_hostile(kind: str, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    """The kind of store, of this server, with short limits and no second try."""
    if kind == "http":
        return HttpStore(f"{server.endpoint}/d", WAITS, web=Web(WAITS, limits=LIMITS))
    if kind == "hf":
        monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
        return open_hf("hf://datasets/o/n", WAITS, hub=server.endpoint, limits=LIMITS)
    env = S3Server(server.endpoint, "key", "secret").env if kind == "s3" else AzureServer(server.endpoint).env
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    if kind == "s3":
        return open_s3("s3://bucket", WAITS, LIMITS)
    if kind == "az":
        return open_signed("az://container", WAITS, LIMITS)
    monkeypatch.setattr("wdstools.stores.gcs_azure.SignedStore._signed", lambda *_: "")
    return open_signed("az://container", QUICK, LIMITS)


#: obstore ends the process where an error announces more bytes than there is memory (docs/cloud.md says so).
NOT_SURVIVED = ("az unsigned", "error by length")


@pytest.mark.parametrize(
    ("kind", "way"),
    [(kind, way) for kind in ("http", "s3", "hf", "az", "az unsigned") for way in WAYS if (kind, way) != NOT_SURVIVED],
)
def test_a_range_of_an_object_ends_with_an_error(
    kind: str, way: str, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_hostile(kind, server, monkeypatch)
    server.way = way
    with pytest.raises(StoreError) as caught:
        store.fetch("x.tar", 0, 10_000)
    assert server.sent <= UNREAD * len(server.asked) or kind == "az unsigned"
    assert "got got" not in str(caught.value)
    if way == "many headers" and kind != "az unsigned":  # they would be as many the next time
        assert caught.value.code == "answer-too-long"
        assert not isinstance(caught.value, TransientError)
    if "dripping" in way and kind != "az unsigned":
        assert caught.value.code == "too-slow"
        assert isinstance(caught.value, TransientError)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["http", "s3", "hf", "az"])
def test_a_whole_object_and_its_size_end_with_an_error(
    kind: str, way: str, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_hostile(kind, server, monkeypatch)
    server.way = way
    with pytest.raises(WdsError):
        store.get("x.json")
    if way in ("range", "chunk extensions", "trailers", "dripping body", "body", "body to the end") and kind != "hf":
        return  # to a HEAD request these are whole answers
    with pytest.raises(WdsError):
        store.head("x.json")
    assert server.sent <= UNREAD * len(server.asked)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_sent_to_a_server_that_means_harm_ends_with_an_error(
    way: str, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_hostile("s3", server, monkeypatch)
    server.way = way
    if way in ("body", "body to the end", "range", "chunk extensions", "trailers", "dripping body"):
        store.put_data("x", b"x" * 100_000)  # the status says that it is stored; what else is said has an end
    else:
        with pytest.raises(StoreError):
            store.put_data("x", b"x" * 100_000)
    assert server.sent <= UNREAD * len(server.asked)


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind, ways in LISTINGS.items() for way in ways])
def test_a_listing_without_end_has_one(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hostile_server(LISTINGS[kind]) as server:
        server.way = way
        store = open_hostile(kind, server, monkeypatch)
        with pytest.raises(StoreError) as caught:
            list(store.list("p/" if kind != "hf" else ""))
        assert caught.value.code in ("list-endless", "list-torn", "answer-too-long", "storage-failed")
        assert len(server.asked) <= 2 * LIMITS.entries
        assert server.sent <= UNREAD * len(server.asked)


def test_uploads_without_end_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hostile_server(LISTINGS["s3"]) as server:
        server.way = "the same token"
        with pytest.raises(StoreError) as caught:
            open_hostile("s3", server, monkeypatch).unfinished()
        assert caught.value.code == "list-endless"
