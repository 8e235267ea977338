"""Existing WebDataset shards as a source, whoever wrote them."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import webdataset

from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from tests.support.pictures import encoded
from wdstools import FormatError, NotFoundError, ShardsSource, UsageError, open_source, pack, scan
from wdstools.sources.bucket import BucketShards
from wdstools.sources.bucket_listing import object_entry
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import remote

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SAMPLES = [(f"a/{n}", {"jpg": tiny_jpeg(n), "txt": f"caption {n} é".encode()}) for n in range(7)]


def with_tarfile(path: Path, members: Iterable[tuple[str, bytes]], style: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=style, encoding="utf-8", errors="surrogateescape") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mtime = 1.5  # a fraction of a second makes tarfile write pax records
            archive.addfile(info, io.BytesIO(data))
    return path


def members(samples: Iterable[tuple[str, dict[str, bytes]]]) -> list[tuple[str, bytes]]:
    return [(f"{key}.{extension}", data) for key, sample in samples for extension, data in sample.items()]


def test_shards_written_by_webdataset_are_read(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for number, part in enumerate((SAMPLES[:4], SAMPLES[4:])):
        with webdataset.TarWriter(str(tmp_path / f"src/train-{number:06d}.tar")) as writer:
            for key, sample in part:
                writer.write({"__key__": key, **sample})
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert found.samples("train") == dict(SAMPLES)
    assert found.skips == ()


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_shards_written_by_tarfile_are_read(style: int, tmp_path: Path) -> None:
    long = [("k" * 120, {"jpg": tiny_jpeg(9), "txt": b"long"})] if style != tarfile.USTAR_FORMAT else []
    with_tarfile(tmp_path / "src/00000.tar", members([*SAMPLES, *long]), style)
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert len(found.samples()) == len(SAMPLES) + len(long)
    assert {key: dict(sample) for key, sample in found.samples().items() if key.startswith("a/")} == dict(SAMPLES)


@pytest.mark.parametrize("damaged", [False, True])
def test_packing_a_dataset_again_gives_the_same_root(tmp_path: Path, *, damaged: bool) -> None:
    options: dict[str, Any] = {"name": "again", "version": 3, "shards": 2, "seed": 5}
    folder = write_city_pairs(tmp_path / "src", damaged=damaged)
    first = pack_all(folder, tmp_path / "one", **options)
    second = pack_all(tmp_path / "one", tmp_path / "two", shards=2, seed=5)
    assert second.dataset.root == first.dataset.root
    assert second.skips == ()


def test_packing_like_a_dataset_needs_no_other_option(tmp_path: Path) -> None:
    folder = write_city_pairs(tmp_path / "src")
    first = pack_all(folder, tmp_path / "one", shards=3, seed=9)
    assert pack_all(tmp_path / "one", tmp_path / "two", like=str(tmp_path / "one")).dataset.root == first.dataset.root


@pytest.mark.parametrize(
    ("tars", "told"),
    [
        ({"00000.tar": ["train/1", "val/2"], "00001.tar": ["train/3"]}, ["00000.tar"]),
        ({"train.tar": ["train/1"], "val.tar": ["val/2"]}, []),
        ({"train.tar": ["data/test/1"], "val.tar": ["cat/2"]}, ["train.tar"]),
    ],
)
def test_keys_that_lie_in_folders_of_another_split_are_told(
    tars: dict[str, list[str]], told: list[str], tmp_path: Path
) -> None:
    for name, keys in tars.items():
        held = [(f"{key}.{end}", data) for key in keys for end, data in (("jpg", tiny_jpeg(1)), ("txt", b"x"))]
        write(tmp_path, {name: tar_bytes(held)})
    found = scan(str(tmp_path))
    assert [skip.path for skip in found.skips if skip.reason == "split-unread"] == told


def test_shards_of_which_the_first_is_empty_are_shards(tmp_path: Path) -> None:
    write(tmp_path, {"00000.tar": tar_bytes([]), "00001.tar": tar_bytes(pairs(1, 2))})
    assert scan(str(tmp_path)).samples == {"train": {"": 2}}


def test_metadata_and_classes_come_along(tmp_path: Path) -> None:
    sample = {"jpg": tiny_jpeg(1), "txt": b"x", "cls": b"7", "json": b'{"a": 1}'}
    with_tarfile(tmp_path / "src/val-0.tar", members([("k", sample)]))
    assert pack_all(tmp_path / "src", tmp_path / "out").samples("val") == {"k": sample}


def test_a_json_that_is_no_object_is_named_and_what_json_lacks_is_null(tmp_path: Path) -> None:
    said = {"1": b"[1,2]", "2": b"{", "3": b'{"a":1,  "b":2}', "4": b'{"score":NaN}'}
    members = [
        (f"{key}.{end}", data)
        for key, json in said.items()
        for end, data in (("jpg", tiny_jpeg(int(key))), ("txt", b"x"), ("json", json))
    ]
    packed = pack_all(write(tmp_path / "src", {"0.tar": tar_bytes(members)}), tmp_path / "out")
    assert packed.reasons == {"0.tar/1.jpg": "json-invalid", "0.tar/2.jpg": "json-invalid"}
    assert {key: sample["json"] for key, sample in packed.samples().items()} == {"3": said["3"], "4": b'{"score":null}'}


def test_members_that_lie_apart_are_joined(tmp_path: Path) -> None:
    apart = [*((f"{k}.jpg", s["jpg"]) for k, s in SAMPLES), *((f"{k}.txt", s["txt"]) for k, s in SAMPLES)]
    with_tarfile(tmp_path / "src/x.tar", apart)
    found = pack_all(ShardsSourcePath(tmp_path / "src"), tmp_path / "out")
    assert found.samples() == dict(SAMPLES)


def ShardsSourcePath(path: Path) -> str:  # noqa: N802
    """The path, once it is sure that it is read as shards."""
    assert isinstance(open_source(str(path)), ShardsSource)
    return str(path)


def test_each_unusable_sample_is_named(tmp_path: Path) -> None:
    given = [
        *members(SAMPLES),
        ("noimage.txt", b"x"),
        ("twice.jpg", tiny_jpeg(20)), ("twice.txt", b"1"), ("twice.jpg", tiny_jpeg(21)),
        ("broken.jpg", b"no image"), ("broken.txt", b"x"),
    ]  # fmt: skip
    with_tarfile(tmp_path / "src/x.tar", given)
    with_tarfile(tmp_path / "src/y.tar", members(SAMPLES[:1]))
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(found.samples()) == {key for key, _ in SAMPLES} | {"twice"}
    assert sorted(found.reasons.values()) == ["image-missing", "image-not-jpg", "key-duplicate", "member-duplicate"]


@pytest.mark.parametrize("cls", [b"", b"cat", b"-1", b"1.5", b"99999999999", b"9" * 5000, b"\xb2", b"4294967296"])
def test_a_class_that_is_no_small_number_is_named(cls: bytes, tmp_path: Path) -> None:
    good = [(key, {**sample, "cls": b"3"}) for key, sample in SAMPLES]
    with_tarfile(tmp_path / "src/x.tar", members([*good, ("odd", {"jpg": tiny_jpeg(30), "txt": b"", "cls": cls})]))
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert len(found.samples()) == len(SAMPLES)
    assert list(found.reasons.values()) == ["cls-not-integer"]


@pytest.mark.parametrize("name", [b"bad\xff", "😀".encode() + b"\xff"])
def test_keys_that_are_not_utf8_are_named(name: bytes, tmp_path: Path) -> None:
    key = name.decode("utf-8", "surrogateescape")
    with_tarfile(
        tmp_path / "src/x.tar", members([*SAMPLES, (key, {"jpg": tiny_jpeg(30), "txt": b"x"})]), tarfile.GNU_FORMAT
    )
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert found.samples() == dict(SAMPLES)
    assert len(found.skips) >= 1


def test_mixed_image_types_in_shards_are_counted(tmp_path: Path) -> None:
    with_tarfile(tmp_path / "src/x.tar", members([*SAMPLES, ("p", {"png": encoded("PNG"), "txt": b"x"})]))
    assert scan(str(tmp_path / "src")).image_types == {"jpg": 7, "png": 1}
    assert pack_all(tmp_path / "src", tmp_path / "out", only="jpg").reasons == {"x.tar/p.png": "image-not-jpg"}


@pytest.mark.parametrize(
    ("name", "split"),
    [("train-000000.tar", "train"), ("val/00.tar", "val"), ("000.tar", "train"), ("my_split.003.tar", "my_split")],
)
def test_splits_come_from_names(name: str, split: str, tmp_path: Path) -> None:
    with_tarfile(tmp_path / "src" / name, members(SAMPLES))
    assert pack_all(tmp_path / "src", tmp_path / "out").dataset.splits == [split]


@pytest.mark.parametrize("name", ["train.tar/val.tar/0.tar", "TRAIN-0.TAR", "a.TAR/0.tar"])
@pytest.mark.parametrize("place", ["on a disk", "in a bucket"])
def test_a_folder_may_be_called_as_a_tar_and_a_tar_in_capitals(name: str, place: str, tmp_path: Path) -> None:
    inside = [(f"in.tar/{key}", sample) for key, sample in SAMPLES]
    path = with_tarfile(tmp_path / "src" / name, members(inside))
    source: Any = str(tmp_path / "src")
    if place == "in a bucket":
        store = MemoryStore()
        store.put(name, path.read_bytes())
        source = BucketShards(remote(store), {name: object_entry(remote(store).head(name))})
    made = pack(source, tmp_path / "out", jobs=1)
    images = [sample["jpg"] for split in made.dataset.splits for sample in made.dataset[split]]
    assert sorted(images) == sorted(sample["jpg"] for _, sample in SAMPLES)


def test_a_lone_shard_is_a_source(tmp_path: Path) -> None:
    path = with_tarfile(tmp_path / "src/x-000.tar", members(SAMPLES))
    assert pack_all(path, tmp_path / "out").samples() == dict(SAMPLES)


def test_a_cut_shard_is_refused(tmp_path: Path) -> None:
    data = with_tarfile(tmp_path / "src/x.tar", members(SAMPLES)).read_bytes()
    (tmp_path / "src/x.tar").write_bytes(data[:5000])
    with pytest.raises(FormatError) as caught:
        open_source(str(tmp_path / "src")).list()
    assert caught.value.code == "tar-damaged"


def test_a_shard_cut_between_two_members_is_refused(tmp_path: Path) -> None:
    data = with_tarfile(tmp_path / "src/x.tar", members(SAMPLES), tarfile.USTAR_FORMAT).read_bytes()
    at = data.index(b"a/4.jpg")
    (tmp_path / "src/x.tar").write_bytes(data[:at])
    with pytest.raises(FormatError):
        open_source(str(tmp_path / "src")).list()


def test_shards_without_images_are_refused(tmp_path: Path) -> None:
    with_tarfile(tmp_path / "src/x.tar", [("1.txt", b"x"), ("2.txt", b"y")])
    write_files(tmp_path / "src", {"note.md": b"x"})
    with pytest.raises(NotFoundError):
        open_source(str(tmp_path / "src")).list()


@pytest.mark.parametrize("encoding", ["tar", "tar.gz"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_one_damaged_shard_of_many_is_named_and_the_others_are_packed(
    which: int, encoding: str, tmp_path: Path
) -> None:
    for number in range(3):
        data = tar_bytes(pairs(number * 4, 4))
        data = data if encoding == "tar" else compressed(data, encoding)
        data = data[: len(data) // 4] if number == which else data
        write(tmp_path / "src", {f"train/x-{number:03d}.{encoding}": data})
    found = pack_all(tmp_path / "src", tmp_path / "out")
    code = "tar-damaged" if encoding == "tar" else "compression-damaged"
    assert found.reasons == {f"train/x-{which:03d}.{encoding}": code}
    assert sorted(found.samples()) == sorted(f"{number:06d}" for number in range(12) if number // 4 != which)
    ran = run_command("pack", tmp_path / "src", tmp_path / "again")
    assert (ran.code, f"x-{which:03d}" in ran.err + ran.out) == (3, True)


def test_shards_that_are_all_damaged_are_an_error(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "src", {f"x-{number:03d}.tar": tar_bytes(pairs(number * 4, 4))[:3000]})
    with pytest.raises(FormatError) as caught:
        open_source(str(tmp_path / "src")).list()
    assert caught.value.code == "tar-damaged"


def test_keys_that_restart_in_each_shard_are_told_with_what_keeps_all(tmp_path: Path) -> None:
    for number in range(2):
        with_tarfile(tmp_path / f"src/{number:05d}.tar", [(f"{n}.jpg", tiny_jpeg(10 * number + n)) for n in range(3)])
    result = pack(tmp_path / "src", tmp_path / "out")
    assert dict(result.skipped) == {"key-duplicate": 3}
    assert any("--prefix-keys shard" in note for note in result.notes)
    seen = scan(tmp_path / "src")
    assert (seen.total, seen.notes) == (3, result.notes)
    whole = pack(tmp_path / "src", tmp_path / "whole", prefix_keys="shard")
    assert (dict(whole.samples), whole.notes) == ({"train": 6}, ())


def test_keys_that_restart_in_each_split_are_told_apart_by_it(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        with_tarfile(tmp_path / f"src/{split}-000.tar", [(f"{n}.jpg", tiny_jpeg(10 * number + n)) for n in range(3)])
    found = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(found.samples()) == {f"{split}/{n}" for split in ("train", "val") for n in range(3)}
    assert found.skips == ()


def documents(texts: Iterable[str | None], key: str = "caption", *, txt: bool = False) -> list[tuple[str, bytes]]:
    """Samples whose ``json`` holds their captions, as img2dataset writes them."""
    return [
        member
        for n, text in enumerate(texts)
        for member in (
            (f"{n:05d}.jpg", tiny_jpeg(n)),
            (f"{n:05d}.json", json.dumps({key: text, "url": "http://x/", "status": "success"}).encode()),
            *([(f"{n:05d}.txt", b"of its own")] if txt else []),
        )
    ]


def captions_of(packed: Packed) -> dict[str, str]:
    return {key: bytes(sample["txt"]).decode() for key, sample in packed.samples().items()}


def test_captions_in_json_are_the_captions_where_there_is_no_txt(tmp_path: Path) -> None:
    with_tarfile(tmp_path / "src/00000.tar", documents(["one", "zwei é", None]))
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert captions_of(packed) == {"00000": "one", "00001": "zwei é"}
    assert packed.reasons == {"00000.tar/00002.jpg": "caption-missing"}
    assert packed.dataset.manifest.members == ("jpg", "txt", "json")
    assert any("json" in text for text in scan(tmp_path / "src").differences)
    optional = pack_all(tmp_path / "src", tmp_path / "optional", layout={"captions": "optional"})
    assert captions_of(optional)["00002"] == ""
    assert pack_all(tmp_path / "src", tmp_path / "none", layout={"captions": "none"}).dataset.manifest.members == (
        "jpg",
        "json",
    )


def test_the_name_of_captions_in_json_can_be_said(tmp_path: Path) -> None:
    with_tarfile(tmp_path / "src/00000.tar", documents(["one", "two"], "Words", txt=True))
    assert captions_of(pack_all(tmp_path / "src", tmp_path / "own")) == dict.fromkeys(("00000", "00001"), "of its own")
    result = pack(tmp_path / "src", tmp_path / "out", caption_column="words")
    assert sorted(bytes(s["txt"]) for s in result.dataset["train"]) == [b"one", b"two"]
    assert result.account["ignored"] == 2
    with pytest.raises(UsageError) as caught:
        pack(tmp_path / "src", tmp_path / "not", caption_column="nothing")
    assert caught.value.code == "table-columns"
