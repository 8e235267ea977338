"""Datasets as they were packed when the writer's digests changed: readable and whole for ever; the newest is packed again.

``v1`` is the first, ``v2`` has the digest of values and SHA-256 of each sample unless told otherwise. Both are format 1.
"""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import wdstools
from tests.support.make_golden import OPTIONS
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sample import make_key
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.ops.verify.run import LEVELS

if TYPE_CHECKING:
    from wdstools.options.check import VerifyLevel

HERE = Path(__file__).parent
SOURCE = HERE / "v1/source.zip"
ROOTS = {
    "v1": "52288668ae31ec57ab368fe37b0503760684034ae1927aa7809b8f8b0623f311",
    "v2": "023d583719492669489199906d8397fcf51e1e10fe9dbc15e00a8301a49a65cd",
}
NEWEST = "v2"
SPLITS = {"train": 10, "val": 5}


@pytest.fixture(params=ROOTS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def golden(tmp_path: Path, version: str) -> Path:
    """A copy, so that nothing can change what is committed."""
    return Path(shutil.copytree(HERE / version / "dataset", tmp_path / "golden"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with zipfile.ZipFile(SOURCE) as archive:
        archive.extractall(tmp_path / "source")
    return tmp_path / "source"


def test_the_golden_dataset_has_its_root_digest(golden: Path, version: str) -> None:
    dataset = wdstools.open_dataset(str(golden))
    assert dataset.root == dataset.manifest.root == ROOTS[version]
    assert dataset.manifest.format == 1
    assert dataset.manifest.authenticated_ranges
    assert dataset.manifest.has_values == (version != "v1")
    assert {split: len(dataset[split]) for split in dataset.splits} == SPLITS
    assert dataset.manifest.members == ("jpg", "txt", "cls")
    assert dataset.manifest.labels == ("new york", "oslo")


@pytest.mark.parametrize("level", LEVELS)
def test_the_golden_dataset_is_whole_at_every_level(golden: Path, level: VerifyLevel) -> None:
    report = wdstools.verify(wdstools.open_dataset(str(golden)), level=level, digest="sha256")
    assert report.findings == ()
    assert report.ok
    assert report.checked["shards"] == 4


def test_every_file_of_the_golden_source_is_read_back_byte_for_byte(golden: Path, source: Path) -> None:
    dataset = wdstools.open_dataset(str(golden))
    keys = set()
    for image in source.rglob("*.jpg"):
        if image.stem in ("cut", "no caption"):
            continue
        label = image.parent.name
        sample = dataset[make_key(label, image.stem.encode()).decode()]
        keys.add(sample.key)
        assert dict(sample) == {
            "jpg": image.read_bytes(),
            "txt": image.with_name(image.stem + ".txt").read_bytes(),
            "cls": str(("new york", "oslo").index(label)).encode(),
        }
    assert keys == {key for split in dataset.splits for key in dataset[split].keys()}  # noqa: SIM118  a split is a sequence


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_the_golden_source_is_packed_to_the_same_bytes(
    golden: Path, version: str, source: Path, kind: str, jobs: int
) -> None:
    given = source if kind == "folder" else SOURCE
    again = golden.with_name("again")
    made = wdstools.pack(wdstools.FolderSource(str(given), recipe="labels"), str(again), jobs=jobs, **OPTIONS)
    assert made.root == ROOTS[NEWEST]
    dataset = wdstools.open_dataset(str(golden))
    for _, shard in dataset.manifest.shards:
        assert (again / shard.path).read_bytes() == (golden / shard.path).read_bytes()
        # not the bytes of the Parquet: these are its library's
        assert made.dataset.index(shard).equals(dataset.index(shard))
    assert (again / ".wdstools/skipped.jsonl").read_bytes() == (golden / ".wdstools/skipped.jsonl").read_bytes()
    if version == NEWEST:
        assert (again / MANIFEST_PATH).read_bytes() == (golden / MANIFEST_PATH).read_bytes()


def test_without_the_digest_of_values_the_newest_is_the_first(golden: Path) -> None:
    manifest = wdstools.open_dataset(str(golden)).manifest
    splits = {name: tuple(replace(shard, values="") for shard in shards) for name, shards in manifest.splits.items()}
    assert replace(manifest, splits=splits).root == ROOTS["v1"]


@pytest.mark.parametrize("version", [NEWEST])
def test_a_golden_dataset_whose_manifest_is_lost_gets_it_back_from_its_shards(golden: Path, version: str) -> None:
    (golden / MANIFEST_PATH).unlink()
    repaired = wdstools.apply(wdstools.plan_repair(str(golden)))
    assert repaired.root == ROOTS[version]
    assert wdstools.verify(str(golden), level="samples", digest="sha256").ok


def test_the_golden_list_of_sums_names_every_file_that_it_should(golden: Path) -> None:
    listed = {line.path for line in parse_sums((golden / SUMS_PATH).read_bytes())}
    files = {str(path.relative_to(golden)) for path in golden.rglob("*") if path.is_file()}
    assert files - listed == {"README.md", SUMS_PATH}
    assert listed <= files
