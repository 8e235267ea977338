"""Servers that never stop, or drip: each store ends with an error, soon, and having taken no more than it must."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.servers.azurite import AzureServer
from tests.servers.hostile import LISTINGS, WAYS, Hostile, hostile_server
from tests.servers.s3 import S3Server
from wdstools.errors import StoreError, TransientError, WdsError
from wdstools.stores.azure import open_azure
from wdstools.stores.base import ListsLevels
from wdstools.stores.google import open_google
from wdstools.stores.hf import open_hf
from wdstools.stores.http import HttpStore
from wdstools.stores.meter import Limits, Waits
from wdstools.stores.s3 import open_s3
from wdstools.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.stores.base import RemoteStore

WAITS = Waits(connect=5, stall=1, window=0.5, rate=2000, whole=1)
LIMITS = Limits(unsized=1 << 20, page=1 << 20, pages=40, entries=100, idle=5)
#: What is sent for each request before a server sees that nobody reads any more: buffers of the kernel on both sides.
UNREAD = 12 << 20


#: Every kind of store that is reached over a network, and those of them that can be written.
WRITTEN = ("s3", "az", "az token", "gs")
KINDS = ("http", "hf", *WRITTEN)
#: To a request whose answer has no body that matters, these are whole answers.
WHOLE = ("range", "chunk extensions", "trailers", "dripping body", "body", "body to the end")


def open_hostile(kind: str, server: Hostile, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    """The kind of store, of this server, with short limits and no second try."""
    if kind == "http":
        return HttpStore(f"{server.endpoint}/d", WAITS, web=Web(WAITS, limits=LIMITS))
    if kind == "hf":
        monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
        return open_hf("hf://datasets/o/n", WAITS, hub=server.endpoint, limits=LIMITS)
    env = {
        "s3": S3Server(server.endpoint, "key", "secret").env,
        "az": AzureServer(server.endpoint).env,
        "az token": AzureServer(server.endpoint).env | {"AZURE_STORAGE_TOKEN": "token"},
        "gs": {"GOOGLE_BASE_URL": server.endpoint, "GOOGLE_SKIP_SIGNATURE": "true"},
    }
    for name, value in env[kind].items():
        monkeypatch.setenv(name, value)
    if kind == "s3":
        return open_s3("s3://bucket", WAITS, LIMITS)
    return open_google("gs://bucket", WAITS, LIMITS) if kind == "gs" else open_azure("az://container", WAITS, LIMITS)


def wrong_ways(kind: str, monkeypatch: pytest.MonkeyPatch, look: Callable[[RemoteStore, str], str]) -> dict[str, str]:
    """What ``look`` finds wrong with the store before a server of each way; all at once, for most of it is waiting."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        servers = {way: stack.enter_context(hostile_server(WAYS)) for way in WAYS}
        stores = {}
        for way, server in servers.items():
            server.way = way
            stores[way] = open_hostile(kind, server, monkeypatch)

        def seen(way: str) -> str:
            said, server = look(stores[way], way), servers[way]
            if not server.asked:
                return "nothing was asked"
            return said if server.sent <= UNREAD * len(server.asked) else f"{server.sent:,} bytes were sent"

        with ThreadPoolExecutor(len(WAYS)) as pool:
            found = dict(zip(WAYS, pool.map(seen, WAYS), strict=True))
    return {way: said for way, said in found.items() if said}


def error_of(work: Callable[[], object]) -> WdsError | None:
    try:
        work()
    except WdsError as error:
        return error
    return None


def look_at_a_range(store: RemoteStore, way: str) -> str:
    error = error_of(lambda: store.fetch("x.tar", 0, 10_000))
    if error is None or "got got" in str(error):
        return f"{error}"
    if way == "many headers" and (error.code != "answer-too-long" or isinstance(error, TransientError)):
        return f"{error.code}, though there will be as many the next time"
    if "dripping" in way and not (error.code == "too-slow" and isinstance(error, TransientError)):
        return error.code
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_range_of_an_object_ends_with_an_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrong_ways(kind, monkeypatch, look_at_a_range) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_object_and_its_size_end_with_an_error(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(store: RemoteStore, way: str) -> str:
        if error_of(lambda: store.get("x.json")) is None:
            return "the object was had"
        asks_tree = kind == "hf"
        if way not in WHOLE or asks_tree:  # to a HEAD request the others are whole answers
            return "" if error_of(lambda: store.head("x.json")) is not None else "the size was had"
        return ""

    assert wrong_ways(kind, monkeypatch, look) == {}


@pytest.mark.parametrize("kind", WRITTEN)
def test_what_is_sent_to_a_server_that_means_harm_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(store: RemoteStore, way: str) -> str:
        error = error_of(lambda: store.put_data("x", b"x" * 100_000))
        error_of(lambda: store.delete("x"))  # what it says to the HEAD before may stand for its answer
        if (error is None) == (way in WHOLE):
            return ""  # the status says that it is stored; what else is said has an end
        return f"{error}"

    assert wrong_ways(kind, monkeypatch, look) == {}


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind, ways in LISTINGS.items() for way in ways])
def test_a_listing_without_end_has_one(kind: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hostile_server(LISTINGS[kind]) as server:
        server.way = way
        store = open_hostile(kind, server, monkeypatch)
        prefix = "p/" if kind != "hf" else ""
        assert isinstance(store, ListsLevels)
        levels = store.level
        uses: list[Callable[[], object]] = [lambda: list(store.list(prefix)), lambda: levels(prefix)]
        for use in uses:
            server.asked.clear()
            with pytest.raises(StoreError) as caught:
                use()
            assert caught.value.code in ("list-endless", "list-torn", "answer-too-long", "storage-failed")
            assert len(server.asked) <= (4 * LIMITS.idle if "nothing" in way else 2 * LIMITS.entries)
        assert server.sent <= UNREAD * len(server.asked)


def test_uploads_without_end_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with hostile_server(LISTINGS["s3"]) as server:
        server.way = "the same token"
        with pytest.raises(StoreError) as caught:
            open_hostile("s3", server, monkeypatch).unfinished()
        assert caught.value.code == "list-endless"


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_server_that_hardly_takes_what_is_sent_is_given_up(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        done = threading.Event()
        stack.callback(done.set)

        def take() -> None:
            connection, _ = listener.accept()
            with connection:
                while not done.wait(0.1) and connection.recv(100):
                    pass

        threading.Thread(target=take, daemon=True).start()
        store = open_hostile(kind, Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}"), monkeypatch)
        with pytest.raises(TransientError) as caught:
            store.put_data("x", bytes(16 << 20))
    assert caught.value.code == "too-slow"
