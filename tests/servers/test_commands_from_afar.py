"""Commands on a bucket: what they move, counted at the proxy, and what they say when it is not there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.servers.daemon import free_port
from tests.servers.proxy import Fault
from tests.support.bucket import InBucket, in_bucket
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from tests.support.damaged_dataset import flipped, make_dataset, shard_regions, shards_of
from tests.support.outcome import contents
from wdstools.dataset import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server

SHARD = "train/train-000000.tar"


@pytest.fixture
def copy(swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InBucket]:
    yield from in_bucket(make_dataset(tmp_path), swift, monkeypatch)


def test_commands_read_what_is_damaged_from_a_mirror_and_keep_what_they_read(copy: InBucket, tmp_path: Path) -> None:
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
    copy.put(SHARD, flipped((copy.folder / SHARD).read_bytes(), region.start, 1))
    name = f"{region.key}.txt"
    assert run_command("cat", copy.url, name, env=copy.env).code == 1
    options = ("--mirror", copy.folder, "--cache", tmp_path / "cache")
    right = run_command("cat", copy.folder, name).raw
    assert run_command("cat", copy.url, name, *options, env=copy.env).raw == right
    files = tmp_path / "files"
    assert run_command("extract", copy.url, files, *options, env=copy.env).code == 0
    assert run_command("extract", copy.folder, tmp_path / "near").code == 0
    assert contents(files) == contents(tmp_path / "near")
    copy.proxy.clear()
    whole = f"{open_dataset(str(copy.folder))['val'][0].key}.txt"
    assert run_command("cat", copy.url, whole, *options, env=copy.env).code == 0
    assert copy.proxy.bytes_sent(".tar") == 0
    assert run_command("cat", copy.url, whole, "--cache-size", "much", env=copy.env).code == 2


@pytest.mark.parametrize(
    "place", ["web", pytest.param("bucket", marks=pytest.mark.slow)]
)  # each is tried for five seconds
def test_a_place_that_does_not_answer_is_one_clear_line(copy: InBucket, place: str) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with_patience = {**copy.env, "AWS_ENDPOINT_URL": nowhere}
    ran = run_command("info", copy.url if place == "bucket" else f"{nowhere}/city?token=secret", env=with_patience)
    assert ran.code == 4
    first, got, hint = ran.err.splitlines()
    assert "check the address" in hint
    assert first.startswith("error: unreachable: the connection failed: ")
    assert "Connection refused" in got
    assert len(got) < 120
    assert "secret" not in ran.err


def test_a_quiet_mirror_says_what_it_did_and_nothing_before(copy: InBucket, tmp_path: Path) -> None:
    loud = run_command("mirror", copy.folder, f"{copy.url}-loud", "-y", env=copy.env)
    quiet = run_command("mirror", copy.folder, f"{copy.url}-quiet", "-y", "-q", env=copy.env)
    assert "upload" in loud.out
    assert [line.split()[0] for line in quiet.out.splitlines()] == ["mirrored:", "root", "proved"]
    assert quiet.err == ""
    assert "upload" in run_command("mirror", copy.folder, f"{copy.url}-none", "-n", "-q", env=copy.env).out
    pulled = run_command("pull", copy.url, tmp_path / "pulled", "-q", env=copy.env)
    assert pulled.out.startswith("pulled ")


def test_many_shards_are_proved_where_they_lie_with_no_byte_of_them(
    swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_city_pairs(tmp_path / "source", train=300, val=0)
    assert run_command("pack", source, "dataset", "--shards", "30", cwd=tmp_path).code in (0, 3)
    assert len(shards_of(tmp_path / "dataset")) == 30
    for copy in in_bucket(tmp_path / "dataset", swift, monkeypatch):
        copy.note_md5()
        ran = run_command("verify", copy.folder, "--at", copy.url, "--level", "remote", "--json", env=copy.env)
        assert (ran.code, ran.summary["checked"]["shards"]) == (0, 30)
        assert {seen.method for seen in copy.proxy.seen if ".tar" in seen.path} == {"HEAD"}
        assert copy.proxy.bytes_sent(".tar") == 0
        assert copy.proxy.bytes_sent(".parquet") == 0


def test_one_flipped_caption_in_a_shard_of_40_mb_is_repaired_by_less_than_a_megabyte(
    swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, draw = write_city_pairs(tmp_path / "source", train=100, val=0), random.Random(40)
    for number, image in enumerate(sorted(source.glob("img/*/*/*.jpg"))):
        jpeg = tiny_jpeg(number)
        comments = b"".join(b"\xff\xfe" + (60_002).to_bytes(2, "big") + draw.randbytes(60_000) for _ in range(7))
        image.write_bytes(jpeg[:2] + comments + jpeg[2:])
    assert run_command("pack", source, "dataset", "--shards", "1", cwd=tmp_path).code in (0, 3)
    shard = tmp_path / "dataset" / SHARD
    assert shard.stat().st_size > 40_000_000
    for copy in in_bucket(tmp_path / "dataset", swift, monkeypatch):
        right = shard.read_bytes()
        region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
        shard.write_bytes(flipped(right, region.start, 1))
        copy.proxy.clear()
        ran = run_command("repair", copy.folder, "--from", copy.url, "-y", "--json", env=copy.env)
        assert ran.code == 0, ran.err
        assert shard.read_bytes() == right
        assert copy.proxy.bytes_sent() < 1_000_000  # the index alone gives captions back
        region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "jpg payload")
        shard.write_bytes(right[: region.start] + bytes(3_000) + right[region.start + 3_000 :])
        copy.proxy.clear()
        assert run_command("repair", copy.folder, "--from", copy.url, "-y", env=copy.env).code == 0
        assert shard.read_bytes() == right
        assert 400_000 < copy.proxy.bytes_sent() < 1_000_000


def test_a_server_that_is_busy_for_a_while_is_waited_for_and_says_nothing(copy: InBucket) -> None:
    copy.proxy.add(Fault("busy", path="manifest.json", times=3))
    ran = run_command("info", copy.url, env=copy.env)
    assert (ran.code, ran.err) == (0, "")
    assert copy.proxy.faults[0].times == 0
