"""What pack makes of images that other tools call good, as a user sees it."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import wdstools as wt
from tests.support.accounting import pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from tests.support.pictures import encoded, noise

if TYPE_CHECKING:
    from pathlib import Path

TAILS = {"newline": b"\n", "padding": bytes(512), "second": tiny_jpeg(20), "video": b"\0\0\0\x18ftypmp42" + bytes(4000)}
PHONE = {f"{name}.jpg": tiny_jpeg(number) + tail for number, (name, tail) in enumerate(TAILS.items())}
CUT = {f"{name}.jpg": tiny_jpeg(number) for number, name in enumerate(TAILS)}
PLAIN = {"plain.jpg": tiny_jpeg(99)}


def packed(source: str, dest: str, **choices: Any) -> wt.Dataset:
    return wt.pack(source, dest, **choices).dataset


def packed_images(dataset: Path) -> list[bytes]:
    return sorted(bytes(sample["jpg"]) for sample in wt.stream(str(dataset)))


def test_bytes_behind_an_image_are_packed_as_they_are_and_remarked(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**PHONE, **PLAIN})
    ran = run_command("pack", tmp_path / "src", tmp_path / "set", "--json")
    assert ran.code == 0
    assert (ran.summary["skipped"], ran.summary["remarks"]) == ({}, {"image-trailing-bytes": 4})
    assert packed_images(tmp_path / "set") == sorted([*PHONE.values(), *PLAIN.values()])
    assert "image-trailing-bytes" in run_command("pack", tmp_path / "src", tmp_path / "again").out
    assert wt.open_dataset(str(tmp_path / "set")).manifest.format == 2
    for level in ("digest", "samples", "decode"):
        assert wt.verify(str(tmp_path / "set"), level=level).ok
    provenance = json.loads((tmp_path / "set/.wdstools/provenance.json").read_text())
    assert provenance["remarks"] == {"image-trailing-bytes": 4}


def test_the_loader_decodes_the_image_and_not_what_follows(tmp_path: Path) -> None:
    images = {f"{n}.jpg": encoded("JPEG", seed=n) + encoded("JPEG", seed=n + 50) for n in range(5)}
    write_files(tmp_path / "src", images)
    dataset = packed(str(tmp_path / "src"), str(tmp_path / "set"))
    (batch,) = wt.loader(dataset, batch_size=5, split="train", shuffle=None)
    alone = [Image.open(io.BytesIO(encoded("JPEG", seed=int(key)))) for key in batch.keys]
    assert len(alone) == 5
    assert np.array_equal(batch.images, np.stack([np.asarray(image) for image in alone]))


def test_cut_takes_the_bytes_off_and_nothing_else(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**PHONE, **PLAIN})
    cut = packed(str(tmp_path / "src"), str(tmp_path / "cut"), trailing="cut")
    assert packed_images(tmp_path / "cut") == sorted([*CUT.values(), *PLAIN.values()])
    write_files(tmp_path / "clean", {**CUT, **PLAIN})
    clean = packed(str(tmp_path / "clean"), str(tmp_path / "set"), name=cut.manifest.name)
    assert (cut.manifest.format, cut.root) == (1, clean.root)


def test_skip_leaves_them_out_by_name(tmp_path: Path) -> None:
    found = pack_all(_written(tmp_path / "src", {**PHONE, **PLAIN}), tmp_path / "out", trailing="skip")
    assert found.reasons == dict.fromkeys(PHONE, "image-trailing-bytes")
    assert wt.open_dataset(str(tmp_path / "out")).manifest.format == 1


def _written(folder: Path, files: dict[str, bytes]) -> Path:
    write_files(folder, files)
    return folder


def test_images_that_differ_behind_their_end_alone_go_to_one_split_when_that_is_cut(tmp_path: Path) -> None:
    copies = {f"{n}.jpg": tiny_jpeg(n // 4) + bytes(n) for n in range(40)}
    dataset = packed(
        str(_written(tmp_path / "src", copies)), str(tmp_path / "set"), splits="train=50,val=50", trailing="cut"
    )
    found = wt.find_duplicates(dataset, level="exact")
    assert len(found.groups) == 10
    assert found.across_splits == ()


def test_another_choice_is_refused(tmp_path: Path) -> None:
    source = _written(tmp_path / "src", PLAIN)
    ran = run_command("pack", source, tmp_path / "set", "--trailing", "trim")
    assert ran.code == 2
    assert "--trailing" in ran.err


def test_a_dataset_of_format_1_holds_no_such_image(tmp_path: Path) -> None:
    """Only a writer of another make can have packed it: the rule of format 1 still is what it was."""
    dataset = packed(str(_written(tmp_path / "src", PHONE)), str(tmp_path / "set"))
    manifest = tmp_path / "set/.wdstools/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"format":2', b'"format":1'))
    found = [f for f in wt.verify(dataset.shards.url, level="samples").findings if f.kind == "image"]
    assert len(found) == 4
    assert all(finding.message.startswith("image-trailing-bytes") for finding in found)


def test_a_lost_manifest_of_format_2_is_made_again_to_the_same_root(tmp_path: Path) -> None:
    dataset = packed(str(_written(tmp_path / "src", {**PHONE, **PLAIN})), str(tmp_path / "set"))
    (tmp_path / "set/.wdstools/manifest.json").unlink()
    assert run_command("repair", tmp_path / "set", "--yes").code == 0
    assert wt.open_dataset(str(tmp_path / "set")).root == dataset.root


OTHERS = {"a.avif": "AVIF", "b.jp2": "JPEG2000", "d.ppm": "PPM", "e.gif": "GIF", "f.bmp": "BMP", "g.tif": "TIFF"}


@pytest.mark.parametrize("captions", [True, False])
def test_images_of_other_types_are_named_with_the_way_out_and_taken_by_it(tmp_path: Path, *, captions: bool) -> None:
    files = {name: encoded(kind) for name, kind in OTHERS.items()} | {"c.jpg": tiny_jpeg(1)}
    texts = {f"{name.partition('.')[0]}.txt": b"x" for name in files} if captions else {}
    source = _written(tmp_path / "src", {**files, **texts})
    ran = run_command("pack", source, tmp_path / "plain")
    assert ran.code == 3
    assert "--convert jpg" in ran.out + ran.err
    skipped = map(json.loads, (tmp_path / "plain/.wdstools/skipped.jsonl").read_text().splitlines())
    assert {line["path"]: line["reason"] for line in skipped} == dict.fromkeys(OTHERS, "image-needs-convert")
    converted = packed(str(source), str(tmp_path / "converted"), convert="jpg")
    assert converted.manifest.totals["samples"] == 7
    assert not (tmp_path / "converted/.wdstools/skipped.jsonl").exists()


@pytest.mark.parametrize("name", OTHERS)
def test_shards_of_images_of_other_types_are_taken_by_convert_too(tmp_path: Path, name: str) -> None:
    kind = OTHERS[name]
    with tarfile.open(tmp_path / "train-000000.tar", "w") as tar:
        for path, data in {
            f"1{name[1:]}": encoded(kind),
            "1.txt": b"one",
            "2.jpg": tiny_jpeg(1),
            "2.txt": b"two",
        }.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    dataset = packed(str(tmp_path / "train-000000.tar"), str(tmp_path / "set"), convert="jpg")
    assert dataset.manifest.totals["samples"] == 2


def test_what_was_cut_off_is_cut_off_again_by_a_repair_from_the_source(tmp_path: Path) -> None:
    source = _written(tmp_path / "src", PHONE)
    dataset = packed(str(source), str(tmp_path / "set"), trailing="cut")
    shard = tmp_path / "set" / dataset.manifest.shards[0][1].path
    data = bytearray(shard.read_bytes())
    data[700:710] = bytes(255 - byte for byte in data[700:710])
    shard.write_bytes(data)
    assert run_command("repair", tmp_path / "set", "--from", source, "--yes").code == 0
    assert wt.verify(str(tmp_path / "set"), level="samples").ok


def test_where_every_image_is_of_another_type_the_way_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(wt.UsageError) as caught:
        wt.pack(str(_written(tmp_path / "src", {"a.avif": encoded("AVIF")})), str(tmp_path / "set"))
    assert (caught.value.code, "convert" in caught.value.hint) == ("image-types", True)


def test_of_two_images_of_one_name_the_one_that_can_be_packed_as_it_is_stays(tmp_path: Path) -> None:
    found = pack_all(_written(tmp_path / "src", {"1.avif": encoded("AVIF"), "1.jpg": tiny_jpeg(1)}), tmp_path / "out")
    assert found.reasons == {"1.avif": "key-duplicate"}
    assert found.samples()["1"]["jpg"] == tiny_jpeg(1)


NAMES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "gif": "GIF", "avif": "AVIF", "jp2": "JPEG2000"}


@pytest.mark.parametrize("inside", ["jpg", "png", "avif"])
def test_under_convert_the_bytes_decide_whatever_the_name_says(tmp_path: Path, inside: str) -> None:
    data = encoded(NAMES[inside])
    write_files(tmp_path / "src", {f"{name}_.{name}": data for name in NAMES})
    dataset = packed(str(tmp_path / "src"), str(tmp_path / "set"), convert="jpg")
    samples: list[Any] = list(wt.stream(dataset))
    assert len(samples) == len(NAMES)
    assert len({bytes(sample["jpg"]) for sample in samples}) == 1
    assert (bytes(samples[0]["jpg"]) == data) == (inside == "jpg")


def test_a_picture_of_another_type_under_the_name_of_a_jpeg_is_named_as_what_it_is(tmp_path: Path) -> None:
    found = pack_all(_written(tmp_path / "src", {**PLAIN, "x.jpg": encoded("AVIF")}), tmp_path / "out")
    assert found.reasons == {"x.jpg": "image-not-jpg"}
    line = json.loads((tmp_path / "out/.wdstools/skipped.jsonl").read_text())
    assert "avif" in line["detail"]


def test_heic_without_pillow_heif_is_unsupported_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif.as_plugin", None)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    write_files(tmp_path / "src", {**PLAIN, "1.heic": heic})
    found = pack_all(tmp_path / "src", tmp_path / "out", convert="jpg")
    assert found.reasons == {"1.heic": "image-unsupported"}
    assert "pillow-heif" in (tmp_path / "out/.wdstools/skipped.jsonl").read_text()


def frames(kind: str, count: int) -> bytes:
    """An image of several frames or pages."""
    images = [Image.fromarray(noise(40, 30, seed=number)) for number in range(count)]
    sink = io.BytesIO()
    images[0].save(sink, kind, save_all=True, append_images=images[1:])
    return sink.getvalue()


@pytest.mark.parametrize(("name", "kind"), [("gif", "GIF"), ("tif", "TIFF"), ("webp", "WEBP"), ("png", "PNG")])
def test_frames_that_converting_leaves_out_are_counted(name: str, kind: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", {f"1.{name}": frames(kind, 3), f"2.{name}": frames(kind, 1)})
    result = wt.pack(str(tmp_path / "src"), str(tmp_path / "set"), convert="jpg")
    assert (result.samples, result.remarks) == ({"train": 2}, {"image-frames": 1})
    assert "image-frames" in run_command("pack", tmp_path / "src", tmp_path / "again", "--convert", "jpg").out


def test_what_is_said_of_a_damaged_image_is_the_same_in_each_run(tmp_path: Path) -> None:
    damaged = b"II*\0" + bytes([8, 0, 0, 0, 255]) * 40
    write_files(tmp_path / "src", {**PLAIN, "x.tif": damaged, "y.bmp": b"BM" + bytes(60)})
    for out in ("a", "b"):
        packed(str(tmp_path / "src"), str(tmp_path / out), convert="jpg")
    sums = [(tmp_path / out / "SHA256SUMS").read_bytes() for out in ("a", "b")]
    assert sums[0] == sums[1]
    assert "0x" not in (tmp_path / "a/.wdstools/skipped.jsonl").read_text()
