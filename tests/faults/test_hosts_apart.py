"""Hosts that share nothing but an S3 server pack from bucket to bucket; one dies, its driver dies, and it is the dataset of one machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS, REPOSITORY, run_command
from tests.support.hosts import hosts_apart, tcp_door
from tests.support.outcome import contents
from wdstools.stores.open import open_store

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.servers.s3 import S3Server

SHARDS = 14
OPTIONS = ("--shards", str(SHARDS // 2), "--name", "pairs", "-j", "2", "--json")


def noted(url: str) -> int:
    """How many shards are finished."""
    store = open_store(url)
    notes = [
        info.key for info in store.list(".wdstools/packing/") if not info.key.endswith(("claim.json", "files.json"))
    ]
    return sum(b'"done"' in store.get(key) for key in notes)


def wait_for(url: str, count: int, process: subprocess.Popen[bytes]) -> None:
    """Until so many shards are finished, or the pack has ended."""
    while process.poll() is None and noted(url) < count:
        time.sleep(0.02)


@pytest.mark.slow
def test_hosts_that_share_nothing_pack_what_one_machine_packs(
    swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift.env.items():
        monkeypatch.setenv(name, value)
    source = write_city_pairs(tmp_path / "source", train=140, val=70)
    near = run_command("pack", source, tmp_path / "near", *OPTIONS)
    assert (near.code, near.summary["shards"]) == (0, SHARDS)
    bucket, client = swift.new_bucket(), swift.client()
    for path, data in contents(source).items():
        client.put_object(Bucket=bucket, Key=f"photos/{path}", Body=data)
    src, dest = f"s3://{bucket}/photos", f"s3://{bucket}/city"
    command = (sys.executable, "-m", "wdstools", "pack", src, dest, *OPTIONS)
    port = urlsplit(swift.endpoint).port or 0
    with (
        hosts_apart(3, tmp_path / "disk") as (hosts, address),
        tcp_door(address, port) as door,
        contextlib.ExitStack() as started,
    ):
        env = {
            **swift.at(f"http://{address}:{door}").env,
            "PYTHONPATH": str(REPOSITORY),
            "NO_PROXY": "*",
            "WDSTOOLS_PACK_SECRET": "theirs",
        }
        first = started.enter_context(hosts[0].start(command, env))
        wait_for(dest, 3, first)
        hosts[0].kill()  # the machine with the driver and its workers
        assert _ended(first) == -signal.SIGKILL
        kept = noted(dest)
        assert SHARDS > kept >= 3
        # two go on with it at once
        second, third = (started.enter_context(host.start(command, env)) for host in hosts[1:])
        wait_for(dest, kept + 2, second)
        assert second.poll() is None, _said(second)
        os.killpg(second.pid, signal.SIGKILL)
        _ended(second)
        code = _ended(third)
        if code:  # the host that is left is asked again, on another engine
            assert b"Traceback" not in _said(third)
        last = started.enter_context(hosts[2].start((*command, "--executor", "threads"), env))
        out, err = last.communicate(timeout=HANG_SECONDS)
        found: dict[str, Any] = json.loads((out or err).splitlines()[-1])
        if code:
            assert found["kept_shards"] >= kept + 2, found
        else:
            assert found["code"] == "destination-not-empty", found
    store = open_store(dest)
    assert {info.key: store.get(info.key) for info in store.list()} == contents(tmp_path / "near")
    verified = run_command("verify", dest, "--json", "--level", "samples")
    assert (verified.code, verified.summary["root"]) == (0, near.summary["root"])


def _ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(HANG_SECONDS)


def _said(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stderr is not None
    return process.stderr.read()
