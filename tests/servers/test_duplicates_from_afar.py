"""duplicates of a dataset in a bucket: hashes lie in a cache of one's own, the answer is that of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.alike_pairs import write_alike_pairs
from tests.support.bucket import InBucket, in_bucket
from tests.support.command import Ran, assert_clean_failure, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.s3 import S3Server


@pytest.fixture
def copy(swift: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InBucket]:
    wt.pack(str(write_alike_pairs(tmp_path / "source")), str(tmp_path / "set"), shard_samples=10)
    yield from in_bucket(tmp_path / "set", swift, monkeypatch)


def _answer(ran: Ran) -> list[object]:
    assert ran.code == 1, ran.err
    return [*ran.lines[:-1], ran.summary["levels"], ran.summary["unique"]]


def test_a_dataset_in_a_bucket_is_compared_once_and_its_hashes_stay_here(copy: InBucket, tmp_path: Path) -> None:
    options = ("--level", "edited", "--json")
    refused = run_command("duplicates", copy.url, env=copy.env)
    assert_clean_failure(refused, 2)
    assert "--cache DIR" in refused.err
    near = run_command("duplicates", copy.folder, *options)
    far = (copy.url, *options, "--cache", tmp_path / "cache")
    assert _answer(run_command("duplicates", *far, env=copy.env)) == _answer(near)
    copy.proxy.clear()
    again = run_command("duplicates", *far, "--html", tmp_path / "page.html", env=copy.env)
    assert _answer(again) == _answer(near)
    assert again.summary["computed"] == 0
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text()
    assert not any(request.method in ("PUT", "DELETE") for request in copy.proxy.seen)


def test_hashes_are_kept_in_a_bucket_too(copy: InBucket, tmp_path: Path) -> None:
    options = ("--level", "edited", "--json", "--cache", f"{copy.url}-hashes")
    first = run_command("duplicates", copy.url, *options, env=copy.env)
    assert first.summary["computed"] == wt.open_dataset(copy.folder).manifest.totals["samples"]
    copy.proxy.clear()
    again = run_command("duplicates", copy.folder, *options, env=copy.env)
    assert _answer(again) == _answer(first)
    assert again.summary["computed"] == 0
    assert copy.proxy.seen
    assert not any(request.method in ("PUT", "DELETE") for request in copy.proxy.seen)
