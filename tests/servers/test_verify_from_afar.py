"""verify of a copy in a bucket: at zero egress by the store's own digests, or byte by byte; through whatever the network does."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from tests.servers.proxy import Fault
from tests.support.bucket import InBucket, in_bucket
from tests.support.command import Ran, run_command
from tests.support.damaged_dataset import flipped, make_dataset, shard_regions, shards_of
from wdstools.dataset import open_dataset
from wdstools.ops.verify import verify
from wdstools.stores.open import open_remote
from wdstools.stores.probe import probe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server
    from wdstools.options.check import VerifyLevel


SHARD = "train/train-000000.tar"


@pytest.fixture
def copy(swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InBucket]:
    monkeypatch.setattr("wdstools.stores.retry.Patience.wait", lambda *_: 0.01)
    yield from in_bucket(make_dataset(tmp_path), swift, monkeypatch)


def verify_there(copy: InBucket, *options: str) -> Ran:
    return run_command("verify", copy.folder, "--at", copy.url, "--json", *options, env=copy.env)


def test_a_good_copy_is_proved_without_downloading_a_byte_of_it(copy: InBucket) -> None:
    copy.note_md5()
    copy.proxy.clear()
    ran = verify_there(copy, "--level", "remote")
    assert ran.code == 0, ran.err
    assert ran.summary["ok"]
    assert ran.summary["checked"]["shards"] == len(shards_of(copy.folder))
    assert copy.proxy.bytes_sent(".tar") == 0


def test_what_the_store_gives_no_comparable_digest_of_is_unproved(copy: InBucket) -> None:
    """Swift gives MD5 only, and nothing was noted: the answer is neither yes nor no."""
    ran = verify_there(copy, "--level", "remote")
    assert ran.code == 4
    assert len(ran.summary["unproved"]) == len(shards_of(copy.folder))
    assert "md5" in ran.summary["unproved"][0]


def test_where_the_store_proves_nothing_the_hint_names_commands_that_do(copy: InBucket) -> None:
    copy.note_md5()
    ran = run_command("verify", copy.url, "--level", "remote", env=copy.env)
    assert ran.code == 4
    hints = [line.removeprefix("hint: ").partition("    ")[0] for line in ran.err.split("; ")]
    assert len(hints) == 2
    for hint in hints:
        words = [str(copy.folder) if word == "ORIGINAL" else word for word in shlex.split(hint)]
        assert words[0] == "wdstools"
        again = run_command(*words[1:], env=copy.env)
        assert again.code == 0, (hint, again.err)


def test_a_dataset_that_is_not_there_is_told_with_what_helps(copy: InBucket) -> None:
    ran = run_command("pull", f"{copy.url}/nothere", "x", "--json", env=copy.env, cwd=copy.folder.parent)
    assert (ran.code, ran.error["code"]) == (4, "dataset-missing")
    assert f"wdstools adopt {copy.url}/nothere -o NEW" in ran.error["hint"]


def test_corruption_of_the_same_size_is_named_without_a_download(copy: InBucket) -> None:
    copy.note_md5()
    data = (copy.folder / SHARD).read_bytes()
    copy.put(SHARD, flipped(data, len(data) // 2, 3))
    copy.put("val/val-000000.tar", (copy.folder / "val/val-000000.tar").read_bytes()[:-512])
    copy.delete("train/train-000001.tar")
    copy.put("train/train-000099.tar", b"a stranger")
    ran = verify_there(copy, "--level", "remote")
    assert ran.code == 1
    found = {line["path"]: line["kind"] for line in ran.lines if line["type"] == "finding"}
    assert found == {
        SHARD: "payload",
        "train/train-000001.tar": "missing",
        "train/train-000099.tar": "extra",
        "val/val-000000.tar": "truncated",
    }
    assert copy.proxy.bytes_sent(".tar") == 0


def test_a_multipart_object_of_the_right_bytes_is_unproved_not_passed(copy: InBucket) -> None:
    """Its ETag is no MD5 of the whole."""
    copy.note_md5()
    client, key = copy.server.client(), f"data/{SHARD}"
    upload = client.create_multipart_upload(Bucket=copy.bucket, Key=key)["UploadId"]
    data = (copy.folder / SHARD).read_bytes()
    part = client.upload_part(Bucket=copy.bucket, Key=key, UploadId=upload, PartNumber=1, Body=data)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    (waiting,) = open_remote(copy.url).unfinished()
    assert (waiting.key, waiting.id) == (SHARD, upload)
    client.complete_multipart_upload(Bucket=copy.bucket, Key=key, UploadId=upload, MultipartUpload=parts)
    ran = verify_there(copy, "--level", "remote")
    assert ran.code == 4
    assert [SHARD in line for line in ran.summary["unproved"]] == [True]


def test_an_unfinished_upload_can_be_given_up(copy: InBucket) -> None:
    client = copy.server.client()
    client.create_multipart_upload(Bucket=copy.bucket, Key=f"data/{SHARD}")
    store = open_remote(copy.url)
    (upload,) = store.unfinished("train/")
    assert store.unfinished("val/") == ()
    store.abort(upload)
    assert store.unfinished() == ()


@pytest.mark.parametrize("level", ["digest", "samples"])
def test_damage_in_the_bucket_is_named_to_the_byte(copy: InBucket, level: str) -> None:
    region = next(r for r in shard_regions(copy.folder, SHARD) if r.what == "txt payload")
    copy.put(SHARD, flipped((copy.folder / SHARD).read_bytes(), region.start + 1, 0))
    copy.proxy.clear()
    ran = verify_there(copy, "--level", level)
    assert ran.code == 1, ran.err
    (finding,) = [line for line in ran.lines if line["type"] == "finding"]
    assert (finding["kind"], finding["key"], finding["member"]) == ("payload", region.key, "txt")
    assert finding["start"] == region.start
    assert len([seen for seen in copy.proxy.seen if SHARD in seen.path]) < 10  # no request a sample


@pytest.mark.parametrize("fault", ["flip", "foreign", "reset", "busy", "range-ignored", "wrong-range"])
def test_what_only_the_network_did_is_no_damage(copy: InBucket, fault: str) -> None:
    data = (copy.folder / "train/train-000001.tar").read_bytes()
    copy.proxy.add(Fault(fault, path=SHARD, body=data))
    report = verify(open_dataset(str(copy.folder), at=copy.url))
    assert report.ok, report
    assert copy.proxy.faults[0].times == 0


@pytest.mark.parametrize(("fault", "code"), [("busy", "unavailable"), ("forbidden", "denied"), ("gzip", "re-encoded")])
@pytest.mark.parametrize("level", ["remote", "digest"])
def test_what_cannot_be_read_is_unproved_and_the_rest_is_checked(
    copy: InBucket, fault: str, code: str, level: VerifyLevel
) -> None:
    copy.note_md5()
    method = "HEAD" if level == "remote" else "GET"
    if (level, fault) == ("remote", "gzip"):
        pytest.skip("nothing is read")
    copy.proxy.add(Fault(fault, path=SHARD, method=method, times=1000))
    report = verify(open_dataset(str(copy.folder), at=copy.url), level=level)
    assert report.findings == ()
    assert [SHARD in line and code in line for line in report.unproved] == [True]


def test_a_dataset_in_a_bucket_is_verified_whole(copy: InBucket) -> None:
    ran = run_command("verify", copy.url, env=copy.env)
    assert ran.code == 0, ran.err
    data = bytearray((copy.folder / ".wdstools/manifest.json").read_bytes())
    data[len(data) // 2] ^= 1
    copy.put(".wdstools/manifest.json", bytes(data))
    ran = run_command("verify", copy.url, env=copy.env)
    assert ran.code == 1, ran.err
    assert "manifest" in ran.out


def test_a_probe_tells_what_a_store_does_and_leaves_nothing(copy: InBucket) -> None:
    found = probe(open_remote(copy.url))
    assert found.refuses_wrong_checksum
    assert found.creates
    assert not found.replaces
    assert found.ranges
    assert found.digests == ("md5",)
    assert [info.key for info in open_remote(copy.url).list(".wdstools/probe")] == []
    copy.note_md5()
    assert verify_there(copy, "--level", "remote", "--probe").code == 0


def test_nothing_of_the_credentials_is_in_what_is_printed(copy: InBucket) -> None:
    copy.proxy.add(Fault("forbidden", path=SHARD, method="HEAD", times=1000))
    ran = verify_there(copy, "--level", "size")
    assert ran.code == 4
    assert copy.server.secret_key not in ran.out + ran.err
    assert copy.server.access_key not in ran.out + ran.err


def test_a_url_nobody_knows_and_a_bucket_that_is_not_there_are_said_plainly(copy: InBucket) -> None:
    ran = run_command("verify", "ftp://x/y", env=copy.env)
    assert (ran.code, "s3://" in ran.err) == (2, True)
    nowhere = "s3://no-such-bucket/y"
    for command in (
        ("verify", nowhere),
        ("verify", str(copy.folder), "--at", nowhere, "--level", "remote"),
        ("mirror", str(copy.folder), nowhere, "-y"),
        ("pull", nowhere, str(copy.folder.parent / "pulled")),
    ):
        ran = run_command(*command, env=copy.env)
        assert ran.code == 4
        assert "bucket-missing: there is no such bucket: s3://no-such-bucket/y" in ran.err
        assert "Traceback" not in ran.err


def test_requests_without_credentials_and_with_wrong_ones_are_said_plainly(copy: InBucket) -> None:
    unsigned = {name: value for name, value in copy.env.items() if "KEY" not in name}
    ran = run_command("verify", copy.url, env={**unsigned, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""})
    assert ran.code == 4
    assert "no credentials were found" in ran.err
    ran = run_command("verify", copy.url, env={**copy.env, "AWS_SECRET_ACCESS_KEY": "another"})
    assert ran.code == 4
    assert "denied: access is denied" in ran.err
    assert "check the credentials" in ran.err
