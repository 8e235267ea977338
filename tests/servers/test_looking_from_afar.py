"""Looking at a dataset in a bucket: lists and statistics take its indexes alone, a picture the range of its sample."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.bucket import InBucket, in_bucket
from tests.support.command import run_command
from tests.support.damaged_dataset import make_dataset
from tests.support.viewing import viewing
from wdstools.dataset import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.nginx import WebServer
    from tests.servers.s3 import S3Server


@pytest.fixture
def copy(swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InBucket]:
    yield from in_bucket(make_dataset(tmp_path), swift, monkeypatch)


@pytest.mark.parametrize("command", [("head",), ("ls", "-l"), ("ls", "train"), ("stats",)], ids=" ".join)
def test_lists_and_statistics_read_no_shard(copy: InBucket, command: tuple[str, ...]) -> None:
    copy.proxy.clear()
    options = command[1:] if command[-1] != "-l" else ()
    flags = ("-l",) if command[-1] == "-l" else ()
    far = run_command(command[0], *flags, copy.url, *options, env=copy.env)
    near = run_command(command[0], *flags, copy.folder, *options)
    assert (far.code, far.out) == (0, near.out), far.err
    assert copy.proxy.bytes_sent(".tar") == 0
    assert copy.proxy.bytes_sent(".parquet") > 0


def test_the_page_reads_indexes_and_of_a_shard_what_is_shown(copy: InBucket, tmp_path: Path) -> None:
    with viewing(copy.url, env={**copy.env, "XDG_CACHE_HOME": str(tmp_path / "cache")}) as served:
        copy.proxy.clear()
        found = served.samples(q="caption", count=100)
        assert found["total"] > 10
        assert served.ask("api/stats").document["stats"]["samples"] >= found["total"]
        assert copy.proxy.bytes_sent(".tar") == 0
        number = found["samples"][3]["number"]
        told = served.ask(f"api/sample/{number}").document
        assert copy.proxy.bytes_sent(".tar") == 0
        assert len(served.ask(f"picture/{number}").body) == told["members"][0]["bytes"]
        assert copy.proxy.bytes_sent(".tar") == told["length"]
        assert told["shard"]["url"] == f"{copy.url}/{told['shard']['path']}"


def test_a_dataset_of_the_hub_is_looked_at_by_its_name(nginx: WebServer, tmp_path: Path) -> None:
    """Its files alone are served here: sizes of shards, which pictures need, come from the Hub's API."""
    folder = make_dataset(tmp_path)
    shutil.copytree(folder, nginx.root / "datasets/someone/cities/resolve/main")
    env = {"HF_ENDPOINT": nginx.endpoint, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    url = "hf://datasets/someone/cities"
    far, near = run_command("head", url, env=env), run_command("head", folder)
    assert (far.code, far.out) == (0, near.out), far.err
    with viewing(url, env=env) as served:
        found = served.samples(count=100)["samples"]
        assert len(found) == sum(entry.samples for _, entry in open_dataset(str(folder)).manifest.shards)
        told = served.ask(f"api/sample/{found[0]['number']}").document
        assert told["shard"]["url"] == f"{url}/{told['shard']['path']}"
        commands = {one["verb"]: one["text"] for one in told["commands"]}
        assert commands["verify"] == f"wdstools verify {url}"
