"""What wdstools packs is read back byte for byte by other people's programs, odd names and all."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import xxhash

import wdstools
from tests.support.came import came
from tests.support.command import HANG_SECONDS
from tests.support.odd_names import LABELS, write_odd_names
from tests.support.outcome import contents
from tests.support.tools import need, need_module
from wdstools.formats.sample import is_shortened, make_key

HF_SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Packed:
    """A dataset on disk, and what every sample in it must be: key -> (image, caption, class)."""

    folder: Path
    samples: dict[str, tuple[bytes, bytes, bytes]]
    dataset: wdstools.Dataset

    @property
    def shards(self) -> list[Path]:
        return [self.folder / shard.path for _, shard in self.dataset.manifest.shards]

    @property
    def files(self) -> dict[str, bytes]:
        """Every member of every shard, by its name."""
        parts = ((key, zip(("jpg", "txt", "cls"), values, strict=True)) for key, values in self.samples.items())
        return {f"{key}.{extension}": payload for key, members in parts for extension, payload in members}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    home = tmp_path_factory.mktemp("peers")
    written = write_odd_names(home / "source")
    dataset = wdstools.pack(
        wdstools.FolderSource(str(home / "source"), recipe="labels"),
        str(home / "shards"),
        splits="train=60,val=20,test=20",
        shard_samples=6,
    ).dataset
    samples = {}
    for name, (image, caption) in written.items():
        label, stem = name.split("/")
        key = make_key(label, stem.encode()).decode()
        samples[key] = (image, caption, str(LABELS.index(label)).encode())
    assert len(samples) == len(written)
    assert any("%" in key for key in samples)
    assert sum(is_shortened(key.encode()) for key in samples) >= 3
    assert len(dataset.manifest.shards) > 3
    return Packed(home / "shards", samples, dataset)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, check=False, timeout=HANG_SECONDS
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def test_wdstools_itself_reads_what_was_packed(packed: Packed) -> None:
    dataset = packed.dataset
    found = {sample.key: tuple(sample.values()) for split in dataset.splits for sample in dataset[split]}
    assert found == packed.samples


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_tar_programs_extract_the_same_files(packed: Packed, program: str, tmp_path: Path) -> None:
    for shard in packed.shards:
        run(need(program), "--no-same-owner", "-xf", shard, "-C", tmp_path)
    assert contents(tmp_path) == packed.files
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*.jpg")} == {"0o444"}


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_tar_programs_list_the_members_of_a_sample_next_to_each_other(packed: Packed, program: str) -> None:
    for shard in came(packed.shards):
        names = run(need(program), "-tf", shard).splitlines()
        keys = [name[: name.rindex(".")] for name in names]
        assert names
        assert keys[::3] == keys[1::3] == keys[2::3]
        assert [name.rpartition(".")[2] for name in names] == ["jpg", "txt", "cls"] * (len(names) // 3)


def test_python_tarfile_reads_every_member_and_nothing_but_regular_files(packed: Packed) -> None:
    found = {}
    for shard in packed.shards:
        with tarfile.open(shard) as tar:
            assert tar.pax_headers == {}
            for member in tar:
                file = tar.extractfile(member)
                assert member.isreg()
                assert file is not None
                found[member.name] = file.read()
    assert found == packed.files


@pytest.mark.filterwarnings("ignore::DeprecationWarning:webdataset", "ignore::ResourceWarning")
def test_webdataset_reads_every_sample(packed: Packed) -> None:
    webdataset = need_module("webdataset")
    found: dict[str, tuple[bytes, ...]] = {}
    for shard in packed.shards:
        for sample in webdataset.WebDataset([str(shard)], shardshuffle=False):
            assert {name for name in sample if not name.startswith("__")} == {"jpg", "txt", "cls"}
            assert sample["__key__"] not in found
            found[sample["__key__"]] = (sample["jpg"], sample["txt"], sample["cls"])
    assert found == packed.samples


@pytest.mark.filterwarnings("ignore::DeprecationWarning:webdataset", "ignore::ResourceWarning")
def test_webdataset_decodes_images_captions_and_classes_through_a_brace_pattern(packed: Packed) -> None:
    webdataset = need_module("webdataset")
    count = len(packed.dataset.manifest.splits["train"])
    pattern = f"{packed.folder}/train/train-{{000000..{count - 1:06d}}}.tar"
    decoded = list(
        webdataset.WebDataset(pattern, shardshuffle=False).decode("pil").to_tuple("__key__", "jpg", "txt", "cls")
    )
    assert len(decoded) == len(packed.dataset["train"])
    for key, image, caption, number in decoded:
        _, text, cls = packed.samples[key]
        assert image.mode == "RGB"
        assert (caption.encode(), number) == (text, int(cls))


@pytest.mark.parametrize("mode", ["load", "stream"])
def test_hugging_face_datasets_finds_and_reads_every_split(packed: Packed, mode: str, tmp_path: Path) -> None:
    need_module("datasets")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hf_reader", packed.folder, tmp_path / "cache", mode],
        env=environment,
        capture_output=True,
        check=False,
        timeout=HANG_SECONDS,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    found: dict[str, dict[str, tuple[bytes, bytes, bytes]]] = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        sample = (base64.b64decode(row["jpg"]), row["txt"].encode(), str(row["cls"]).encode())
        found.setdefault(row["split"], {})[row["key"]] = sample
    for split in packed.dataset.splits:
        keys = list(packed.dataset[split].keys())
        assert found.pop(HF_SPLITS[split]) == {key: packed.samples[key] for key in keys}
    assert found == {}


@pytest.mark.parametrize("split", ["my-split", "a_b", "dev"])
def test_hugging_face_datasets_accepts_every_split_name_that_wdstools_accepts(split: str, tmp_path: Path) -> None:
    need_module("datasets")
    write_odd_names(tmp_path / "source")
    wdstools.pack(str(tmp_path / "source"), str(tmp_path / "shards"), splits=split)
    read = "import datasets, sys; print(*datasets.load_dataset(sys.argv[1], streaming=True))"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", read, tmp_path / "shards"],
        env=environment,
        capture_output=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-500:]


def test_sha256sum_checks_the_list(packed: Packed) -> None:
    checked = run(need("sha256sum"), "--strict", "-c", "SHA256SUMS", cwd=packed.folder).splitlines()
    assert all(line.endswith(": OK") for line in checked)
    assert {f"{shard.relative_to(packed.folder)}: OK" for shard in packed.shards} < set(checked)


def test_sha256sum_and_verify_agree_about_a_damaged_shard(packed: Packed, tmp_path: Path) -> None:
    run("cp", "-r", packed.folder, tmp_path / "copy")
    shard = packed.shards[0].relative_to(packed.folder)
    path = tmp_path / "copy" / shard
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    command = [need("sha256sum"), "--quiet", "-c", "SHA256SUMS"]
    done = subprocess.run(command, cwd=tmp_path / "copy", capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [f"{shard}: FAILED"]
    report = wdstools.verify(wdstools.open_dataset(str(tmp_path / "copy")))
    assert [finding.path for finding in report.findings] == [str(shard)]


def xxh3_of(path: Path) -> str:
    """The XXH3-64 that xxhsum prints, in whichever form this version prints it."""
    printed = run(need("xxhsum"), "-H3", path)
    match = re.search(r"(?:XXH3_|= |^)([0-9a-f]{16})\b", printed)
    assert match, printed
    return match[1]


def test_xxhsum_of_an_extracted_file_is_what_tar_shows_as_its_owner(packed: Packed, tmp_path: Path) -> None:
    shard = packed.shards[0]
    run(need("tar"), "--no-same-owner", "-xf", shard, "-C", tmp_path)
    listing = run(need("tar"), "--no-same-owner", "-tvf", shard).splitlines()
    owners = {}
    for line in listing:
        owner, name = re.fullmatch(r"-r--r--r-- xxh3:([0-9a-f]{16})/wds1:[0-9a-f]{16} +\d+ \S+ \S+ (.*)", line).groups()  # type: ignore[union-attr]  # no match fails the test
        owners[name] = owner
    assert owners == {name: xxh3_of(tmp_path / name) for name in owners}
    assert set(owners) == set(contents(tmp_path))


def test_xxhsum_of_a_shard_is_the_manifests_xxh3_128(packed: Packed) -> None:
    for _, shard in came(packed.dataset.manifest.shards):
        printed = run(need("xxhsum"), "-H2", packed.folder / shard.path)
        assert re.findall(r"[0-9a-f]{32}", printed) == [shard.xxh3_128]


def test_duckdb_reads_the_index_of_every_shard(packed: Packed) -> None:
    duckdb = need_module("duckdb")
    with duckdb.connect() as connection:
        result = connection.execute(
            "select * from read_parquet(?) order by key", [f"{packed.folder}/.wdstools/index/*.parquet"]
        )
        names = [column[0] for column in result.description]
        rows = [dict(zip(names, row, strict=True)) for row in result.fetchall()]
    assert [row["key"] for row in rows] == sorted(packed.samples)
    for row in rows:
        members = packed.samples[row["key"]]
        _, text, number = members
        assert (row["caption"].encode(), str(row["cls"]).encode(), row["label"]) == (text, number, LABELS[row["cls"]])
        assert [member["ext"] for member in row["members"]] == ["jpg", "txt", "cls"]
        assert [member["xxh3_64"] for member in row["members"]] == [xxhash.xxh3_64_intdigest(data) for data in members]
    _assert_ranges_hold(packed, rows)


def _assert_ranges_hold(packed: Packed, rows: list[dict[str, Any]]) -> None:
    """The bytes at a row's offsets, read from one of the split's shards, are the sample and its group."""
    tars = {split: [path.read_bytes() for path in packed.shards if path.parent.name == split] for split in HF_SPLITS}
    for row in rows:
        ranges = [(member["offset"], member["size"]) for member in row["members"]]
        found = [
            tar
            for tar in tars[row["split"]]
            if tuple(tar[start : start + size] for start, size in ranges) == packed.samples[row["key"]]
        ]
        group = found[0][row["offset"] : row["offset"] + row["length"]]
        assert xxhash.xxh3_128_digest(group) == row["xxh3_128"]
