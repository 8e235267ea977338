"""Every layout that is understood, in every container: a folder, a zip, a tar; as it is, under one folder, nested twice."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools.dataset import open_dataset
from wdstools.executors.local import Serial
from wdstools.ops.pack import run_pack
from wdstools.ops.scan import scan
from wdstools.planning.options import make_options
from wdstools.sources.open import open_source

if TYPE_CHECKING:
    from pathlib import Path

Files = dict[str, bytes]
#: What is packed: split -> key -> caption, None where there is no txt.
Packed = dict[str, dict[str, str | None]]


def words(number: int) -> bytes:
    return f"words of {number}".encode()


def table(*numbers: int, folder: str = "") -> bytes:
    return "".join(["file_name,text\n", *(f"{folder}{n}.jpg,words of {n}\n" for n in numbers)]).encode()


def images(template: str, *numbers: int) -> Files:
    return {template.format(n): tiny_jpeg(n) for n in numbers}


def pairs(image: str, caption: str, *numbers: int) -> Files:
    return {**images(image, *numbers), **{caption.format(n): words(n) for n in numbers}}


def said(*numbers: int, key: str = "{}") -> dict[str, str | None]:
    return {key.format(n): f"words of {n}" for n in numbers}


COCO = json.dumps(
    {
        "images": [{"id": n + 70, "file_name": f"{n}.jpg"} for n in (1, 2)],
        "annotations": [{"image_id": n + 70, "id": n, "caption": f"words of {n}"} for n in (2, 1)],
    }
).encode()
BOXES = b"0 0.5 0.5 0.2 0.2\n1 0.25 0.5 0.1 0.1\n"
POST = {"node": {"edge_media_to_caption": {"edges": [{"node": {"text": "words of 1"}}]}}}

LAYOUTS: dict[str, tuple[Files, Packed]] = {
    "pairs": (pairs("{}.jpg", "{}.txt", 1, 2), {"train": said(1, 2)}),
    "upper case": (pairs("{}.JPG", "{}.TXT", 1, 2), {"train": said(1, 2)}),
    "x.caption": (pairs("{}.jpg", "{}.caption", 1, 2), {"train": said(1, 2)}),
    "x.jpg.txt": (pairs("{}.jpg", "{}.jpg.txt", 1, 2), {"train": said(1, 2)}),
    "images and captions": (pairs("images/{}.jpg", "captions/{}.txt", 1, 2), {"train": said(1, 2)}),
    "images/train and captions/train": (
        {**pairs("images/train/{}.jpg", "captions/train/{}.txt", 1), **pairs("images/val/{}.jpg", "captions/val/{}.txt", 2)},
        {"train": said(1), "val": said(2)},
    ),
    "images/train and labels/train": (
        {**pairs("images/train/{}.jpg", "labels/train/{}.txt", 1), **pairs("images/val/{}.jpg", "labels/val/{}.txt", 2)},
        {"train": said(1), "val": said(2)},
    ),
    "train/images and train/captions": (
        {**pairs("train/images/{}.jpg", "train/captions/{}.txt", 1), **pairs("test/images/{}.jpg", "test/captions/{}.txt", 2)},
        {"train": said(1), "test": said(2)},
    ),
    "Train and Test": (
        {**pairs("Train/{}.jpg", "Train/{}.txt", 1), **pairs("Test/{}.jpg", "Test/{}.txt", 2)},
        {"train": said(1), "test": said(2)},
    ),
    "training and validation": (
        {**pairs("training/{}.jpg", "training/{}.txt", 1), **pairs("validation/{}.jpg", "validation/{}.txt", 2)},
        {"train": said(1), "validation": said(2)},
    ),
    "seg_train/seg_train": (
        {**images("seg_train/seg_train/sea/{}.jpg", 1), **images("seg_test/seg_test/sea/{}.jpg", 2)},
        {"train": {"sea/1": None}, "test": {"sea/2": None}},
    ),
    "classes in train, none in val": (
        {**images("train/n01/{}.JPEG", 1, 2), **images("val/{}.JPEG", 3)},
        {"train": {"n01/1": None, "n01/2": None}, "val": {"3": None}},
    ),
    "split folders with labels": (
        {**pairs("img/train/a/{}.jpg", "captions/train/a/{}.txt", 1), **pairs("img/val/b/{}.jpg", "captions/val/b/{}.txt", 2)},
        {"train": said(1, key="a/{}"), "val": said(2, key="b/{}")},
    ),
    "metadata.csv in each split": (
        {
            **images("train/{}.jpg", 1), "train/metadata.csv": table(1),
            **images("test/{}.jpg", 2), "test/metadata.csv": table(2),
        },
        {"train": said(1), "test": said(2)},
    ),
    "captions.csv": ({**images("{}.jpg", 1, 2), "captions.csv": table(1, 2)}, {"train": said(1, 2)}),
    "captions.jsonl": (
        {
            **images("pics/{}.jpg", 1, 2), "z.md": b"",
            "captions.jsonl": b"".join(json.dumps({"image": f"pics\\{n}.jpg", "caption": f"words of {n}"}).encode() + b"\n" for n in (1, 2)),
        },
        {"train": said(1, 2, key="pics/{}")},
    ),
    "captions.json by name": (
        {**images("{}.jpg", 1, 2), "captions.json": json.dumps({f"{n}.jpg": f"words of {n}" for n in (1, 2)}).encode()},
        {"train": said(1, 2)},
    ),
    "COCO": ({**images("train2017/{}.jpg", 1, 2), "annotations/captions_train2017.json": COCO}, {"train": said(1, 2)}),
    "Flickr30k": (
        {**images("flickr30k_images/{}.jpg", 1, 2), "results_20130124.token": b"1.jpg#0\twords of 1\n2.jpg#0\twords of 2\n"},
        {"train": said(1, 2, key="flickr30k_images/{}")},
    ),
    "InstaLooter": (
        {**images("{}.jpg", 1), "1.json": json.dumps(POST).encode()},
        {"train": said(1)},
    ),
    "Instaloader": (
        {
            **{f"post_UTC_{n}.jpg": tiny_jpeg(n) for n in (1, 2)}, "post_UTC.txt": b"words of 1",
            "post_UTC.json.xz": lzma.compress(json.dumps({"likes": 3}).encode()),
        },
        {"train": {"post_UTC_1": "words of 1", "post_UTC_2": "words of 1"}},
    ),
    "x.json with a caption": (
        {**images("{}.jpg", 1), "1.json": b'{"caption": "words of 1", "n": NaN}'},
        {"train": said(1)},
    ),
    "InstaCities with another city": (
        {
            **pairs("img_resized_1M/cities_instagram/london/{}.jpg", "captions_resized_1M/cities_instagram/london/{}.txt", 1),
            **pairs("img_resized_1M/cities_instagram/paris/{}.jpg", "captions_resized_1M/cities_instagram/paris/{}.txt", 2),
        },
        {"train": {**said(1, key="london/{}"), **said(2, key="paris/{}")}},
    ),
    "label/split": (
        {**images("cat/train/{}.jpg", 1), **images("dog/train/{}.jpg", 2), **images("cat/test/{}.jpg", 3)},
        {"train": {"cat/1": None, "dog/2": None}, "test": {"cat/3": None}},
    ),
    "every word for a split": (
        {name: data for n, word in enumerate(("testing", "valid", "Dev", "eval2017")) for name, data in pairs(word + "/{}.jpg", word + "/{}.txt", n).items()},
        {"test": said(0), "valid": said(1), "dev": said(2), "eval": said(3)},
    ),
    "one name in two splits": (
        {**pairs("train/{}.jpg", "train/{}.txt", 1), "val/1.jpg": tiny_jpeg(2), "val/1.txt": b"words of 1"},
        {"train": said(1, key="train/{}"), "val": said(1, key="val/{}")},
    ),
    "a table a split, one name in both": (
        {**images("train/{}.jpg", 1), "train.tsv": table(1).replace(b",", b"\t"), "val/1.jpg": tiny_jpeg(2), "val.tsv": table(1).replace(b",", b"\t")},
        {"train": said(1, key="train/{}"), "val": said(1, key="val/{}")},
    ),
    "COCO in YOLO's form": (
        {
            **pairs("images/train2017/{}.jpg", "labels/train2017/{}.txt", 1), "labels/train2017/1.txt": BOXES, "train2017.txt": b"./images/train2017/1.jpg\n",
            **pairs("images/val2017/{}.jpg", "labels/val2017/{}.txt", 2), "labels/val2017/2.txt": BOXES, "val2017.txt": b"./images/val2017/2.jpg\n",
        },
        {"train": {"1": None}, "val": {"2": None}},
    ),
    "Food-101": (
        {
            **images("images/pie/{}.jpg", 1, 2), **images("images/cake/{}.jpg", 3, 4),
            "meta/train.txt": b"pie/1\ncake/3\n", "meta/test.txt": b"pie/2\ncake/4\n",
        },
        {"train": {"pie/1": None, "cake/3": None}, "test": {"pie/2": None, "cake/4": None}},
    ),
    "masks, arrays and captions beside images": (
        {
            **pairs("images/{}.jpg", "captions/{}.txt", 1, 2),
            **{f"masks/{n}_mask.png": b"mask %d" % n for n in (1, 2)}, **{f"embeddings/{n}.npy": b"array %d" % n for n in (1, 2)},
        },
        {"train": said(1, 2)},
    ),
    "VOC": (
        {
            **images("JPEGImages/{}.jpg", 1, 2), **{f"Annotations/{n}.xml": b"<annotation/>" for n in (1, 2)},
            "ImageSets/Main/train.txt": b"1\n", "ImageSets/Main/val.txt": b"2\n", "ImageSets/Main/trainval.txt": b"1\n2\n",
        },
        {"train": {"1": None}, "val": {"2": None}},
    ),
    "images alone": ({**images("a/{}.jpg", 1), **images("b/c/{}.jpg", 2)}, {"train": {"a/1": None, "b/c/2": None}}),
}  # fmt: skip

#: As a flat tar they are shards, whose ``json`` is kept as it is.
LIKE_SHARDS = ("InstaLooter", "x.json with a caption")


def make(container: str, path: Path, files: Files) -> Path:
    """The files as a folder or an archive."""
    if container == "folder":
        return write_files(path, files)
    if container == "tar":
        with tarfile.open(path.with_suffix(".tar"), "w") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return path.with_suffix(".tar")
    with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name.replace("/", "\\") if container == "zip of Windows" else name
            archive.writestr(entry, data)
    return path.with_suffix(".zip")


@pytest.mark.parametrize("container", ["folder", "zip", "zip of Windows", "tar"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_same_from_every_container(layout: str, container: str, tmp_path: Path) -> None:
    files, expected = LAYOUTS[layout]
    roots = set()
    for number, nesting in enumerate(("", "my data/", "my data/2024/")):
        if container == "tar" and layout in LIKE_SHARDS and not nesting:
            continue
        source = make(container, tmp_path / f"src{number}", {nesting + name: data for name, data in files.items()})
        result = run_pack(open_source(str(source)), str(tmp_path / f"out{number}"), make_options(), executor=Serial())
        assert result.skipped == ({"outside-layout": 1} if "z.md" in files else {})
        account = dict(result.account)
        assert account.pop("files", 0) == sum(account.values())
        dataset = open_dataset(result.path)
        packed = {
            split: {s.key: s["txt"].decode() if "txt" in s else None for s in dataset[split]}
            for split in dataset.splits
        }
        assert packed == expected
        assert scan(str(source)).total == sum(map(len, expected.values()))
        roots.add(result.root)
    assert len(roots) == 1, "nesting changes no byte"
