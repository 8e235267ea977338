"""Providers that cannot be run here, by the answers they give: the Hugging Face Hub, Google, and web servers with digests."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.servers.recorded import Player, Recorded, recorded_server
from wdstools.address import display
from wdstools.errors import FormatError, NotFoundError, StoreError, TransientError, UsageError
from wdstools.stores.base import Body, ObjectInfo
from wdstools.stores.bucket_urls import header_digests
from wdstools.stores.hf import open_hf
from wdstools.stores.http import HttpStore
from wdstools.stores.http_status import answer_error, wish
from wdstools.stores.memory import MemoryStore
from wdstools.stores.meter import Waits
from wdstools.stores.open import open_cloud, remote
from wdstools.stores.read_only import ReadOnly
from wdstools.stores.retry import Patience, Retrying
from wdstools.stores.s3 import whole_digests
from wdstools.stores.web import Web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.stores.base import RemoteStore

SHARD = b"shard bytes " * 1000
OID = hashlib.sha256(SHARD).hexdigest()
TREE = "/api/datasets/owner/name/tree/main"


def entry(path: str, size: int, **more: Any) -> dict[str, Any]:
    """One entry as the tree API gives it (fields of https://huggingface.co/docs/hub/api, 2025)."""
    return {"type": "file", "oid": "2d4a7f", "size": size, "path": path, **more}


def page(*entries: dict[str, Any], following: str = "") -> Recorded:
    headers = {"Content-Type": "application/json"}
    if following:
        headers["Link"] = f'<{{endpoint}}{following}>; rel="next"'
    return Recorded(200, headers, json.dumps(entries).encode())


LFS = {"lfs": {"oid": OID, "size": len(SHARD), "pointerSize": 134}, "xetHash": "a1b2"}
HUB = {
    ("GET", f"{TREE}/train"): page(
        entry("train/other.tar", 5, lfs={"oid": "0" * 64, "size": 5, "pointerSize": 130}),
        following=f"{TREE}/train?cursor=x",
    ),
    ("GET", f"{TREE}/train?cursor=x"): page(entry("train/train-000000.tar", len(SHARD), **LFS)),
    ("GET", TREE): page({"type": "directory", "oid": "x", "size": 0, "path": "train"}, entry("README.md", 6)),
    ("GET", f"{TREE}?recursive=true"): page(
        {"type": "directory", "oid": "x", "size": 0, "path": "train"},
        entry("train/train-000000.tar", len(SHARD), **LFS),
        entry("README.md", 6),
    ),
    ("GET", "/datasets/owner/name/resolve/main/train/train-000000.tar"): Recorded(
        302, {"Location": "{endpoint}/cdn/blob?sig=1"}
    ),
    ("GET", "/cdn/blob"): Recorded(200, {"ETag": '"blob"'}, SHARD),
    ("GET", f"{TREE}/broken"): Recorded(200, {}, b"<html>"),
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with recorded_server(HUB) as player:
        yield player


def open_hub(player: Player, url: str = "hf://datasets/owner/name") -> Any:
    return open_hf(url, Waits(), hub=player.endpoint)


def test_the_hub_tells_sizes_and_sha256_without_a_download(hub: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    store = open_hub(hub)
    assert store.url == "hf://datasets/owner/name"
    assert store.head("train/train-000000.tar").bytes == len(SHARD)
    assert store.remote_digests("train/train-000000.tar") == {"sha256": OID}
    assert store.remote_digests("README.md") == {}
    assert [(found.key, found.bytes) for found in store.list()] == [
        ("README.md", 6),
        ("train/train-000000.tar", len(SHARD)),
    ]
    assert all("/cdn/" not in path for _, path, _ in hub.requests)


def test_a_file_of_the_hub_is_read_by_ranges_across_the_redirect(hub: Player) -> None:
    store = open_hub(hub)
    assert store.fetch("train/train-000000.tar", 100, 50) == SHARD[100:150]
    assert store.get("train/train-000000.tar") == SHARD
    assert b"".join(store.stream("train/train-000000.tar")) == SHARD


def test_a_token_goes_to_the_hub_and_not_to_where_it_redirects(hub: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_secret")
    with recorded_server({("GET", "/cdn/blob"): Recorded(200, {}, SHARD)}) as cdn:
        elsewhere = cdn.endpoint.replace("127.0.0.1", "localhost")
        away = Recorded(302, {"Location": f"{elsewhere}/cdn/blob"})
        with recorded_server({("GET", "/datasets/owner/name/resolve/v1/x.tar"): away}) as front:
            assert open_hub(front, "hf://datasets/owner/name@v1").get("x.tar") == SHARD
            assert front.requests[0][2]["Authorization"] == "Bearer hf_secret"
        assert "Authorization" not in cdn.requests[0][2]


def test_what_the_hub_has_not_or_says_oddly_is_an_error(hub: Player) -> None:
    store = open_hub(hub)
    with pytest.raises(NotFoundError):
        store.head("train/none.tar")
    with pytest.raises(NotFoundError):
        store.head("nowhere/none.tar")
    with pytest.raises(FormatError):
        store.head("broken/x")
    with pytest.raises(StoreError):
        store.put_data("x", b"")
    for url in ("hf://owner/name", "hf://datasets/owner", "hf://models/owner/name"):
        with pytest.raises(UsageError):
            open_hub(hub, url)


def test_digests_of_google_and_azure_are_read_from_headers() -> None:
    """As documented by Google (XML API, x-goog-hash) and Microsoft (Get Blob Properties)."""
    md5 = base64.b64encode(hashlib.md5(SHARD, usedforsecurity=False).digest()).decode()
    assert header_digests({"x-goog-hash": f"crc32c=n03x6A==, md5={md5}"}) == {
        "crc32c": "9f4df1e8",
        "md5": hashlib.md5(SHARD, usedforsecurity=False).hexdigest(),
    }
    assert header_digests({"x-goog-hash": "crc32c=n03x6A=="}) == {"crc32c": "9f4df1e8"}
    assert header_digests({"Content-MD5": md5}) == {"md5": hashlib.md5(SHARD, usedforsecurity=False).hexdigest()}
    assert header_digests({"x-goog-hash": "crc32c=!!", "Content-MD5": ""}) == {}


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ({"ETag": '"0123456789abcdef0123456789abcdef"'}, {"md5"}),
        (
            {
                "ETag": '"0123456789abcdef0123456789abcdef-3"',
                "x-amz-checksum-crc32": "aaaaaa==-3",
                "x-amz-checksum-type": "COMPOSITE",
            },
            set(),
        ),
        ({"ETag": '"0123456789abcdef0123456789abcdef"', "x-amz-server-side-encryption": "aws:kms"}, set()),
        ({"ETag": '"0123456789abcdef0123456789abcdef"', "x-amz-server-side-encryption": "aws:kms:dsse"}, set()),
        (
            {"ETag": '"0123456789abcdef0123456789abcdef"', "x-amz-server-side-encryption-customer-algorithm": "AES256"},
            set(),
        ),
        ({"ETag": '"0123456789abcdef0123456789abcdef"', "x-amz-server-side-encryption": "AES256"}, {"md5"}),
        (
            {"ETag": '"x-2"', "x-amz-checksum-crc64nvme": "AAAAAAAAAAA=", "x-amz-checksum-type": "FULL_OBJECT"},
            {"crc64nvme"},
        ),
        (
            {
                "ETag": '"x"',
                "x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode(),
                "x-amz-checksum-type": "FULL_OBJECT",
            },
            {"sha256"},
        ),
        ({"ETag": '"x"', "x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode() + "-2"}, set()),
    ],
)
def test_only_digests_of_the_whole_object_count(answer: dict[str, str], names: set[str]) -> None:
    """The headers of HeadObject's answer as Amazon documents them."""
    assert set(whole_digests(answer)) == names


def test_a_web_server_may_tell_a_digest_and_hides_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    digest = base64.b64encode(bytes.fromhex(OID)).decode()
    head = Recorded(200, {"Content-Length": str(len(SHARD)), "Repr-Digest": f"sha-256=:{digest}:"})
    with recorded_server(
        {("HEAD", "/data/x.tar"): head, ("GET", "/data/x.tar"): Recorded(503, {"Retry-After": "7"})}
    ) as player:
        store = HttpStore(f"{player.endpoint}/data?token=secret", Waits())
        assert store.remote_digests("x.tar") == {"sha256": OID}
        assert player.requests[-1][1] == "/data/x.tar?token=secret"
        with pytest.raises(TransientError) as caught:
            store.get("x.tar")
        assert caught.value.retry_after == 7
        assert "secret" not in str(caught.value) + store.url


def test_requests_go_through_the_proxy_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorded_server({("GET", "http://far.invalid/data/x.tar"): Recorded(200, {}, SHARD)}) as player:
        monkeypatch.setenv("no_proxy", "near.invalid")
        monkeypatch.setenv("http_proxy", player.endpoint.removeprefix("http://"))
        assert HttpStore("http://far.invalid/data", Waits()).get("x.tar") == SHARD
        monkeypatch.setenv("http_proxy", player.endpoint.replace("//", "//user:p%40ss@"))
        assert HttpStore("http://far.invalid/data", Waits()).get("x.tar") == SHARD
        login = base64.b64encode(b"user:p@ss").decode()
        assert player.requests[-1][2]["proxy-authorization"] == f"Basic {login}"
        with pytest.raises(TransientError):
            HttpStore("http://near.invalid/data", Waits(connect=2)).get("x.tar")
    monkeypatch.setenv("http_proxy", "socks5://user:secret@127.0.0.1:1")
    with pytest.raises(UsageError, match="proxy") as caught:
        HttpStore("http://far.invalid/data", Waits()).get("x.tar")
    assert "secret" not in str(caught.value)


def test_a_redirect_to_another_server_takes_no_secret_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    secrets = {"Authorization": "AWS4-HMAC-SHA256 ...", "X-Amz-Security-Token": "token"}
    with recorded_server({("GET", "/x"): Recorded(200, {}, SHARD)}) as other:
        elsewhere = other.endpoint.replace("127.0.0.1", "localhost") + "/x"
        with recorded_server({("GET", "/x"): Recorded(307, {"Location": elsewhere})}) as player:
            store = HttpStore(player.endpoint, Waits(), web=Web(Waits(), lambda _request: secrets))
            assert store.get("x") == SHARD
            assert secrets.keys() <= player.requests[-1][2].keys()
        assert not secrets.keys() & other.requests[-1][2].keys()


@pytest.mark.parametrize(
    "address",
    [
        "nonsense", "http://", "http://a b", "http://a:99999", "http://a:0", "http://[::1", "ftp://host",
        "http://\u00e9.invalid", "http://%zz", "http://h\\x", "http://<x>", "http://1.2.3.4.5", "http://[v1.x]:1",
        "http://host/?query", "http://host/#part", "http://user:secret@host",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_no_address_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(UsageError, match="not the address") as caught:
        open_cloud("s3://bucket/prefix")
    assert caught.value.got == display(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://localhost", "https://s3.example.org:8443/", "http://[::1]:9000", "http://10.0.0.1", "http://a_b"],
)
def test_endpoints_of_every_sound_form_are_taken(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    open_cloud("s3://bucket/prefix")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_SESSION_TOKEN", "TOPSECRET\r"),
        ("AWS_SECRET_ACCESS_KEY", "TOPSECRET\u20ac"),
        ("AWS_ACCESS_KEY_ID", "TOPSECRET\n"),
        ("AWS_DEFAULT_REGION", "a b"),
        ("AWS_DEFAULT_REGION", "a\nb"),
    ],
)
def test_settings_that_cannot_be_sent_are_refused_and_not_shown(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(setting, "key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises((UsageError, StoreError)) as caught:
        open_cloud("s3://bucket/prefix")
    assert caught.value.code == "store-settings"
    assert "TOPSECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://[x/", "http://[::1/", "http://\u00e9\u2100.x/", "http://", "http://a:b/"])
def test_a_web_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        open_cloud(url)


@pytest.mark.parametrize("proxy", ["http://[::1", "http://u:\u20ac@127.0.0.1:1", "gopher://127.0.0.1:1"])
def test_a_proxy_that_is_none_is_refused(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(UsageError, match="proxy"):
        HttpStore("http://far.invalid/data", Waits()).get("x.tar")


def test_a_range_behind_the_end_is_empty_whatever_is_said_of_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with recorded_server({("GET", "/x"): Recorded(416, {"Content-Range": "bytes */10"})}) as player:
        assert list(HttpStore(player.endpoint, Waits()).open_body("x", 100, 10, etag='"v"').blocks) == []


def test_a_forked_process_reads_through_connections_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    web = Web(Waits())
    here = web._pool("http://127.0.0.1:1/x")
    assert web._pool("http://127.0.0.1:1/y") is here
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert web._pool("http://127.0.0.1:1/x") is not here


def test_an_endpoint_in_a_profile_that_is_no_address_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\nendpoint_url = nonsense\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    with pytest.raises(StoreError, match="nonsense"):
        open_cloud("s3://bucket/prefix")


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
@pytest.mark.parametrize("rest", ["", "/x", "b b/x", "\u00e4/x", "?q/x", "b/x\x01y", "b/x/../y", "b/x//y", "b/."])
def test_what_no_bucket_can_hold_is_refused(scheme: str, rest: str) -> None:
    with pytest.raises(UsageError):
        open_cloud(f"{scheme}://{rest}")


def test_a_servers_wish_to_wait_is_read_in_both_forms_and_granted_within_bounds() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert wish("12", now) == 12
    assert wish("Thu, 01 Jan 2026 00:01:30 GMT", now) == 90
    assert wish("Thu, 01 Jan 2015 00:00:00 GMT", now) == 0
    assert wish("soon", now) is None
    for odd in (
        "\u00b2",
        "9" * 5_000,
        "Thu, 01 Jan 2026 00:00:00 +" + "9" * 20,
        "Thu, 01 Jan " + "9" * 20 + " 00:00:00 GMT",
    ):
        assert wish(odd, now) is None
    assert wish(None, now) is None
    patience = Patience(first_wait=1, longest_wait=10, draw=lambda: 1.0)
    busy = TransientError("busy", retry_after=5)
    assert [patience.wait(attempt, TransientError("x")) for attempt in range(6)] == [1, 2, 4, 8, 10, 10]
    assert patience.wait(0, busy) == 5
    assert patience.wait(0, TransientError("busy", retry_after=3600)) == 10
    assert Patience(first_wait=1, draw=lambda: 0.0).wait(0, TransientError("x")) == 0.5


def test_retries_end_and_wait_as_long_as_patience_says() -> None:
    waits: list[float] = []

    class Busy(MemoryStore):
        def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            raise TransientError("busy", where=key)

    patience = Patience(attempts=4, first_wait=1, draw=lambda: 1.0, sleep=waits.append)
    store = Retrying(remote(Busy()), patience)
    with pytest.raises(TransientError):
        store.get("x")
    assert waits == [1, 2, 4]


class Failing(MemoryStore):
    """Fails with ``code`` as long as that is one."""

    code, tries = "", 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.tries += 1
        if self.code:
            raise TransientError("not now", code=self.code, where=key)
        return super().get(key, start, length)


@pytest.mark.parametrize(("code", "most"), [("too-slow", 2), ("not-partial", 2), ("unreachable", 4)])
def test_what_was_given_up_is_tried_once_only_until_an_answer_comes(code: str, most: int) -> None:
    failing = Failing()
    failing.put("x", b"0123")
    store = Retrying(remote(failing), Patience(attempts=4, sleep=lambda _: None))
    for expected in (most, 1, 1):
        failing.code, failing.tries = code, 0
        with pytest.raises(TransientError):
            store.get("x", 1, 2)
        assert failing.tries == expected
    failing.code = ""
    assert store.get("x", 1, 2) == b"12"
    failing.code, failing.tries = code, 0
    with pytest.raises(TransientError):
        store.get("x", 1, 2)
    assert failing.tries == most


def test_a_server_that_breaks_off_after_each_byte_is_given_up() -> None:
    class Crumbs(MemoryStore):
        asked = 0

        def open_body(self, key: str, start: int = 0, length: int | None = None, *, etag: str = "") -> Body:
            self.asked += 1

            def blocks() -> Iterator[memoryview]:
                yield memoryview(b"x")
                raise TransientError("broken off", code="short-body", where=key)

            return Body("", start, 10_000, blocks())

    crumbs = Crumbs()
    with pytest.raises(TransientError):
        list(Retrying(cast("RemoteStore", crumbs), Patience(attempts=4, sleep=lambda _: None)).stream("x"))
    assert crumbs.asked == 4


def test_a_listing_that_breaks_off_after_each_key_is_given_up() -> None:
    class Crumbs(MemoryStore):
        asked = 0

        def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
            self.asked += 1
            yield ObjectInfo(f"{self.asked:09}", 1)
            raise TransientError("broken off", code="list-torn", where=prefix)

    crumbs = Crumbs()
    with pytest.raises(TransientError):
        list(Retrying(cast("RemoteStore", crumbs), Patience(attempts=4, sleep=lambda _: None)).list())
    assert crumbs.asked == 4


def test_a_read_only_store_changes_nothing() -> None:
    inside = MemoryStore()
    inside.put("x", b"1")
    store = ReadOnly(remote(inside))
    assert store.get("x") == b"1"
    assert [found.key for found in store.list()] == ["x"]
    for change in (lambda: store.put("x", b"2"), lambda: store.delete("x"), lambda: store.put_file("x", "y", {})):
        with pytest.raises(StoreError) as caught:
            change()
        assert caught.value.code == "read-only"
    assert inside.get("x") == b"1"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (503, "", "unavailable"),
        (429, "", "unavailable"),
        (500, "<Code>InternalError</Code>", "unavailable"),
        (400, "<Code>RequestTimeout</Code>", "unavailable"),
        (400, "<Code>BadDigest</Code>", "refused-checksum"),
        (400, "<Code>ExpiredToken</Code>", "denied"),
        (400, "<Code>InvalidArgument</Code>", "refused"),
        (403, "<Code>RequestTimeTooSkewed</Code>", "clock-skew"),
        (401, "", "denied"),
        (404, "", "not-found"),
        (412, "", "object-changed"),
        (501, "", "store-cannot"),
    ],
)
def test_an_answer_means_one_thing(status: int, body: str, code: str) -> None:
    error = answer_error(status, body, "s3://b/x")
    assert error.code == code
    assert error.where == "s3://b/x"
