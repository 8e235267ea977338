"""pack into a real S3 store: the dataset of a disk, also after a kill, and not one object more."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.servers.proxy import Fault
from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS, assert_clean_failure, run_command, start_command
from tests.support.outcome import contents
from wdstools.stores.open import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.azurite import AzureServer
    from tests.servers.proxy import FaultProxy
    from tests.servers.s3 import S3Server

OPTIONS = ("--shard-samples", "4", "--name", "pairs", "--check", "header", "-j", "2", "--json")


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_city_pairs(tmp_path_factory.mktemp("afar") / "source", train=12, val=4)


@pytest.fixture(scope="module", name="on_disk")
def _on_disk(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    dest = tmp_path_factory.mktemp("disk") / "out"
    assert run_command("pack", source, dest, *OPTIONS).code == 0
    return contents(dest)


def held(url: str) -> dict[str, bytes]:
    store = open_store(url)
    return {info.key: store.get(info.key) for info in store.list()}


def test_a_pack_into_s3_is_that_on_a_disk(
    source: Path, on_disk: dict[str, bytes], swift: S3Server, proxy: FaultProxy
) -> None:
    url = f"s3://{swift.new_bucket()}/some/city"
    ran = run_command("pack", source, url, *OPTIONS)
    assert (ran.code, ran.summary["path"], ran.summary["kept_shards"]) == (0, url, 0), ran.err
    assert held(url) == on_disk
    shards = [seen.path for seen in proxy.seen if seen.method == "PUT" and seen.path.endswith((".tar", ".parquet"))]
    assert len(shards) == len(set(shards)) == 2 * ran.summary["shards"]
    verified = run_command("verify", url, "--json", "--level", "samples")
    assert (verified.code, verified.summary["root"]) == (0, ran.summary["root"])
    like = run_command("pack", source, f"{url}-like", "--like", url, "--check", "header", "--json")
    assert like.summary["shards"] == ran.summary["shards"], like.err
    again = run_command("pack", source, url, *OPTIONS)
    assert_clean_failure(again, 4)
    assert again.error["code"] == "destination-not-empty"
    assert "wdstools verify" in again.error["hint"]
    assert held(url) == on_disk


@pytest.mark.parametrize(
    "at",
    [
        ("PUT", "/val-000000.tar"),
        pytest.param(("PUT", "manifest.json"), marks=pytest.mark.slow),
        pytest.param(("DELETE", "claim.json"), marks=pytest.mark.slow),
    ],
)
def test_a_pack_that_is_killed_goes_on_with_what_is_in_the_bucket(
    source: Path, on_disk: dict[str, bytes], swift: S3Server, proxy: FaultProxy, at: tuple[str, str]
) -> None:
    url = f"s3://{swift.new_bucket()}/city"
    with start_command("pack", source, url, *OPTIONS) as process:
        hook = Fault("hook", path=at[1], method=at[0], hook=lambda: os.killpg(process.pid, signal.SIGKILL))
        proxy.add(hook)
        process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == -signal.SIGKILL
    left = held(url)
    there = run_command("info", url, "--json")
    assert (there.code == 0) == (".wdstools/manifest.json" in left)
    if there.code:
        assert there.error["code"] == "pack-unfinished"
    ran = run_command("pack", source, url, *OPTIONS, "--executor", "threads")
    if ".wdstools/packing/claim.json" in left:
        assert (ran.code, ran.summary["kept_shards"] >= 1) == (0, True), ran.err
    else:  # it was there, and only some notes were left
        assert ran.error["code"] == "destination-not-empty"
    assert held(url) == on_disk


@pytest.mark.slow
def test_what_the_network_damages_is_not_stored(
    source: Path, on_disk: dict[str, bytes], swift: S3Server, proxy: FaultProxy
) -> None:
    url = f"s3://{swift.new_bucket()}/city"
    proxy.add(
        Fault("flip-upload", path="/train-000000.tar", method="PUT"),
        Fault("lost-answer", path="/train-000001.tar", method="PUT"),
        Fault("busy", path="/claim.json", method="PUT"),
        Fault("lost-answer", path="/manifest.json", method="PUT"),
    )
    ran = run_command("pack", source, url, *OPTIONS)
    assert ran.code == 0, ran.err
    assert held(url) == on_disk


@pytest.mark.slow
def test_a_gateway_that_stores_nothing_makes_no_dataset(source: Path, swift: S3Server, proxy: FaultProxy) -> None:
    url = f"s3://{swift.new_bucket()}/city"
    proxy.add(Fault("swallowed", path="/train-000001.tar", method="PUT"))
    ran = run_command("pack", source, url, *OPTIONS)
    assert_clean_failure(ran, 4)
    assert "train-000001.tar" in ran.error["where"]
    assert ".wdstools/manifest.json" not in held(url)
    assert run_command("pack", source, url, *OPTIONS).code == 0


@pytest.mark.slow
def test_a_pack_into_azure_is_that_on_a_disk(
    source: Path, on_disk: dict[str, bytes], azurite: AzureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in azurite.env.items():
        monkeypatch.setenv(name, value)
    url = f"az://{azurite.new_container()}/city"
    ran = run_command("pack", source, url, *OPTIONS)
    assert ran.code == 0, ran.err
    assert held(url) == on_disk
    assert run_command("verify", url).code == 0
