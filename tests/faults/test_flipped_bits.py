"""One bit is flipped anywhere in a dataset: it is found, and named by sample, member and bytes, or by file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.came import came
from tests.support.command import run_command
from tests.support.damaged_dataset import (
    Damage,
    covers,
    draws,
    flipped,
    make_dataset,
    other_regions,
    shard_regions,
    shards_of,
)
from tests.support.memory_disk import folder_in_memory
from tests.support.outcome import verify_unchanged
from wdstools.checks.stream import check_stream
from wdstools.errors import WdsError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sums import SUMS_PATH
from wdstools.ops.verify import verify_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.damaged_dataset import Region
    from wdstools.options.check import VerifyLevel
    from wdstools.results import Report


@pytest.fixture(scope="module", name="dataset")
def _dataset() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield make_dataset(folder)


def _wrong(report: Report, region: Region, at: int) -> str | None:
    """Why a report is not exactly about this byte; None if it is."""
    findings = report.findings
    if not findings:
        return "not found"
    if {finding.path for finding in findings} != {region.path}:
        return f"another file is blamed: {findings}"
    if region.path.endswith(".tar"):
        if len(findings) != 1:
            return f"{len(findings)} findings for one bit: {findings}"
        (finding,) = findings
        named = (finding.kind, finding.key, finding.member)
        if named != (region.kind, region.key, region.member) or not covers(finding, at):
            return f"not exactly attributed: {finding}"
    elif any(finding.start is not None and not covers(finding, at) for finding in findings):
        return f"the wrong bytes: {findings}"
    elif {finding.kind for finding in findings} != {region.kind}:
        return f"another kind: {findings}"
    return None


def _sweep(dataset: Path, count: int, seed: int) -> list[str]:
    regions = [region for shard in shards_of(dataset) for region in shard_regions(dataset, shard)]
    regions += other_regions(dataset)
    wrong = []
    for region, at, bit in draws(regions, count, seed):
        data = (dataset / region.path).read_bytes()
        with Damage(dataset, {region.path: flipped(data, at, bit)}):
            try:
                why = _wrong(verify_path(str(dataset)), region, at)
            except WdsError as error:
                why = f"no finding, but {type(error).__name__}: {error}"
        if why:
            wrong.append(f"{region.path} byte {at} bit {bit} ({region.what}, {region.key}.{region.member}): {why}")
    assert verify_path(str(dataset)).ok
    return wrong


def test_a_flipped_bit_is_found_and_exactly_attributed(dataset: Path) -> None:
    assert _sweep(dataset, 150, seed=1) == []


@pytest.mark.slow
def test_two_thousand_flipped_bits_are_found_and_exactly_attributed(dataset: Path) -> None:
    assert _sweep(dataset, 2_000, seed=2) == []


def _lone_sweep(dataset: Path, count: int, seed: int) -> list[str]:
    wrong = []
    shard = shards_of(dataset)[0]
    data = (dataset / shard).read_bytes()
    for region, at, bit in draws(shard_regions(dataset, shard), count, seed):
        findings = check_stream([flipped(data, at, bit)], shard).findings
        exact = len(findings) == 1 and covers(findings[0], at)
        # zeros before the end of an archive may as well have been a header
        kinds = {region.kind, "header"} if region.kind == "trailer" else {region.kind}
        if (
            not exact
            or findings[0].kind not in kinds
            or (findings[0].key, findings[0].member) != (region.key, region.member)
        ):
            wrong.append(f"byte {at} bit {bit} ({region.what}, {region.key}.{region.member}): {findings}")
    return wrong


def test_a_lone_shard_names_a_flipped_bit_by_its_own_headers(dataset: Path) -> None:
    assert _lone_sweep(dataset, 150, seed=3) == []


@pytest.mark.slow
def test_a_lone_shard_names_two_thousand_flipped_bits_by_its_own_headers(dataset: Path) -> None:
    assert _lone_sweep(dataset, 2_000, seed=4) == []


@pytest.mark.parametrize("level", ["digest", "samples", "decode"])
def test_verifying_damage_changes_nothing(dataset: Path, level: VerifyLevel) -> None:
    for region in came(shard_regions(dataset, shards_of(dataset)[0])[:9]):
        data = (dataset / region.path).read_bytes()
        with Damage(dataset, {region.path: flipped(data, region.start, 1)}):
            report = verify_unchanged(dataset, level=level)
        assert {finding.key for finding in report.findings} == {region.key}


def test_a_manifest_whose_format_number_was_damaged_is_damage_not_a_newer_version(dataset: Path) -> None:
    data = (dataset / MANIFEST_PATH).read_bytes()
    at = data.index(b'"format":1') + len(b'"format":')
    with Damage(dataset, {MANIFEST_PATH: flipped(data, at, 1)}):
        report = verify_path(str(dataset))
    assert {(finding.kind, finding.start) for finding in report.findings} == {("manifest", at)}


def test_a_digest_whose_letter_changed_case_is_found_in_the_checksum_list(dataset: Path) -> None:
    data = (dataset / SUMS_PATH).read_bytes()
    at = next(at for at, byte in enumerate(data) if chr(byte) in "abcdef")
    with Damage(dataset, {SUMS_PATH: flipped(data, at, 5)}):
        report = verify_path(str(dataset))
    assert {finding.path for finding in report.findings} == {SUMS_PATH}


def test_the_command_exits_1_and_names_sample_member_and_bytes(dataset: Path) -> None:
    region = next(r for r in shard_regions(dataset, shards_of(dataset)[0]) if r.what == "jpg payload")
    data = (dataset / region.path).read_bytes()
    with Damage(dataset, {region.path: flipped(data, region.start + 3, 7)}):
        ran = run_command("verify", dataset)
    assert ran.code == 1
    assert f"{region.path}, sample {region.key}, member jpg, bytes {region.start}..{region.end}" in ran.out
    assert "Traceback" not in ran.err
