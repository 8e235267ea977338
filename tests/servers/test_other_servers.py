"""Servers that tell other truths than Swift: one that has Amazon's checksums, and one that says what it was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.bucket import in_bucket
from tests.support.came import came
from tests.support.command import run_command
from tests.support.damaged_dataset import flipped, make_dataset, shards_of
from wdstools.stores.open import open_remote
from wdstools.stores.probe import probe

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.s3 import S3Server

pytestmark = pytest.mark.slow
SHARD = "train/train-000000.tar"


def test_amazons_checksums_prove_a_copy_without_a_download(
    localstack: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that an upload asked for, and those of parts, which prove nothing."""
    for copy in came(in_bucket(make_dataset(tmp_path), localstack, monkeypatch)):
        for shard in shards_of(copy.folder):
            copy.put(shard, (copy.folder / shard).read_bytes(), ChecksumAlgorithm="CRC64NVME")
        copy.proxy.clear()
        options = ("--at", copy.url, "--level", "remote", "--json")
        ran = run_command("verify", copy.folder, *options, "--probe", env=copy.env)
        assert ran.code == 0, ran.out
        assert copy.proxy.bytes_sent(".tar") == 0
        data = (copy.folder / SHARD).read_bytes()
        copy.put(SHARD, flipped(data, 5000, 0), ChecksumAlgorithm="SHA256")
        ran = run_command("verify", copy.folder, *options, env=copy.env)
        assert ran.code == 1
        assert [line["path"] for line in ran.lines if line["type"] == "finding"] == [SHARD]


def test_what_amazon_does_is_seen_by_the_probe(localstack: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in localstack.env.items():
        monkeypatch.setenv(name, value)
    found = probe(open_remote(f"s3://{localstack.new_bucket()}/p"))
    assert (found.refuses_wrong_checksum, found.creates, found.replaces, found.ranges) == (True, True, True, True)
    assert set(found.digests) >= {"sha256", "md5"}


def test_a_server_that_lies_is_found_out(rclone: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It accepts wrong checksums and ignores conditions: nothing it says of a checksum is believed."""
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.01)
    for name, value in rclone.env.items():
        monkeypatch.setenv(name, value)
    found = probe(open_remote(f"s3://{rclone.new_bucket()}/p"))
    assert not found.refuses_wrong_checksum
    assert not found.creates
    assert not found.ranges
    assert set(found.believed) <= {"md5"}
