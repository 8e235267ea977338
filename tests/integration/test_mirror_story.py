"""The README's mirror story on a real S3 server, command by command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.city_pairs import write_city_pairs
from tests.support.command import Ran, run_command
from tests.support.outcome import assert_complete
from wdstools.dataset import open_dataset
from wdstools.formats.manifest import MANIFEST_PATH

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.servers.s3 import S3Server


def test_a_dataset_is_mirrored_checked_where_it_lies_mended_read_and_pulled_in_part(
    swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in swift.env.items():
        monkeypatch.setenv(name, value)
    source, bucket = write_city_pairs(tmp_path / "source", train=40, val=10), swift.new_bucket()
    url = f"s3://{bucket}/shards"

    def run(*arguments: str) -> Ran:
        ran = run_command(*arguments, "--json", cwd=tmp_path, env=swift.env)
        assert "Traceback" not in ran.err, ran.err
        return ran

    packed = run("pack", str(source), "shards", "--shard-samples", "10", "--name", "pairs")
    root = packed.summary["root"]
    assert run("mirror", "shards", url, "-y").code == 0
    assert run("verify", "shards", "--at", url, "--level", "remote").code == 0
    again = run("mirror", "shards", url, "-y")
    assert (again.code, again.summary["bytes"]) == (0, 0)

    # somebody, or something, changes one byte of one object, and its size stays
    key = "train/train-000002.tar"
    data = bytearray((tmp_path / "shards" / key).read_bytes())
    entry = next(entry for _, entry in open_dataset(str(tmp_path / "shards")).manifest.shards if entry.path == key)
    image = open_dataset(str(tmp_path / "shards")).index(entry).column("members")[3].as_py()[0]
    middle = image["offset"] + image["size"] // 2
    data[middle] ^= 1
    swift.client().put_object(Bucket=bucket, Key=f"shards/{key}", Body=bytes(data))
    found = run("verify", "shards", "--at", url, "--level", "remote")
    assert found.code == 1
    assert [line["path"] for line in found.lines if line["type"] == "finding"] == [key]

    planned = run("repair", url, "--from", "shards", "-n")
    assert [line["path"] for line in planned.lines if line["type"] == "step"] == [key]
    mended = run("repair", url, "--from", "shards", "-y")
    assert (mended.code, mended.summary["shards"], mended.summary["root"]) == (0, [key], root)
    assert run("verify", "shards", "--at", url, "--level", "remote").code == 0

    # the manifest itself is lost: the mirror is made whole by saying which dataset it is
    swift.client().put_object(Bucket=bucket, Key=f"shards/{MANIFEST_PATH}", Body=b"{}\n")
    assert run("repair", url, "--from", "shards", "-y").code == 2
    assert run("repair", url, "--from", "shards", "--root", root, "-y").code == 0
    assert open_dataset(url).root == root

    remote, local = open_dataset(url), open_dataset(str(tmp_path / "shards"))
    assert [dict(sample) for sample in remote["val"]] == [dict(sample) for sample in local["val"]]

    pulled = run("pull", url, "oslo", "--where", "label == 'oslo'", "--root", root)
    assert pulled.code == 0, pulled.err
    assert (pulled.summary["samples"], pulled.summary["authenticated"]) == (25, True)
    assert_complete(tmp_path / "oslo")

    # and the other way round: a local copy is mended from the bucket by the bytes that are damaged
    data[middle : middle + 50] = bytes(50)
    (tmp_path / "shards" / key).write_bytes(bytes(data))
    repaired = run("repair", "shards", "--from", url, "-y")
    assert (repaired.code, repaired.summary["root"]) == (0, root)
    assert 0 < repaired.summary["bytes"] < 10_000
    assert run("pull", url, "whole", "--root", "0" * 64).code == 1
