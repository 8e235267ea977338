"""Passwords, signatures and tokens: in no output and in no file, whatever happens; and never at another server."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.servers.handler import Handler
from tests.servers.hostile import Asked, hostile_server
from tests.servers.recorded import Player, Recorded, recorded_server
from tests.servers.s3 import S3Server
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset
from wdstools.address import SCHEMES, Url, display, is_address, secrets_of, without_secrets
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, UsageError, WdsError
from wdstools.stores.azure import open_azure
from wdstools.stores.google import open_google
from wdstools.stores.hf import open_hf
from wdstools.stores.http import HttpStore
from wdstools.stores.meter import Waits
from wdstools.stores.open import open_cloud, open_store
from wdstools.stores.s3 import open_s3
from wdstools.stores.web import Request, Web, origin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "CANARY7f3a90"
LOGIN = base64.b64encode(f"user:{CANARY}".encode()).decode()
#: Every form in which a secret could come out.
FORMS = (CANARY, LOGIN, base64.b64encode(CANARY.encode()).decode())


@contextmanager
def telling_server(folder: Path) -> Iterator[str]:
    """Files for those who have the secret; to others, and at /tell and /bucket, it repeats all that it was told."""

    class ForThis(Handler):
        def _answer(self, status: int, body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _serve(self) -> None:
            name, _, query = self.path.partition("?")
            told = f"{self.path} {self.headers}".encode()
            known = f"X-Amz-Signature={CANARY}" in query or self.headers.get("Authorization") == f"Basic {LOGIN}"
            path = folder / name.removeprefix("/d/")
            if name.startswith("/d/") and known:
                self._answer(200, path.read_bytes()) if path.is_file() else self._answer(404, told)
            else:
                self._answer(403 if name.startswith("/d/") else 400, b"<Code>No</Code>" + told)

        do_GET = do_HEAD = do_PUT = do_DELETE = _serve  # noqa: N815  # the names http.server looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), ForThis)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("packed"))


def leaks(folder: Path, outputs: dict[str, str]) -> list[str]:
    """Where a secret stands: commands by name, and files below a folder."""
    found = [name for name, text in outputs.items() if any(form in text for form in FORMS)]
    for path in folder.rglob("*"):
        if path.is_file() and any(form.encode() in path.read_bytes() for form in FORMS):
            found.append(str(path))
        if any(form in path.name for form in FORMS):
            found.append(path.name)
    return found


def outputs_of(commands: list[tuple[str, ...]], folder: Path, env: dict[str, str]) -> dict[str, str]:
    """What each command says, by its words without addresses."""
    home = {"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "home/cache"), "NO_PROXY": "127.0.0.1"}

    def run(command: tuple[str, ...]) -> tuple[str, str]:
        told = (
            () if command[0] == "stream-no-such-command" else ("--log-file", "log.txt")
        )  # all that is told, at any level
        ran = run_command(*command, *told, cwd=folder, env={**home, **env}, hang_seconds=120)
        assert "Traceback" not in ran.err, ran.err
        return f"{' '.join(display(word) for word in command)}: {ran.code}", ran.out + ran.err

    return dict(map(run, commands))


def test_a_secret_in_an_address_is_in_no_output_and_no_file(packed: Path, tmp_path: Path) -> None:
    with telling_server(packed) as host:
        signed, login = f"http://{host}/d?X-Amz-Signature={CANARY}", f"http://user:{CANARY}@{host}/d"
        telling, dead = f"http://{host}/tell?sig={CANARY}", f"http://user:{CANARY}@127.0.0.1:1/d"
        commands = [
            ("info", signed),
            ("info", login, "--json"),
            ("info", telling),
            ("info", telling, "--json"),
            ("verify", signed),
            ("verify", str(packed), "--at", login, "--level", "remote"),
            ("verify", str(packed), "--at", telling, "--json"),
            ("pull", signed, "copy"),
            ("pull", login, "other", "-n"),
            ("pull", telling, "third", "--json"),
            ("repair", "copy", "--from", signed, "-n"),
            ("repair", signed, "--from", login, "-n"),
            ("mirror", login, "mirrored", "-y"),
            ("mirror", str(packed), telling, "-y"),
            ("adopt", f"{signed}", "adopted"),
            ("scan", signed),
            ("pack", signed, "repacked"),
            ("diff", signed, login),
            ("stream-no-such-command", signed),
            ("ls", signed, "--at", telling),
            ("duplicates", login),
            ("bench", telling),
            ("info", f"http://user:{CANARY}/x@{host}/d"),
            ("info", f"nonsense://user:{CANARY}@{host}/d?{CANARY}"),
            ("info", f"s3://user:{CANARY}@{host}/d?{CANARY}"),
        ]
        outputs = outputs_of(commands, tmp_path, {})
        assert outputs_of([("info", dead)], tmp_path, {"WDSTOOLS_NOTHING": "1"})
    assert any(name.endswith(": 0") and name.startswith("pull") for name in outputs), outputs
    assert any(name.endswith(": 0") and name.startswith("info") for name in outputs), outputs
    assert "DEBUG wdstools.stores" in (tmp_path / "log.txt").read_text()
    assert leaks(tmp_path, outputs) == []


def test_a_pull_that_was_interrupted_leaves_no_secret(packed: Path, tmp_path: Path) -> None:
    shutil.copytree(packed, tmp_path / "served")
    next((tmp_path / "served").rglob("*.tar")).unlink()
    (tmp_path / "here").mkdir()
    with telling_server(tmp_path / "served") as host:
        outputs = outputs_of([("pull", f"http://{host}/d?X-Amz-Signature={CANARY}", "half")], tmp_path / "here", {})
    assert not any(name.endswith(": 0") for name in outputs)
    assert list((tmp_path / "here").glob("half.partial*"))
    assert leaks(tmp_path / "here", outputs) == []


@pytest.mark.parametrize("sending", [("s3", "hf"), pytest.param((), marks=pytest.mark.slow)])
def test_a_secret_in_the_environment_is_in_no_output_and_no_file(
    packed: Path, tmp_path: Path, sending: tuple[str, ...]
) -> None:
    with telling_server(packed) as host:
        key = base64.b64encode(CANARY.encode()).decode()
        environments = {
            "s3": S3Server(f"http://{host}", CANARY, CANARY).env | {"AWS_SESSION_TOKEN": CANARY},
            "s3 endpoint": S3Server(f"http://user:{CANARY}@{host}", "key", "secret").env,
            "s3 query": S3Server(f"http://{host}?sig={CANARY}", "key", "secret").env,
            "hf": {"HF_TOKEN": CANARY, "HF_ENDPOINT": f"http://{host}"},
            "az": {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": key, "AZURE_STORAGE_ENDPOINT": f"http://{host}/a"},
            "az sas": {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_SAS_KEY": f"sig={CANARY}", "AZURE_STORAGE_ENDPOINT": f"http://{host}/a"},
            "az token": {"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_TOKEN": CANARY, "AZURE_STORAGE_ENDPOINT": f"http://{host}/a"},
            "gs": {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps({"private_key": CANARY, "client_email": "x", "private_key_id": CANARY, "gcs_base_url": f"http://{host}"})},
            "proxy": {"http_proxy": f"http://user:{CANARY}@127.0.0.1:1"},
            "bad proxy": {"http_proxy": f"socks9://user:{CANARY}@127.0.0.1:1"},
        }  # fmt: skip
        addresses = {"hf": "hf://datasets/o/n", "az": "az://bucket/p", "gs": "gs://bucket/p", "s3": "s3://bucket/p"}
        outputs: dict[str, str] = {}
        for name, env in environments.items():
            url = addresses.get(name.partition(" ")[0], "http://far.invalid/d")
            sends = not sending or name in sending
            commands: list[tuple[str, ...]] = [("info", url)]
            commands += [("mirror", str(packed), url, "-y", "--json")] if sends else []
            outputs |= {f"{name} {ran}": text for ran, text in outputs_of(commands, tmp_path, env).items()}
    assert len(outputs) == len(environments) + len(sending or environments)
    assert not any(name.endswith(": 0") for name in outputs)
    assert leaks(tmp_path, outputs) == []


SECRETS = [
    ("http://user:S3C RET@host/x", "http://host/x"),
    ("http://user:S3C\nRET@host/x", "http://host/x"),
    ("http://h/d?X-Amz-Signature=S3CRET", "http://h/d?..."),
    ("https://user:S3CRET@h:1/d", "https://h:1/d"),
    ("https://user:S3C/RET@h:1/d", "https://h:1/d"),
    ("https://user:S3C?RET@h:1/d", "https://h:1/d"),
    ("https://user:S3C#RET@h:1/d", "https://h:1/d"),
    ("https://S3CRET@h/d", "https://h/d"),
    ("https://a@S3CRET@h/d", "https://h/d"),
    ("https://h/d#S3CRET", "https://h/d#..."),
    ("s3://key:S3CRET@bucket/p", "s3://bucket/p"),
    ("az://c/p?sv=1&sig=S3CRET", "az://c/p?..."),
    ("https://[::1]:80/d?S3CRET", "https://[::1]:80/d?..."),
    ("http:/user:S3CRET@h/d", "http:/h/d"),
    ("https:user:S3CRET@h/d", "https:h/d"),
    ("HTTPS:user:S3CRET@h/d", "HTTPS:h/d"),
    ("http:///user:S3CRET@h/d", "http:///h/d"),
    ("http//user:S3CRET@h/d", "http//h/d"),
    ("http;//user:S3CRET@h/d", "http;//h/d"),
    ("http:\\\\user:S3CRET@h/d", "http:\\\\h/d"),
    ("htps://user:S3CRET@h/d", "htps://h/d"),
    ("s3:/key:S3CRET@bucket/p", "s3:/bucket/p"),
    ("s3:key:S3CRET@bucket/p", "s3:bucket/p"),
    ("hf:/user:S3CRET@o/n", "hf:/o/n"),
    ("https:/h/d?sig=S3CRET", "https:/h/d?..."),
    ("az:/c/p?sv=1&sig=S3CRET", "az:/c/p?..."),
]

#: Commands that take an address, with a mistake in it: nothing is asked, and what is said shows no secret.
MISTAKEN = ["http:/user:{}@127.0.0.1:1/d", "https:user:{}@127.0.0.1/d", "s3:/key:{}@bucket/p", "http:///user:{}@h/d"]


@pytest.mark.parametrize("address", MISTAKEN)
def test_a_mistyped_address_shows_no_secret(address: str, packed: Path, tmp_path: Path) -> None:
    typed = address.format(CANARY)
    commands: list[tuple[str, ...]] = [
        ("info", typed),
        ("verify", typed, "--json"),
        ("scan", typed),
        ("pack", typed, "new"),
        ("pull", typed, "new", "--json"),
        ("mirror", str(packed), typed, "-n"),
        ("adopt", typed, "-o", "new"),
        ("repair", str(packed), "--from", typed, "-n"),
        ("extract", str(packed), typed),
        ("verify", str(packed), "--at", typed),
    ]
    outputs = {}
    for command in commands:
        ran = run_command(*command, cwd=tmp_path)
        assert "Traceback" not in ran.err
        outputs[f"{command[0]} {ran.code}"] = ran.out + ran.err
    assert leaks(tmp_path, outputs) == []


@pytest.mark.parametrize(("address", "shown"), SECRETS)
def test_an_address_is_shown_without_its_secret(address: str, shown: str) -> None:
    assert display(address) == shown
    assert display(shown) == shown
    assert without_secrets(f"cannot read {address} now") == f"cannot read {shown} now"
    assert shown in str(Url(address))
    assert "S3C" not in f"{Url(address)} {Url(address)!r} {[Url(address)]}"
    assert Url(address).secret == address
    text = f"{address}7f3a90"
    for secret in secrets_of(text):
        text = text.replace(secret, "...")
    assert "S3C" not in text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_scheme_of_every_store_is_known_when_it_is_mistyped(scheme: str) -> None:
    for address in (f"{scheme}:/user:canary@host/x", f"{scheme};//user:canary@host/x", f"{scheme}//user:canary@host/x"):
        assert "canary" not in display(address)
        assert is_address(address)


@pytest.mark.parametrize(
    "plain",
    [
        "/a/b?c",
        "a@b",
        "hf://datasets/o/n@v1/x",
        "s3://bucket/key",
        "http://h:1/a@b/c",
        "s3/a:b@c",
        "https",
        "az",
        "a:b",
    ],
)
def test_an_address_without_a_secret_is_shown_as_it_is(plain: str) -> None:
    assert display(plain) == plain
    assert without_secrets(plain) == plain


@pytest.mark.parametrize(("address", "shown"), SECRETS)
def test_no_error_holds_a_secret(address: str, shown: str) -> None:
    error = WdsError(f"cannot open {address}", where=address, expected=address, got=address, hint=f"try {address}")
    assert "S3C" not in f"{error} {error.to_dict()} {error.__dict__} {error.args} {error.__notes__}"
    assert error.where == shown


def test_a_login_in_an_address_is_used_for_basic_authentication(monkeypatch: pytest.MonkeyPatch, packed: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with telling_server(packed) as host:
        assert open_dataset(f"http://user:{CANARY}@{host}/d").root == open_dataset(str(packed)).root
        with pytest.raises(StoreError) as caught:
            open_store(f"http://user:wrong@{host}/d").head("SHA256SUMS")
    assert caught.value.code == "denied"


def _elsewhere(player: Player) -> str:
    return player.endpoint.replace("127.0.0.1", "localhost")


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[Player]:
    """Another server, under another name."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    answers = {("GET", "/x"): Recorded(200, {}, b"data"), ("GET", "/tree"): Recorded(200, {}, b"[]")}
    with recorded_server(answers) as player:
        yield player


