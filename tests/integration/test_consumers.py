"""The real readers and writers, each in an environment of its own (tests/install-consumers.sh)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from tests.support.consumers import ENVIRONMENTS, need_consumer
from tests.support.foreign_tars import pairs, tar_bytes, write
from wdstools.ops.doctor import doctor
from wdstools.ops.emit import plan_emit
from wdstools.ops.patients import PATIENTS
from wdstools.plan import apply

if TYPE_CHECKING:
    from wdstools.options.move import Reader

pytestmark = pytest.mark.slow
_MINUTES = 20
IN_ENVIRONMENTS = (
    "webdataset",
    "huggingface",
    "open_clip",
    "timm",
    "energon",
    "dali",
    "webshart",
    "croissant",
    "polars",
)


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> wt.Dataset:
    """A dataset emitted for all at once: several shards, labels, captions."""
    folder = tmp_path_factory.mktemp("consumers")
    write_city_pairs(folder / "in", train=120, val=20)
    dataset = wt.pack(str(folder / "in"), str(folder / "out"), shard_samples=16, name="for-all").dataset
    apply(plan_emit(dataset, ("all",)))
    return dataset


@pytest.mark.parametrize("consumer", PATIENTS)
def test_it_opens_what_was_emitted_for_all_at_once(consumer: Reader, emitted: wt.Dataset) -> None:
    if consumer in IN_ENVIRONMENTS:
        need_consumer(consumer)
    (found,) = doctor(emitted, (consumer,), envs=str(ENVIRONMENTS))
    assert (found.status, found.detail) == ("works", "")
    assert (found.samples, found.equal) == (140, 16)


def test_the_table_of_the_command_is_green(emitted: wt.Dataset) -> None:
    for consumer in IN_ENVIRONMENTS:
        need_consumer(consumer)
    # eleven readers start, one behind the other
    ran = run_command(
        "doctor",
        emitted.shards.url,
        "--envs",
        ENVIRONMENTS.name,
        "--json",
        cwd=ENVIRONMENTS.parent,
        hang_seconds=_MINUTES * 60,
    )
    assert ran.code == 0, ran.out
    assert ran.summary["works"] == len(PATIENTS)


@pytest.mark.parametrize("consumer", ["webdataset", "huggingface", "energon", "dali", "webshart"])
def test_other_bytes_make_a_reader_fail(consumer: Reader, emitted: wt.Dataset, tmp_path: Path) -> None:
    """The doctor's own eyes: the shard that a reader opens is changed after the references were taken."""
    need_consumer(consumer)
    folder = tmp_path / "ds"
    shutil.copytree(emitted.shards.url, folder)
    dataset = wt.open_dataset(str(folder))
    entry = dataset.manifest.splits["train"][0]
    row = dataset.index(entry).to_pylist()[0]
    assert dataset[row["key"]]["txt"]  # what is mapped now stays as it was
    data = bytearray((folder / entry.path).read_bytes())
    changed = row["members"][0 if consumer == "webshart" else 1]  # webshart has captions from the emitted index
    data[changed["offset"] + changed["size"] - 1] ^= 1
    (folder / "changed.tar").write_bytes(data)
    (folder / "changed.tar").rename(folder / entry.path)
    (found,) = doctor(dataset, (consumer,), envs=str(ENVIRONMENTS))
    assert found.status == "fails"
    assert "15 of 16" in found.detail


def test_energons_own_preparation_says_the_same(emitted: wt.Dataset, tmp_path: Path) -> None:
    python = need_consumer("energon")
    ours, theirs = emitted.shards.url, tmp_path / "theirs"
    for _, entry in emitted.manifest.shards:
        write(theirs, {entry.path: Path(ours, entry.path).read_bytes()})
    parts = [f"--split-parts={split}:{split}/.*" for split in emitted.splits]
    command = [python.replace("bin/python", "bin/energon"), "prepare", str(theirs), "--non-interactive", *parts]
    subprocess.run(
        [*command, "--sample-type", "CaptioningSample", "--field-map", '{"image": "jpg", "caption": "txt"}'], check=True
    )
    for _, entry in emitted.manifest.shards:
        assert Path(ours, f"{entry.path}.idx").read_bytes() == (theirs / f"{entry.path}.idx").read_bytes()
    assert _samples_of(f"{ours}/.nv-meta") == _samples_of(str(theirs / ".nv-meta"))
    result = wt.adopt(theirs, tmp_path / "meta")
    assert {hazard.code for hazard in result.hazards} == {"file-beside-shards"}
    assert result.samples == {split: len(emitted[split]) for split in emitted.splits}
    assert wt.verify(wt.open_dataset(str(tmp_path / "meta"))).ok


