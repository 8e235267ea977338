"""A dataset of format version 1, as it was first packed: readable, whole and packed again to the same bytes, for ever."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

import wdstools
from tests.support.make_golden import OPTIONS
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sample import make_key
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.ops.verify.run import LEVELS

GOLDEN = Path(__file__).parent / "v1"
ROOT = "52288668ae31ec57ab368fe37b0503760684034ae1927aa7809b8f8b0623f311"
SPLITS = {"train": 10, "val": 5}


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy, so that nothing can change what is committed."""
    return Path(shutil.copytree(GOLDEN / "dataset", tmp_path / "golden"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    with zipfile.ZipFile(GOLDEN / "source.zip") as archive:
        archive.extractall(tmp_path / "source")
    return tmp_path / "source"


def test_the_golden_dataset_has_its_root_digest(golden: Path) -> None:
    dataset = wdstools.open_dataset(str(golden))
    assert dataset.root == dataset.manifest.root == ROOT
    assert {split: len(dataset[split]) for split in dataset.splits} == SPLITS
    assert dataset.manifest.members == ("jpg", "txt", "cls")
    assert dataset.manifest.labels == ("new york", "oslo")


@pytest.mark.parametrize("level", LEVELS)
def test_the_golden_dataset_is_whole_at_every_level(golden: Path, level: str) -> None:
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
def test_the_golden_source_is_packed_to_the_same_bytes(golden: Path, source: Path, kind: str, jobs: int) -> None:
    given = source if kind == "folder" else GOLDEN / "source.zip"
    again = golden.with_name("again")
    made = wdstools.pack(wdstools.FolderSource(str(given), recipe="labels"), str(again), jobs=jobs, **OPTIONS)
    assert made.root == ROOT
    dataset = wdstools.open_dataset(str(golden))
    for _, shard in dataset.manifest.shards:
        assert (again / shard.path).read_bytes() == (golden / shard.path).read_bytes()
        # not the bytes of the Parquet: these are its library's
        assert made.dataset.index(shard).equals(dataset.index(shard))
    for name in (MANIFEST_PATH, ".wdstools/skipped.jsonl"):
        assert (again / name).read_bytes() == (golden / name).read_bytes()


def test_the_golden_list_of_sums_names_every_file_that_it_should(golden: Path) -> None:
    listed = {line.path for line in parse_sums((golden / SUMS_PATH).read_bytes())}
    files = {str(path.relative_to(golden)) for path in golden.rglob("*") if path.is_file()}
    assert files - listed == {"README.md", SUMS_PATH}
    assert listed <= files