def sent_to(player: Player) -> str:
    return " ".join(f"{path} {headers}" for _, path, headers in player.requests)


def test_no_credential_follows_a_redirect(other: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    away = Recorded(307, {"Location": f"{_elsewhere(other)}/x"})
    monkeypatch.setattr("huggingface_hub.get_token", lambda: CANARY)
    paths = ("/x", "/datasets/o/n/resolve/main/x", "/bucket/x", "/account/container/x")
    with recorded_server({("GET", path): away for path in paths}) as front:
        env = S3Server(front.endpoint, "key", CANARY).env | {"AWS_SESSION_TOKEN": CANARY}
        env |= {"AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ENDPOINT": f"{front.endpoint}/account"}
        env |= {"GOOGLE_BASE_URL": front.endpoint}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("wdstools.stores.obstore_login.Login.authorization", lambda _: f"Bearer {CANARY}")
        monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", f"sig={CANARY}")
        with_sas = open_azure("az://container", Waits())
        monkeypatch.setenv("AZURE_STORAGE_TOKEN", CANARY)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        login = front.endpoint.replace("://", f"://user:{CANARY}@")
        for store in (
            HttpStore(login, Waits()),
            open_hf("hf://datasets/o/n", Waits(), hub=front.endpoint),
            open_s3("s3://bucket", Waits()),
            with_sas,
            open_azure("az://container", Waits()),
            open_google("gs://bucket", Waits()),
        ):
            assert store.get("x") == b"data"
        assert all(any(form in f"{asked}" for form in FORMS) for asked in front.requests)  # there they were sent
    assert len(other.requests) == len(front.requests) == 6
    assert not any(form in sent_to(other) for form in FORMS)
    assert "uthorization" not in sent_to(other)


def test_an_upload_is_not_redirected(other: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Asked) -> Iterator[bytes]:
        yield f"HTTP/1.1 307 Away\r\nLocation: {_elsewhere(other)}/x\r\nContent-Length: 0\r\n\r\n".encode()

    with hostile_server({"": away}) as front:
        for name, value in S3Server(front.endpoint, "key", CANARY).env.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(StoreError) as caught:
            open_s3("s3://bucket", Waits()).put_data("x", b"1")
    assert caught.value.code == "redirect-refused"
    assert other.requests == []


def test_the_next_page_of_the_hub_on_another_server_is_not_asked_for(
    other: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: CANARY)
    for following in (f"{_elsewhere(other)}/tree", "http://[::1/tree"):
        tree = Recorded(200, {"Link": f'<{following}>; rel="next"'}, b"[]")
        pages = {("GET", "/api/datasets/o/n/tree/main"): tree}
        with recorded_server(pages) as front, pytest.raises(StoreError) as caught:
            list(open_hf("hf://datasets/o/n", Waits(), hub=front.endpoint).list())
        assert caught.value.code == "redirect-refused"
    assert other.requests == []


@pytest.mark.parametrize(
    ("before", "location"),
    [
        ("https://a.example/x", "http://a.example/x"),
        ("https://a.example/x", "//user:password@b.example/x"),
        ("http://a.example/x", "ftp://a.example/x"),
        ("http://a.example/x", "file:///etc/passwd"),
        ("http://a.example/x", "http://h:99999/"),
        ("http://a.example/x", "http://[::1"),
        ("http://a.example/x", "//evil@[::1"),
    ],
)
def test_a_redirect_that_leads_astray_is_refused(before: str, location: str) -> None:
    from wdstools.stores import web

    with pytest.raises(StoreError) as caught:
        web._followed(Request("GET", before, "where"), before, location)
    assert caught.value.code == "redirect-refused"


def test_one_origin_is_one_scheme_host_and_port() -> None:
    assert origin("http://H.example/a") == origin("http://h.example:80/b")
    assert len({origin(url) for url in ("http://h/", "https://h/", "http://h:81/", "http://g/")}) == 4


def test_a_server_that_repeats_what_it_was_told_is_not_quoted(monkeypatch: pytest.MonkeyPatch, packed: Path) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with telling_server(packed) as host:
        web = Web(Waits(), lambda _request: {"Authorization": f"Bearer {CANARY}"})
        for store in (HttpStore(f"http://{host}/tell", Waits(), web=web), open_cloud(f"http://{host}/tell?a={CANARY}")):
            with pytest.raises(StoreError) as caught:
                store.get("x")
            assert caught.value.code == "refused"
            assert "Host" in caught.value.got or "GET" in caught.value.got or "/tell" in caught.value.got
            assert CANARY not in str(caught.value)


def test_a_strangers_dataset_sends_no_request_anywhere(other: Player, tmp_path: Path, packed: Path) -> None:
    from wdstools.ops.adopt import adopt

    split = next(path.name for path in packed.iterdir() if path.is_dir() and not path.name.startswith("."))
    adopt(str(packed / split), str(tmp_path / "theirs"))
    for place in (
        f"{other.endpoint}/x",
        "s3://bucket/x",
        "hf://datasets/o/n",
        f"file://{packed}",
        str(packed),
        "../packed",
    ):
        location = tmp_path / "theirs/.wdstools/location.json"
        location.write_text(json.dumps({"shards": f"{place}?sig={CANARY}" if "://" in place else place}))
        with pytest.raises(UsageError) as caught:
            open_dataset(str(tmp_path / "theirs"))
        assert caught.value.code == "location-unconfirmed"
        assert place in caught.value.got
        assert CANARY not in str(caught.value)
        ran = run_command("verify", tmp_path / "theirs")
        assert ran.code == 2
        assert "--at" in ran.err
    assert other.requests == []
    confirmed = open_dataset(str(tmp_path / "theirs"), at=str(packed / split))
    assert confirmed.shards.url == str(packed / split)
    assert os.path.isdir(confirmed.shards.url)


def test_web_servers_and_the_hub_need_no_library_of_the_cloud(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys\n"
        "sys.modules['obstore'] = sys.modules['botocore'] = sys.modules['huggingface_hub'] = None\n"
        "import wdstools as wt\n"
        "from wdstools.stores.open import open_store\n"
        "print(wt.open_dataset(sys.argv[1]).root)\n"
        "open_store('hf://datasets/o/n')\n"
        "for url in ('s3://b/p', 'gs://b/p', 'az://b/p'):\n"
        "    try:\n"
        "        open_store(url)\n"
        "    except wt.UsageError as error:\n"
        "        print(error.code)\n"
    )
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with telling_server(packed) as host:
        command = [sys.executable, "-c", code, f"http://user:{CANARY}@{host}/d"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [open_dataset(str(packed)).root, *["extra-missing"] * 3]


def test_tars_that_this_user_has_adopted_are_found_again_and_by_nobody_else(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wdstools.ops.adopt import adopt

    split = next(path.name for path in packed.iterdir() if path.is_dir() and not path.name.startswith("."))
    adopt(str(packed / split), str(tmp_path / "theirs"))
    assert open_dataset(str(tmp_path / "theirs")).shards.url == str(packed / split)
    shutil.copytree(tmp_path / "theirs", tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for place in ("moved", "theirs"):
        with pytest.raises(UsageError) as caught:
            open_dataset(place)
        assert caught.value.code == "location-unconfirmed"
        assert open_dataset(place, at=str(packed / split)).shards.url == str(packed / split)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of somebody else"))