def _samples_of(folder: str) -> list[tuple[object, ...]]:
    """Samples and parts of energon's database, by the shard's name."""
    with open(f"{folder}/.info.json", encoding="utf-8") as file:
        names = list(json.load(file)["shard_counts"])
    with sqlite3.connect(f"{folder}/index.sqlite") as database:
        samples = database.execute("SELECT tar_file_id, sample_key, sample_index, byte_offset, byte_size FROM samples")
        found = [(names[number], *rest) for number, *rest in samples]
        parts = database.execute(
            "SELECT tar_file_id, part_name, sample_index, content_byte_offset, content_byte_size FROM sample_parts"
        )
        found += [(names[number], *rest) for number, *rest in parts]
    return sorted(found)


def test_dalis_own_index_says_the_same(emitted: wt.Dataset, tmp_path: Path) -> None:
    python = need_consumer("dali")
    for _, entry in came(emitted.manifest.shards):
        shard = f"{emitted.shards.url}/{entry.path}"
        subprocess.run([python.replace("bin/python", "bin/wds2idx"), shard, str(tmp_path / "x.idx")], check=True)
        name = entry.path.rpartition("/")[2].replace(".tar", ".idx")
        with open(f"{emitted.shards.url}/.wdstools/dali/{name}", encoding="ascii") as file:
            assert file.read() == (tmp_path / "x.idx").read_text()


IMG2DATASET = """
import sys, json, pyarrow as pa
from img2dataset.writer import WebDatasetSampleWriter
folder, images = sys.argv[1], sys.argv[2]
schema = pa.schema([("key", pa.string()), ("caption", pa.string()), ("sha256", pa.string())])
for shard in range(2):
    writer = WebDatasetSampleWriter(shard, folder, True, 5, schema, "jpg")
    for number in range(6):
        n = shard * 6 + number
        key, caption = f"{shard:05d}{number:04d}", f"caption {n}"
        data = open(f"{images}/{n}.jpg", "rb").read()
        writer.write(data, key, caption, {"key": key, "caption": caption, "sha256": "0" * 64})
    writer.close()
"""


def test_what_img2dataset_writes_is_adopted_and_a_shard_without_its_statistics_is_named(tmp_path: Path) -> None:
    python = need_consumer("img2dataset")
    write(tmp_path / "images", {f"{n}.jpg": tiny_jpeg(n) for n in range(12)})
    (tmp_path / "out").mkdir()
    subprocess.run([python, "-W", "ignore", "-c", IMG2DATASET, tmp_path / "out", tmp_path / "images"], check=True)
    (tmp_path / "out/00000_stats.json").write_text(json.dumps({"successes": 6, "count": 7}))
    meta = str(tmp_path / "meta")
    result = wt.adopt(tmp_path / "out", meta)
    assert {hazard.code for hazard in result.hazards} == {"stats-missing", "file-beside-shards"}
    dataset = wt.open_dataset(meta)
    assert wt.verify(dataset, level="decode").ok
    assert [sample["jpg"] for sample in dataset["train"]] == [tiny_jpeg(n) for n in range(12)]
    assert json.loads(dataset["000010005"]["json"])["caption"] == "caption 11"
    packed = wt.pack(str(tmp_path / "out"), str(tmp_path / "packed")).dataset
    assert len(packed["train"]) == 12


def test_what_was_adopted_is_opened_by_all_that_can(tmp_path: Path) -> None:
    write(tmp_path, {f"train-{n:03d}.tar": tar_bytes(pairs(n * 6, 6)) for n in range(3)})
    dataset = wt.adopt(str(tmp_path), digests="all").dataset
    apply(plan_emit(dataset, ("all",)))
    found = {d.consumer: (d.status, d.detail) for d in doctor(dataset, envs=str(ENVIRONMENTS))}
    assert found.pop("timm")[0] == "cannot"  # no classes
    assert found == dict.fromkeys(found, ("works", ""))
