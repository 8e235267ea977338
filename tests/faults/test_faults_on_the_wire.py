"""What a network does to requests: each fault is detected, tried again or refused, and nothing wrong is ever taken for right."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.servers.proxy import Fault, FaultProxy, fault_proxy
from wdstools.errors import NotFoundError, StoreError, TransientError
from wdstools.stores.base import ABSENT
from wdstools.stores.meter import Waits
from wdstools.stores.open import open_cloud
from wdstools.stores.retry import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.nginx import WebServer
    from tests.servers.s3 import S3Server
    from wdstools.stores.retry import Retrying

DATA = bytes(range(256)) * 400
IMPATIENT = Patience(attempts=3, first_wait=0.01, longest_wait=0.05)
#: Long enough for a loaded machine, short enough to wait for.
WAITS = Waits(connect=30, stall=3)


@pytest.fixture(params=["swift", "nginx"])
def shop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Retrying, FaultProxy, str]]:
    """A store behind the proxy, with DATA under ``x.tar``; and of which kind it is."""
    kind = str(request.param)
    server: S3Server | WebServer = request.getfixturevalue(kind)
    with fault_proxy(server.endpoint) as proxy:
        if kind == "swift":
            yield behind(request.getfixturevalue("swift"), proxy, monkeypatch), proxy, "swift"
        else:
            (request.getfixturevalue("nginx").root / "x.tar").write_bytes(DATA)
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            yield open_cloud(proxy.endpoint, waits=WAITS, patience=IMPATIENT), proxy, "nginx"


@pytest.fixture
def bucket(swift: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Retrying, FaultProxy]]:
    """An S3 store behind the proxy, with DATA under ``x.tar``."""
    with fault_proxy(swift.endpoint) as proxy:
        yield behind(swift, proxy, monkeypatch), proxy


def behind(server: S3Server, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Retrying:
    for name, value in server.at(proxy.endpoint).env.items():
        monkeypatch.setenv(name, value)
    store = open_cloud(f"s3://{server.new_bucket()}/p", waits=WAITS, patience=IMPATIENT)
    store.put_data("x.tar", DATA)
    return store


@pytest.mark.parametrize(
    ("fault", "times"),
    [("range-ignored", 1), ("wrong-range", 1), ("short", 2), ("reset", 2), ("stall", 1), ("busy", 2)],
)
def test_what_passes_is_tried_again(shop: tuple[Retrying, FaultProxy, str], fault: str, times: int) -> None:
    store, proxy, _ = shop
    proxy.add(Fault(fault, path="x.tar", times=times, seconds=4, body=DATA))
    assert store.fetch("x.tar", 1000, 5000) == DATA[1000:6000]
    assert proxy.faults[0].times == 0


@pytest.mark.parametrize("fault", ["range-ignored", "wrong-range", "short", "reset", "busy"])
def test_what_does_not_pass_is_given_up(shop: tuple[Retrying, FaultProxy, str], fault: str) -> None:
    store, proxy, _ = shop
    proxy.add(Fault(fault, path="x.tar", times=100, body=DATA))
    with pytest.raises(TransientError) as caught:
        store.fetch("x.tar", 1000, 5000)
    assert caught.value.code in ("not-partial", "short-body", "unreachable", "unavailable")
    assert "x.tar" in caught.value.where


@pytest.mark.parametrize(
    ("fault", "code"),
    [("forbidden", "denied"), ("gone", "not-found"), ("gzip", "re-encoded"), ("skewed", "clock-skew")],
)
def test_what_trying_again_does_not_help_is_refused_at_once(
    shop: tuple[Retrying, FaultProxy, str], fault: str, code: str
) -> None:
    store, proxy, _ = shop
    proxy.add(Fault(fault, path="x.tar", times=100))
    with pytest.raises(StoreError) as caught:
        store.fetch("x.tar", 1000, 5000)
    assert caught.value.code == code
    assert len([seen for seen in proxy.seen if seen.method == "GET"]) == 1


def test_a_server_that_ignores_ranges_is_not_read_to_the_end(shop: tuple[Retrying, FaultProxy, str]) -> None:
    store, proxy, _ = shop
    proxy.add(Fault("range-ignored", path="x.tar", body=DATA))
    assert store.get("x.tar", 10, 20) == DATA[10:30]


@pytest.mark.parametrize("fault", ["reset", "short"])
@pytest.mark.parametrize("length", [None, len(DATA) - 100])
def test_a_body_that_breaks_off_goes_on_where_it_broke(
    shop: tuple[Retrying, FaultProxy, str], fault: str, length: int | None
) -> None:
    store, proxy, _ = shop
    proxy.add(Fault(fault, path="x.tar", times=2))
    assert b"".join(store.stream("x.tar", 100, length)) == DATA[100:]
    asked = [seen.range for seen in proxy.seen if seen.method == "GET"]
    assert len(asked) == 3


def test_an_object_replaced_while_a_body_was_broken_off_is_never_mixed(
    shop: tuple[Retrying, FaultProxy, str], request: pytest.FixtureRequest
) -> None:
    store, proxy, kind = shop

    def replace() -> None:
        if kind == "swift":
            store.put_data("x.tar", DATA[::-1])
        else:
            path = request.getfixturevalue("nginx").root / "x.tar"
            path.write_bytes(DATA[::-1])
            os.utime(path, (1, 1))

    proxy.add(Fault("reset", path="x.tar"), Fault("hook", path="x.tar", hook=replace))
    with pytest.raises(StoreError) as caught:
        list(store.stream("x.tar"))
    assert caught.value.code == "object-changed"


def test_a_flipped_bit_and_another_objects_bytes_arrive_and_are_for_the_readers_digests_to_see(
    shop: tuple[Retrying, FaultProxy, str],
) -> None:
    """No client can see these: that is why everything above a store verifies."""
    store, proxy, _ = shop
    proxy.add(Fault("flip", path="x.tar"), Fault("foreign", path="x.tar", body=b"other"))
    assert store.fetch("x.tar", 0, 5000) != DATA[:5000]
    assert store.fetch("x.tar", 0, 5000) != DATA[:5000]
    assert store.fetch("x.tar", 0, 5000) == DATA[:5000]


def test_a_burst_of_refusals_is_outlasted_and_a_server_that_stays_busy_is_not_asked_for_ever(
    bucket: tuple[Retrying, FaultProxy],
) -> None:
    store, proxy = bucket
    proxy.add(Fault("busy", path="x.tar", method="HEAD", times=2))
    assert store.head("x.tar").bytes == len(DATA)
    proxy.clear()
    proxy.add(Fault("busy", path="x.tar", method="HEAD", times=100))
    with pytest.raises(TransientError):
        store.head("x.tar")
    assert len(proxy.seen) == IMPATIENT.attempts


@pytest.mark.parametrize("fault", ["flip-upload", "foreign-upload", "short-upload", "reset-upload", "busy"])
def test_an_upload_that_was_damaged_or_broken_is_sent_again(bucket: tuple[Retrying, FaultProxy], fault: str) -> None:
    store, proxy = bucket
    proxy.add(Fault(fault, path="new", method="PUT", times=2, body=b"other"))
    store.put_data("new", DATA)
    assert proxy.faults[0].times == 0
    assert store.get("new") == DATA


def test_an_upload_that_nobody_answers_is_sent_again(bucket: tuple[Retrying, FaultProxy]) -> None:
    store, proxy = bucket
    proxy.add(Fault("stall-upload", path="new", method="PUT", seconds=5))
    store.put_data("new", DATA)
    assert proxy.faults[0].times == 0
    assert store.get("new") == DATA


@pytest.mark.parametrize("fault", ["flip-upload", "foreign-upload", "short-upload"])
def test_an_upload_that_is_always_damaged_stores_nothing(
    bucket: tuple[Retrying, FaultProxy], tmp_path: Path, fault: str
) -> None:
    store, proxy = bucket
    (tmp_path / "file").write_bytes(DATA)
    proxy.add(Fault(fault, path="new", method="PUT", times=100, body=b"other"))
    with pytest.raises(TransientError) as caught:
        store.put_file("new", str(tmp_path / "file"), {"sha256": hashlib.sha256(DATA).hexdigest()})
    assert caught.value.code == "refused-checksum"
    with pytest.raises(NotFoundError):
        store.head("new")


def test_a_put_whose_answer_was_lost_is_recognised_as_ones_own(bucket: tuple[Retrying, FaultProxy]) -> None:
    store, proxy = bucket
    proxy.add(Fault("lost-answer", path="new", method="PUT"))
    assert store.put_data("new", DATA, only_if=ABSENT).bytes == len(DATA)
    proxy.add(Fault("lost-answer", path="new", method="PUT"))
    with pytest.raises(StoreError) as caught:
        store.put_data("new", b"somebody else's", only_if=ABSENT)
    assert caught.value.code == "object-exists"


def test_a_listing_whose_pages_repeat_is_not_believed(
    bucket: tuple[Retrying, FaultProxy], swift: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, proxy = bucket
    keys = [f"k/{number:04d}" for number in range(5)]
    for key in keys:
        store.put_data(key, b"")
    proxy.add(Fault("torn-list", method="GET", path="list-type", times=100))
    with pytest.raises(TransientError) as caught:
        list(store.list("k/"))
    assert caught.value.code == "list-torn"
    proxy.clear()
    proxy.add(Fault("reset", method="GET", path="list-type"), Fault("busy", method="GET", path="list-type"))
    for name, value in swift.at(proxy.endpoint).env.items():
        monkeypatch.setenv(name, value)
    assert [found.key for found in store.list("k/")] == keys
