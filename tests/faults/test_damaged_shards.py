"""Shards cut, lengthened, blanked, exchanged, lost or surplus: always found, and only what is damaged is blamed."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.came import came
from tests.support.damaged_dataset import Damage, covers, make_dataset, shard_regions, shards_of
from tests.support.memory_disk import folder_in_memory
from tests.support.outcome import verify_unchanged
from wdstools.checks.stream import check_stream
from wdstools.ops.verify import verify_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.damaged_dataset import Region
    from wdstools.results import Finding


@pytest.fixture(scope="module", name="dataset")
def _dataset() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield make_dataset(folder)


@pytest.fixture(name="shard")
def _shard(dataset: Path) -> str:
    return max(shards_of(dataset), key=lambda name: (dataset / name).stat().st_size)


def _keys_touched(regions: list[Region], changed: set[int]) -> set[str]:
    return {r.key for r in regions if r.key is not None and not changed.isdisjoint(range(r.start, r.end))}


def _findings(dataset: Path, shard: str, data: bytes) -> list[Finding]:
    with Damage(dataset, {shard: data}):
        report = verify_path(str(dataset))
    assert {finding.path for finding in report.findings} == {shard}
    return list(report.findings)


def test_a_lone_shard_cut_anywhere_is_found_by_its_own_headers(dataset: Path, shard: str) -> None:
    whole = (dataset / shard).read_bytes()
    sizes = {*range(0, len(whole), 512), *random.Random(5).sample(range(len(whole)), 100)}
    for size in came(sizes):
        findings = check_stream([whole[:size]], shard).findings
        assert findings, size
        assert findings[-1].kind == "truncated", size
        assert (findings[-1].start or 0) <= size


@pytest.mark.parametrize("count", [1, 512, 4096])
def test_blanked_bytes_are_blamed_on_every_sample_they_touch_and_no_other(
    dataset: Path, shard: str, count: int
) -> None:
    whole, regions = (dataset / shard).read_bytes(), shard_regions(dataset, shard)
    draw, looked = random.Random(count), 0
    for _ in range(12):
        at = draw.randrange(0, len(whole) - count) // count * count
        data = whole[:at] + bytes(count) + whole[at + count :]
        changed = {place for place in range(at, at + count) if whole[place]}
        if not changed:
            continue
        looked += 1
        findings = _findings(dataset, shard, data)
        assert {finding.key for finding in findings} - {None} == _keys_touched(regions, changed)
        assert [place for place in changed if not any(covers(finding, place) for finding in findings)] == []
        assert check_stream([data], shard).findings
    assert looked


def test_a_shard_that_is_not_of_the_dataset_is_named_without_reading_any(dataset: Path, shard: str) -> None:
    extra = dataset / "train/train-000099.tar"
    shutil.copy(dataset / shard, extra)
    try:
        report = verify_unchanged(dataset, level="size")
    finally:
        extra.unlink()
    assert [(finding.kind, finding.path) for finding in report.findings] == [("extra", "train/train-000099.tar")]


def test_a_shard_of_another_size_is_found_without_reading_it(dataset: Path, shard: str) -> None:
    whole = (dataset / shard).read_bytes()
    for data, kind in ((whole[:-512], "truncated"), (whole + b"x", "trailer")):
        with Damage(dataset, {shard: data}):
            report = verify_unchanged(dataset, level="size")
        assert [(finding.kind, finding.path) for finding in report.findings] == [(kind, shard)]


@pytest.mark.parametrize("how", ["random", "zero"])
def test_after_a_destroyed_header_the_lone_shard_is_checked_on(dataset: Path, shard: str, how: str) -> None:
    whole, regions = bytearray((dataset / shard).read_bytes()), shard_regions(dataset, shard)
    payloads = [region for region in regions if region.what == "jpg payload"]
    lost, later = payloads[1], payloads[3]
    at = lost.start - 512
    whole[at : lost.start] = random.Random(3).randbytes(512) if how == "random" else bytes(512)
    whole[later.start + 5] ^= 1
    result = check_stream([bytes(whole)], shard)
    assert [f.kind for f in result.findings] == ["header", "payload"]
    assert covers(result.findings[0], at)
    assert covers(result.findings[0], lost.start - 1)
    named = (payloads[0].key or "", lost.key or "")
    assert any(key in result.findings[0].message for key in named)
    assert (result.findings[1].key, result.findings[1].member) == (later.key, "jpg")
