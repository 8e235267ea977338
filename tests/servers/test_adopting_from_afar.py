"""Tars in somebody's bucket: adopted by ranges, read, verified, and nothing is written there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.servers.proxy import Fault, fault_proxy
from tests.support.bucket import InBucket
from tests.support.command import environment, run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from wdstools.ops.emit import plan_emit
from wdstools.plan import apply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server
    from wdstools.options.move import Digests


@pytest.fixture(name="theirs")
def _theirs(swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InBucket]:
    """Two plain shards, one with pax records, and a compressed one."""
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.01)
    folder = write(
        tmp_path / "theirs",
        {
            "train/x-000.tar": tar_bytes(pairs(0, 40)),
            "train/x-001.tar": tar_bytes(pairs(40, 40), mtime=1.5),
            "val/x-000.tar.gz": compressed(tar_bytes(pairs(80, 8)), "tar.gz"),
        },
    )
    bucket, client = swift.new_bucket(), swift.client()
    for path in sorted(folder.rglob("*.tar*")):
        client.upload_file(str(path), bucket, f"data/{path.relative_to(folder)}")
    with fault_proxy(swift.endpoint) as proxy:
        found = InBucket(folder, f"s3://{bucket}/data", proxy, swift, bucket)
        for name, value in found.env.items():
            monkeypatch.setenv(name, value)
        yield found


def keys(theirs: InBucket) -> set[str]:
    """What lies in the bucket."""
    listed = theirs.server.client().list_objects_v2(Bucket=theirs.bucket)
    return {entry["Key"] for entry in listed["Contents"]}


@pytest.mark.parametrize("digests", ["none", "xxh3", "all"])
def test_a_bucket_is_adopted_as_its_folder_is(digests: Digests, theirs: InBucket, tmp_path: Path) -> None:
    before = keys(theirs)
    command = ("adopt", theirs.url, "-o", tmp_path / "far", "--digests", digests, "--name", "x", "--json")
    ran = run_command(*command, env=environment(**theirs.env))
    assert ran.code == 0, ran.err
    near = wt.adopt(str(theirs.folder), str(tmp_path / "near"), digests=digests, name="x").dataset
    assert wt.open_dataset(str(tmp_path / "far")).shards.url == theirs.url
    far = wt.open_dataset(str(tmp_path / "far"), at=theirs.url)
    assert far.root == near.root == ran.summary["root"]
    assert keys(theirs) == before
    assert not [seen for seen in theirs.proxy.seen if seen.method not in ("GET", "HEAD")]
    for split in ("train", "val"):
        assert [dict(sample) for sample in far[split]] == [dict(sample) for sample in near[split]]
    report = wt.verify(far)
    # without digests nothing is wrong, and nothing is proved
    assert (report.findings, bool(report.unproved)) == ((), digests == "none")


@pytest.mark.parametrize("fault", ["short", "reset", "busy", "range-ignored", "wrong-range"])
def test_a_fault_on_the_way_changes_nothing(fault: str, theirs: InBucket, tmp_path: Path) -> None:
    theirs.proxy.add(Fault(fault, path="x-001.tar", times=1))
    far = wt.adopt(theirs.url, str(tmp_path / "far")).dataset
    assert theirs.proxy.faults[0].times == 0
    assert far.root == wt.adopt(str(theirs.folder), str(tmp_path / "near")).root


def test_what_other_readers_want_is_written_here_and_not_there(theirs: InBucket, tmp_path: Path) -> None:
    before = keys(theirs)
    far = wt.adopt(theirs.url, str(tmp_path / "far")).dataset
    apply(plan_emit(far, ("open_clip", "timm", "huggingface")))
    assert keys(theirs) == before
    assert (tmp_path / "far/train/sizes.json").exists()
    assert wt.verify(far).ok


def test_a_bucket_of_ones_own_holds_manifest_and_files_beside_the_shards(theirs: InBucket) -> None:
    dataset = wt.adopt(theirs.url).dataset
    apply(plan_emit(dataset, ("timm",)))
    assert {"data/.wdstools/manifest.json", "data/_info.json", "data/README.md"} <= keys(theirs)
    assert wt.verify(wt.open_dataset(theirs.url)).ok
