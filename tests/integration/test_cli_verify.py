"""``wdstools verify`` for everything that it takes: datasets, manifests, shards, streams, and other tools' lists."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.support.command import assert_clean_failure, run_command
from tests.support.damaged_dataset import Damage, flipped, make_dataset, shard_regions, shards_of
from tests.support.outcome import snapshot
from tests.support.tools import need
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sums import SUMS_PATH

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("verify"))


@pytest.fixture(scope="module", name="damaged")
def _damaged(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy in which one bit of an image in every shard is wrong."""
    copy = shutil.copytree(dataset, tmp_path_factory.mktemp("verify-damaged") / "dataset")
    for shard in shards_of(copy):
        region = next(r for r in shard_regions(copy, shard) if r.what == "jpg payload")
        path = copy / shard
        path.write_bytes(flipped(path.read_bytes(), region.start + 9, 0))
    return copy


@pytest.mark.parametrize(
    ("level", "digest"),
    [("size", "xxh3_128"), ("digest", "xxh3_128"), ("digest", "sha256"), ("samples", "sha256"), ("decode", "xxh3_128")],
)
def test_every_level_passes_a_whole_dataset_and_all_but_size_find_the_damage(
    dataset: Path, damaged: Path, level: str, digest: str
) -> None:
    before = snapshot(damaged)
    whole = run_command("verify", dataset, "--level", level, "--digest", digest, "--json")
    assert (whole.code, whole.err) == (0, "")
    assert (whole.summary["ok"], whole.summary["findings"]) == (True, 0)
    found = run_command("verify", damaged, "--level", level, "--digest", digest, "--json")
    expected = 0 if level == "size" else len(shards_of(damaged))
    assert found.code == (1 if expected else 0)
    assert found.summary["findings"] == expected
    findings = [line for line in found.lines if line["type"] == "finding"]
    assert sorted(line["path"] for line in findings) == (shards_of(damaged) if expected else [])
    assert {line["member"] for line in findings} <= {"jpg"}
    assert snapshot(damaged) == before


def test_all_parts_together_check_everything_once(damaged: Path) -> None:
    whole = run_command("verify", damaged, "--json")
    parts = [run_command("verify", damaged, "--json", "--part", f"{i}/3") for i in (1, 2, 3)]
    lines = [line for part in parts for line in part.lines if line["type"] == "finding"]
    expected = [line for line in whole.lines if line["type"] == "finding"]
    assert sorted(map(json.dumps, lines)) == sorted(map(json.dumps, expected))
    for count in ("shards", "samples", "bytes"):
        assert sum(part.summary["checked"][count] for part in parts) == whole.summary["checked"][count]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        (SUMS_PATH, b"train"),
        (MANIFEST_PATH, b"train"),
        ("README.md", b"wdstools:begin"),
        (".wdstools/provenance.json", b"codecs"),
    ],
)
def test_damage_beside_the_shards_is_in_the_first_part(dataset: Path, name: str, what: bytes) -> None:
    data = (dataset / name).read_bytes()
    at = data.index(what)
    with Damage(dataset, {name: flipped(data, at, 1)}):
        ran = run_command("verify", dataset, "--json", "--part", "1/3")
    assert ran.code == 1
    assert {line["path"] for line in ran.lines if line["type"] == "finding"} == {name}


