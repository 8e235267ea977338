"""Google and Azure by an identity that is found: asked once, in a process of its own, and in no message."""

from __future__ import annotations

import hashlib
import os
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.servers.azurite import AzureServer
from tests.servers.google import TOKEN
from tests.servers.recorded import Recorded, recorded_server
from tests.support.command import HANG_SECONDS
from wdstools.errors import SourceChangedError, StoreError, UsageError
from wdstools.stores.azure import open_azure
from wdstools.stores.google import open_google
from wdstools.stores.meter import Waits
from wdstools.stores.obstore_login import Login
from wdstools.stores.open import open_remote

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.google import GoogleServer

SAS = "sv=2023-11-03&sr=c&sp=rl&sig=c2VjcmV0LWNhbmFyeQ%3D%3D"


@pytest.fixture
def bucket(google: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in google.env.items():
        monkeypatch.setenv(name, value)
    return google.new_bucket()


def test_one_identity_serves_all_stores_of_a_process(bucket: str, google: GoogleServer) -> None:
    open_remote(f"gs://{bucket}/a").put("x", b"1")
    before = google.tokens
    open_remote(f"gs://{bucket}/b").put("x", b"1")
    assert open_remote(f"gs://{bucket}").get("a/x") == b"1"
    assert google.tokens == before
    assert [headers.get("Authorization") for _, path, headers in google.asked if bucket in path] == [
        f"Bearer {TOKEN}"
    ] * 3


def test_a_forked_process_finds_its_own(bucket: str) -> None:
    store = open_remote(f"gs://{bucket}")
    store.put("x", b"1")
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if store.get("x") == b"1" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(pid, 0)[1] == 0


def test_what_an_identity_server_does_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of a hundred terabytes is announced: whoever makes room for it is ended by the system."""
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    huge = Recorded(500, {"Content-Length": "100000000000000", "Connection": "close"}, b"x")
    with recorded_server({("GET", path): huge}) as player:
        for name, value in {"GCE_METADATA_HOST": player.endpoint.removeprefix("http://"), "NO_PROXY": "*"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StoreError) as caught:
            Login("gs", HANG_SECONDS).authorization()
    assert caught.value.code == "denied"
    assert any(path in asked for _, asked, _ in player.requests)


def test_a_variable_that_is_wrong_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", '{"private_key": "canary-of-a-key"')
    with pytest.raises(StoreError) as caught:
        Login("gs", HANG_SECONDS).authorization()
    assert caught.value.code == "denied"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", "not base64!"),
        ("AZURE_STORAGE_TOKEN", "token\nwith a line end"),
        ("AZURE_STORAGE_ENDPOINT", "https://user:canary@host"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "a/../b"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for known, usual in (AzureServer("http://127.0.0.1:1").env | {name: value}).items():
        monkeypatch.setenv(known, usual)
    with pytest.raises(UsageError) as caught:
        open_azure("az://container", Waits()).head("x")
    assert caught.value.code == "store-settings"
    assert "canary" not in str(caught.value)


def test_a_sas_goes_with_every_request_and_stands_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorded_server({}) as player:
        env = {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_SAS_TOKEN": f"?{SAS}"}
        for name, value in (env | {"AZURE_STORAGE_ENDPOINT": player.endpoint, "NO_PROXY": "*"}).items():
            monkeypatch.setenv(name, value)
        store = open_azure("az://container", Waits())
        for work in (lambda: store.head("x"), lambda: store.get("x"), lambda: list(store.list())):
            with pytest.raises(StoreError) as caught:
                work()
            assert "c2VjcmV0LWNhbmFyeQ" not in f"{caught.value!r} {caught.value}"
    assert len(player.requests) == 3
    for _, path, headers in player.requests:
        assert path.endswith(SAS)
        assert "Authorization" not in headers


def test_what_is_damaged_on_its_way_is_refused_and_sent_again(
    bucket: str, google: GoogleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.0)
    google.damaging = 2
    store = open_remote(f"gs://{bucket}")
    store.put("x", b"whole")
    assert google.damaging == 0
    assert store.get("x") == b"whole"
    assert store.put_wrong("y")


def test_a_large_file_is_sent_as_a_stream_under_a_condition(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdstools.stores.bucket_urls.MEMORY_BYTES", 1000)
    file, data = tmp_path / "f", Random(3).randbytes(300_000)
    file.write_bytes(data)
    store, digests = open_google(f"gs://{bucket}", Waits()), {"sha256": hashlib.sha256(data).hexdigest()}
    store.put_file("x", str(file), digests, only_if="absent")
    assert store.get("x") == data
    with pytest.raises(StoreError) as caught:
        store.put_file("x", str(file), digests, only_if="absent")
    assert caught.value.code == "object-exists"
    file.write_bytes(data[:-1] + b"!")
    with pytest.raises(SourceChangedError):
        store.put_file("y", str(file), digests)
    assert [found.key for found in store.list()] == ["x"]


def test_whoever_made_the_folder_that_we_stand_in_runs_nothing(
    google: GoogleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in google.env.items():
        monkeypatch.setenv(name, value)
    for module in ("json", "obstore", "secrets", "wdstools"):
        (tmp_path / f"{module}.py").write_text("open('pwned', 'w').close()\nraise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    assert Login("gs", HANG_SECONDS).authorization() == f"Bearer {TOKEN}"
    assert not (tmp_path / "pwned").exists()
