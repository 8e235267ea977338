"""Sources in a bucket: the dataset of the same files on a disk, every object accounted for, packed from bucket to bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.proxy import Fault
from tests.support.city_pairs import write_city_pairs
from tests.support.command import assert_clean_failure, run_command
from tests.support.outcome import contents
from wdstools.ops.pack import pack
from wdstools.stores.open import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.proxy import FaultProxy
    from tests.servers.s3 import S3Server

OPTIONS = ("--shard-samples", "5", "--name", "pairs", "--check", "header", "-j", "2", "--json")


@pytest.fixture(scope="module", name="source")
def _source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = write_city_pairs(tmp_path_factory.mktemp("afar") / "source", train=12, val=4)
    images = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.jpg"))
    rows = [f"{image},caption {number},{image.split('/')[2]}\n" for number, image in enumerate(images)]
    (source / "table.csv").write_text("file_name,caption,label\n" + "".join(rows))
    (source / "notes.xyz").write_text("of no layout")
    (source / ".hidden").write_text("x")
    return source


@pytest.fixture(name="url")
def _url(source: Path, swift: S3Server, proxy: FaultProxy) -> str:
    bucket, client = swift.new_bucket(), swift.client()
    for path, data in contents(source).items():
        client.put_object(Bucket=bucket, Key=f"some/pairs/{path}", Body=data)
    proxy.clear()
    return f"s3://{bucket}/some/pairs"


def test_a_prefix_is_packed_as_the_folder_is_from_bucket_to_bucket(
    source: Path, url: str, swift: S3Server, proxy: FaultProxy, tmp_path: Path
) -> None:
    near = run_command("pack", source, tmp_path / "near", *OPTIONS)
    dest = f"s3://{swift.new_bucket()}/city"
    far = run_command("pack", url, dest, *OPTIONS)
    assert (far.code, far.summary["root"]) == (near.code, near.summary["root"]) == (0, near.summary["root"]), far.err
    assert far.summary["account"] == near.summary["account"]
    store = open_store(dest)
    assert {info.key: store.get(info.key) for info in store.list()} == contents(tmp_path / "near")
    reads = [seen.path for seen in proxy.seen if seen.method == "GET" and seen.path.endswith(".jpg")]
    assert len(reads) == len(set(reads)) == 16
    scanned = run_command("scan", url, "--json")
    assert scanned.summary["account"] == run_command("scan", source, "--json").summary["account"]


def test_tables_and_tars_are_read_where_they_lie(source: Path, url: str, swift: S3Server, tmp_path: Path) -> None:
    bucket = url.split("/")[2]
    rows = (source / "table.csv").read_text().splitlines()
    urls = "\n".join([rows[0].replace("file_name", "url"), *(f"{url}/{row}" for row in rows[1:])])
    swift.client().put_object(Bucket=bucket, Key="lists/urls.csv", Body=urls.encode())
    pack(source / "table.csv", tmp_path / "table", name="x", check="header")
    pack(f"{url}/table.csv", tmp_path / "far table", name="x", check="header")
    assert contents(tmp_path / "far table") == contents(tmp_path / "table")
    listed = pack(f"s3://{bucket}/lists/urls.csv", tmp_path / "listed", name="x", check="header")
    assert listed.samples == {"train": 16}
    for path, data in contents(tmp_path / "table").items():
        swift.client().put_object(Bucket=bucket, Key=f"tars/{path}", Body=data)
    pack(tmp_path / "table", tmp_path / "again", shards=2, check="header")
    pack(f"s3://{bucket}/tars", tmp_path / "far again", shards=2, check="header")
    assert contents(tmp_path / "far again") == contents(tmp_path / "again")
    pack(f"s3://{bucket}/tars/train/train-000000.tar", tmp_path / "one", check="header")
    assert len(contents(tmp_path / "one")) > 5


@pytest.mark.slow
def test_an_object_that_changes_while_it_is_packed_is_an_error(
    url: str, swift: S3Server, proxy: FaultProxy, tmp_path: Path
) -> None:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    key = next(info.key for info in open_store(url).list() if info.key.endswith(".jpg"))
    proxy.add(
        Fault(
            "hook",
            path=key,
            hook=lambda: swift.client().put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=b"another"),
        )
    )
    ran = run_command("pack", url, tmp_path / "out", *OPTIONS)
    assert_clean_failure(ran, 4)
    assert "changed" in ran.error["message"]
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_or_cannot_be_read_there_is_said(url: str, swift: S3Server, tmp_path: Path) -> None:
    bucket = url.split("/")[2]
    swift.client().put_object(Bucket=bucket, Key="packed/train.tar.gz", Body=b"x")
    for place, code in (("nothing", "not-found"), ("packed", "source-elsewhere"), ("some/pairs/none.csv", "not-found")):
        ran = run_command("pack", f"s3://{bucket}/{place}", tmp_path / "out", "--json")
        assert_clean_failure(ran, 2, 4)
        assert ran.error["code"] == code
    assert not (tmp_path / "out").exists()
    inside = run_command("pack", url, f"{url}/shards", "--json")
    assert inside.error["code"] == "destination-in-source"
