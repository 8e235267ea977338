"""A dataset of format version 2 with further members, as it was first packed: readable, whole, and packed to the same shards."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

import wdstools
from tests.support.came import came
from tests.support.make_golden import MEMBERS_OPTIONS
from wdstools.errors import UnsupportedVersionError
from wdstools.formats import manifest as manifests
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sample import make_key
from wdstools.ops.verify.run import LEVELS

GOLDEN = Path(__file__).parent / "v2-members"
ROOT = "c65e3ef829b1173015bf4c6dd5e5ae28f86feeacb3810635ac14d6bf9990f674"
MEMBERS = ("jpg", "txt", "json", "mask.png", "npy")


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy, so that nothing can change what is committed."""
    return Path(shutil.copytree(GOLDEN / "dataset", tmp_path / "golden"))


def test_the_golden_dataset_has_its_root_digest(golden: Path) -> None:
    dataset = wdstools.open_dataset(str(golden))
    assert dataset.root == dataset.manifest.root == ROOT
    assert (dataset.manifest.format, dataset.manifest.members) == (2, MEMBERS)
    assert len(dataset["val"]) == 6


@pytest.mark.parametrize("level", LEVELS)
def test_the_golden_dataset_is_whole_at_every_level(golden: Path, level: str) -> None:
    report = wdstools.verify(wdstools.open_dataset(str(golden)), level=level, digest="sha256")  # type: ignore[arg-type]
    assert report.findings == ()
    assert report.ok


def test_every_member_is_read_back_byte_for_byte_under_keys_that_leave_room_for_it(golden: Path) -> None:
    dataset = wdstools.open_dataset(str(golden))
    expected: dict[str, dict[str, bytes]] = {}
    with tarfile.open(GOLDEN / "source/val-000.tar") as tar:
        for entry in tar:
            key, _, extension = entry.name.partition(".")
            file = tar.extractfile(entry)
            assert file is not None
            expected.setdefault(make_key(None, key.encode(), 91).decode(), {})[extension] = file.read()
    assert {key: dict(dataset[key]) for key in dataset["val"].keys()} == expected  # noqa: SIM118  a split is a sequence
    assert max(map(len, expected)) == 91


def test_the_golden_source_is_packed_to_the_same_shards(golden: Path) -> None:
    again = golden.with_name("again")
    wdstools.pack(str(GOLDEN / "source"), str(again), **MEMBERS_OPTIONS)
    for path in came(golden.glob("val/*.tar")):
        assert (again / "val" / path.name).read_bytes() == path.read_bytes()
        with tarfile.open(path) as tar:
            extensions = [name.partition(".")[2] for name in tar.getnames()]
        assert extensions == [*MEMBERS] * (len(extensions) // len(MEMBERS))
        assert extensions


def test_a_reader_of_format_1_refuses_it_by_its_version(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "FORMAT_VERSION", 1)
    with pytest.raises(UnsupportedVersionError) as caught:
        wdstools.open_dataset(str(golden))
    assert caught.value.got == "2"


def test_format_1_with_these_members_is_damaged(golden: Path) -> None:
    path = golden / MANIFEST_PATH
    path.write_bytes(path.read_bytes().replace(b'"format":2', b'"format":1'))
    assert json.loads(path.read_bytes())["format"] == 1
    with pytest.raises(wdstools.FormatError) as caught:
        wdstools.open_dataset(str(golden))
    assert caught.value.code == "manifest-damaged"