def test_a_manifest_alone_checks_shards_that_lie_elsewhere(dataset: Path, damaged: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "pairs.json"
    shutil.copy(dataset / MANIFEST_PATH, manifest)
    assert run_command("verify", manifest, "--at", dataset).code == 0
    ran = run_command("verify", manifest, "--at", damaged, "--json")
    assert (ran.code, ran.summary["findings"]) == (1, len(shards_of(damaged)))
    assert_clean_failure(run_command("verify", manifest, "--at", tmp_path / "nowhere", "-v"), 1, 4)


def test_the_manifest_file_of_a_dataset_stands_for_the_dataset(dataset: Path) -> None:
    assert run_command("verify", dataset / MANIFEST_PATH).code == 0


_PACKERS: dict[str, Callable[[bytes], bytes]] = {"tar": bytes, "tar.gz": gzip.compress, "tar.zst": zstandard.compress}


@pytest.mark.parametrize("packing", ["tar", "tar.gz", "tar.zst"])
@pytest.mark.parametrize("stream", [False, True], ids=["file", "stdin"])
def test_a_lone_shard_is_checked_by_its_own_headers(
    dataset: Path, damaged: Path, tmp_path: Path, packing: str, stream: bool
) -> None:
    pack = _PACKERS[packing]
    shard = shards_of(dataset)[0]
    region = next(r for r in shard_regions(dataset, shard) if r.what == "jpg payload")
    for folder, code in ((dataset, 0), (damaged, 1)):
        data = pack((folder / shard).read_bytes())
        path = tmp_path / f"lone.{packing}"
        path.write_bytes(data)
        ran = run_command("verify", "-", "--json", stdin=data) if stream else run_command("verify", path, "--json")
        assert (ran.code, ran.err) == (code, "")
        if code:
            (finding, _) = ran.lines
            assert (finding["key"], finding["member"], finding["start"]) == (region.key, "jpg", region.start)


def test_a_compressed_shard_with_damaged_bytes_is_not_understood(dataset: Path, tmp_path: Path) -> None:
    data = (dataset / shards_of(dataset)[0]).read_bytes()
    for name, packed in (("a.tar.gz", gzip.compress(data)), ("a.tar.zst", zstandard.compress(data))):
        path = tmp_path / name
        path.write_bytes(flipped(packed, len(packed) // 2, 3))
        ran = run_command("verify", path, "--json")
        assert ran.code in (1, 5)
        assert "Traceback" not in ran.err
        path.write_bytes(packed[: len(packed) // 2])
        assert run_command("verify", path).code in (1, 5)


def test_a_tar_of_another_tool_cannot_be_proved(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    subprocess.run(["tar", "--format=ustar", "-cf", "a.tar", "a.jpg"], cwd=tmp_path, check=True)
    ran = run_command("verify", tmp_path / "a.tar", "--json")
    assert (ran.code, ran.summary["findings"]) == (4, 0)
    assert ran.summary["unproved"]


LISTS = [
    ("sha256sum", (), "SUMS"),
    ("sha256sum", ("--tag",), "SUMS"),
    ("sha512sum", (), "SUMS"),
    ("md5sum", (), "MD5SUMS"),
    ("md5sum", ("--tag",), "MD5SUMS"),
    ("xxhsum", ("-H32",), "sums"),
    ("xxhsum", ("-H64",), "sums"),
    ("xxhsum", ("-H128",), "sums.xxh"),
    ("xxhsum", ("-H3",), "sums"),
    ("xxhsum", ("-H64", "--tag"), "sums"),
    ("xxhsum", ("-H128", "--tag"), "sums"),
    ("xxhsum", ("-H3", "--tag"), "sums"),
]


QUICK = (0, 4, 7, 8, 11)


@pytest.mark.parametrize(
    ("tool", "options", "name"),
    [
        pytest.param(*each, id=" ".join((each[0], *each[1])), marks=() if number in QUICK else pytest.mark.slow)
        for number, each in enumerate(LISTS)
    ],
)
def test_lists_of_other_tools_are_checked(tmp_path: Path, tool: str, options: tuple[str, ...], name: str) -> None:
    names = ["plain.bin", "with space.bin", "back\\slash.bin"]
    if tool != "xxhsum":
        names.append("new\nline.bin")
    for number, each in enumerate(names):
        (tmp_path / each).write_bytes(b"content %d" % number)
    listed = subprocess.run([need(tool), *options, *names], cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / name).write_bytes(listed)
    ran = run_command("verify", tmp_path / name, "--json")
    assert (ran.code, ran.summary["checked"]["files"]) == (0, len(names)), ran.out + ran.err
    (tmp_path / "with space.bin").write_bytes(b"content X")
    (tmp_path / "plain.bin").unlink()
    ran = run_command("verify", tmp_path / name, "--json")
    findings = {(line["kind"], line["path"]) for line in ran.lines if line["type"] == "finding"}
    assert (ran.code, findings) == (1, {("file", "with space.bin"), ("missing", "plain.bin")})


def test_the_datasets_own_list_is_checked_alone_and_by_sha256sum(dataset: Path, damaged: Path) -> None:
    need("sha256sum")
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS_PATH], cwd=dataset, check=False).returncode == 0
    assert run_command("verify", dataset / SUMS_PATH).code == 0
    ran = run_command("verify", damaged / SUMS_PATH, "--json")
    assert (ran.code, ran.summary["findings"]) == (1, len(shards_of(damaged)))


def test_a_manifest_of_a_newer_version_is_not_understood(dataset: Path, tmp_path: Path) -> None:
    newer = shutil.copytree(dataset, tmp_path / "newer")
    data = (newer / MANIFEST_PATH).read_bytes()
    later = data.replace(b'"format":1', b'"format":3')
    (newer / MANIFEST_PATH).write_bytes(later)
    old, new = (hashlib.sha256(text).hexdigest() for text in (data, later))
    (newer / SUMS_PATH).write_text((newer / SUMS_PATH).read_text().replace(old, new))
    for command in (("verify", newer), ("info", newer), ("ls", newer), ("cat", newer, "oslo/0.jpg")):
        ran = run_command(*command, "--json")
        assert_clean_failure(ran, 5)
        assert (ran.error["code"], ran.error["got"]) == ("format-version", "3")
        assert ran.error["hint"]


@pytest.mark.slow
def test_verifying_ends_cleanly_every_time(dataset: Path) -> None:
    """A native thread that outlives the interpreter aborts about one process in fifty."""
    codes = {run_command("verify", dataset).code for _ in range(250)}
    assert codes == {0}


def test_repair_is_proposed_only_where_it_can_be_done(dataset: Path, damaged: Path) -> None:
    shard = shards_of(damaged)[0]
    own = run_command("verify", damaged)
    assert f"wdstools repair {damaged} --from COPY" in own.out + own.err
    at = run_command("verify", dataset, "--at", damaged)
    assert f"wdstools repair {damaged} --from {dataset}" in at.out + at.err
    stream = run_command("verify", "-", stdin=(damaged / shard).read_bytes())
    for ran in (stream, run_command("verify", damaged / shard), run_command("verify", damaged / SUMS_PATH)):
        assert ran.code == 1
        assert "wdstools repair" not in ran.out + ran.err


def test_a_list_that_lies_elsewhere_is_checked_at_the_files(dataset: Path, damaged: Path, tmp_path: Path) -> None:
    copied = tmp_path / "sums"
    copied.write_bytes((dataset / SUMS_PATH).read_bytes())
    assert run_command("verify", copied, "--at", dataset).code == 0
    assert run_command("verify", copied, "--at", damaged).code == 1
