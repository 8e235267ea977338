"""Datasets without images: sound with a text, arrays with a class. They are packed, proved, read and extracted as others are."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.accounting import pack_all
from tests.support.came import came
from tests.support.command import run_command
from tests.support.foreign_tars import pairs, tar_bytes, write
from wdstools.formats.manifest import MANIFEST_PATH

if TYPE_CHECKING:
    from pathlib import Path

SOUND = [
    (f"{n:03d}", {"flac": b"fLaC" + bytes([n]) * (50 + n), "txt": b"sound %d" % n, "cls": b"%d" % (n % 3),
                  "json": json.dumps({"n": n}).encode()})
    for n in range(12)
]  # fmt: skip


def shards(folder: Path, samples: list[tuple[str, dict[str, bytes]]], each: int = 4) -> Path:
    for number in range(0, len(samples), each):
        members = [
            (f"{key}.{e}", data) for key, sample in samples[number : number + each] for e, data in sample.items()
        ]
        write(folder, {f"train-{number // each:06d}.tar": tar_bytes(members)})
    return folder


@pytest.fixture(name="packed", scope="module")
def _packed(tmp_path_factory: pytest.TempPathFactory) -> wt.Dataset:
    where = tmp_path_factory.mktemp("sound")
    return wt.pack(
        str(shards(where / "in", SOUND)), str(where / "out"), jobs=1, executor=wt.open_executor("serial")
    ).dataset


def test_it_is_of_format_2_and_its_sizes_are_null(packed: wt.Dataset) -> None:
    manifest = packed.manifest
    assert (manifest.format, manifest.members) == (2, ("txt", "cls", "json", "flac"))
    assert manifest.image_extension == ""
    for _, entry in came(manifest.shards):
        table = packed.index(entry)
        for column in ("width", "height", "format"):
            assert table.column(column).null_count == table.num_rows


@pytest.mark.parametrize("level", ["digest", "samples", "decode"])
def test_it_is_verified_at_every_level(packed: wt.Dataset, level: Any) -> None:
    assert wt.verify(packed, level=level).ok


def test_every_way_of_reading_gives_its_bytes(packed: wt.Dataset) -> None:
    expected = dict(SOUND)
    assert {sample.key: dict(sample) for sample in came(packed["train"])} == expected
    assert dict(packed["007"]) == expected["007"]
    assert {sample.key: dict(sample) for sample in came(wt.stream(packed, shuffle=None))} == expected
    loader = wt.loader(packed, batch_size=4, shuffle=None, members=["flac", "txt"])
    flac = [bytes(data) for batch in came(loader) for data in batch["flac"]]
    assert sorted(flac) == sorted(sample["flac"] for _, sample in SOUND)
    batches = list(came(wt.loader(packed, batch_size=4, shuffle=None)))
    assert sorted(c for batch in batches for c in batch["captions"]) == sorted(f"sound {n}" for n in range(12))


def test_damage_is_found_and_repaired_from_its_shards(packed: wt.Dataset, tmp_path: Path) -> None:
    source = shards(tmp_path / "in", SOUND)
    made = wt.pack(str(source), str(tmp_path / "out"), executor=wt.open_executor("serial")).dataset
    assert made.root == packed.root
    shard = tmp_path / "out" / made.manifest.shards[0][1].path
    data = bytearray(shard.read_bytes())
    data[data.index(b"fLaC") + 20] ^= 1
    os.chmod(shard, 0o644)
    shard.write_bytes(data)
    assert [finding.member for finding in wt.verify(made).findings] == ["flac"]
    assert run_command("repair", tmp_path / "out", "--from", source, "--yes").code == 0
    assert wt.verify(made, level="samples").ok


def test_commands_take_it(packed: wt.Dataset, tmp_path: Path) -> None:
    where = packed.metadata.url
    assert run_command("info", where).code == 0
    assert run_command("ls", where).code == 0
    assert run_command("extract", where, tmp_path / "files").code == 0
    assert (tmp_path / "files/train/003.flac").read_bytes() == dict(SOUND)["003"]["flac"]
    assert run_command("pull", where, tmp_path / "some", "--where", "cls == 1").code == 0
    some = wt.open_dataset(str(tmp_path / "some"))
    assert sorted(sample.key for sample in came(some["train"])) == [f"{n:03d}" for n in range(1, 12, 3)]
    assert (
        run_command("remove", tmp_path / "some", "-o", tmp_path / "less", "--where", "key == '001'", "--yes").code == 0
    )
    assert wt.verify(str(tmp_path / "less"), level="samples").ok
    assert run_command("diff", where, tmp_path / "some").code == 1
    ran = run_command("bench", where, "--seconds", "1")
    assert (ran.code, "has no images" in ran.err) == (2, True)
    ran = run_command("duplicates", where)
    assert (ran.code, "has no images" in ran.err) == (2, True)
    assert run_command("duplicates", where, "--level", "exact").code in (0, 2)


def test_splits_by_ratio_need_no_images(tmp_path: Path) -> None:
    made = wt.pack(
        str(shards(tmp_path / "in", SOUND)),
        str(tmp_path / "out"),
        splits="train=9,val=3",
        executor=wt.open_executor("serial"),
    ).dataset
    assert {split: len(made[split]) for split in made.splits} == {"train": 9, "val": 3}


@pytest.mark.parametrize(
    "choice", [("--convert", "jpg"), ("--only", "png"), ("--duplicates", "drop"), ("--resize", "64")]
)
def test_what_images_alone_can_have_is_refused(choice: tuple[str, str], tmp_path: Path) -> None:
    ran = run_command("pack", shards(tmp_path / "in", SOUND), tmp_path / "out", *choice)
    assert (ran.code, choice[0] in ran.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_sample_without_an_image_among_others_is_missing_one(tmp_path: Path) -> None:
    write(
        tmp_path / "in",
        {"a-000.tar": tar_bytes(pairs(0, 3)), "a-001.tar": tar_bytes([("9.flac", b"f"), ("9.txt", b"t")])},
    )
    found = pack_all(tmp_path / "in", tmp_path / "out")
    assert found.reasons["a-001.tar/9"] == "image-missing"
    assert sorted(found.samples()) == ["000000", "000001", "000002"]


def test_text_alone_is_packed_only_where_it_is_asked_for(tmp_path: Path) -> None:
    texts = [(f"{n}", {"txt": b"%d" % n, "json": b"{}"}) for n in range(4)]
    write(tmp_path / "in", {"train-000000.tar": tar_bytes([(f"{k}.{e}", d) for k, s in texts for e, d in s.items()])})
    wt.adopt(str(tmp_path / "in"), str(tmp_path / "adopted"))
    with pytest.raises(wt.NotFoundError) as caught:
        wt.pack(str(tmp_path / "adopted"), str(tmp_path / "out"))
    assert "members" in caught.value.hint
    found = pack_all(tmp_path / "adopted", tmp_path / "out", layout={"members": "txt,json"})
    assert found.dataset.manifest.format == 2
    assert {key: dict(sample) for key, sample in found.samples().items()} == dict(texts)


def test_arrays_that_were_adopted_are_read_and_packed(tmp_path: Path) -> None:
    def npy(n: int) -> bytes:
        import io

        sink = io.BytesIO()
        np.save(sink, np.full((3,), n, np.float32))
        return sink.getvalue()

    source = shards(tmp_path / "in", [(f"{n}", {"npy": npy(n), "cls": b"%d" % n}) for n in range(4)])
    adopted = wt.adopt(str(source), str(tmp_path / "adopted")).dataset
    assert adopted.manifest.image_extension == ""
    ran = run_command("duplicates", tmp_path / "adopted")
    assert (ran.code, "has no images" in ran.err) == (2, True)
    packed = wt.pack(str(source), str(tmp_path / "out")).dataset
    for dataset in (adopted, packed):
        batch = next(iter(wt.loader(dataset, batch_size=4, shuffle=None)))
        assert sorted(np.asarray(batch["npy"])[:, 0].tolist()) == [0, 1, 2, 3]
    document = json.loads((tmp_path / "out" / MANIFEST_PATH).read_text())
    assert document["members"] == ["cls", "npy"]
