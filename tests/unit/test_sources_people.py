"""What people really have in folders: other members, stand-ins for files, odd tables, names in other encodings and forms."""

from __future__ import annotations

import io
import json
import os
import unicodedata
import zipfile
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.pictures import encoded
from wdstools import UsageError, WdsError, extract, open_source, pack, repair, scan

if TYPE_CHECKING:
    from pathlib import Path

GOOD = {"1.jpg": tiny_jpeg(1), "1.txt": b"one"}


def test_arrays_sound_and_masks_beside_images_are_members(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for n in range(3):
        files |= {f"a/{n}.jpg": tiny_jpeg(n), f"a/{n}.npy": b"array %d" % n, f"a/{n}.mask.png": encoded("PNG")}
    write_files(tmp_path / "src", {**files, "b/9.jpg": tiny_jpeg(9), "a/lost.npy": b"x"})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.dataset.manifest.members == ("jpg", "mask.png", "npy")
    assert packed.samples()["a/1"] == {"jpg": tiny_jpeg(1), "mask.png": encoded("PNG"), "npy": b"array 1"}
    assert packed.reasons == {"b/9.jpg": "member-missing", "a/lost.npy": "outside-layout"}
    empty = pack_all(tmp_path / "src", tmp_path / "empty", layout={"members_missing": "empty"})
    assert empty.samples()["b/9"] == {"jpg": tiny_jpeg(9), "mask.png": b"", "npy": b""}
    fewer = pack_all(tmp_path / "src", tmp_path / "fewer", layout={"drop_members": "npy,mask.png"})
    assert fewer.dataset.manifest.members == ("jpg",)
    assert len(fewer.samples()) == 4
    assert fewer.skips == ()


def test_an_image_whose_name_has_a_dot_is_one_of_its_own(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {f"{name}.jpg": tiny_jpeg(n) for n, name in enumerate(("a", "a.edited", "b", "c"))})
    assert set(pack_all(tmp_path / "src", tmp_path / "out").samples()) == {"a", "a%2Eedited", "b", "c"}


def test_what_stands_for_a_file_is_named_as_what_it_is(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, ".2.jpg.icloud": b"bplist", "old.tar.00": b"x", "Thumbs.db": b"x"})
    (tmp_path / "src/3.jpg").symlink_to(".git/annex/objects/xx/3.jpg")
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.reasons == {
        "2.jpg": "cloud-placeholder",
        "3.jpg": "file-not-fetched",
        "old.tar.00": "outside-layout",
        "Thumbs.db": "outside-layout",
    }


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n",
            "file-not-fetched",
            "LFS",
        ),
        (b"/annex/objects/SHA256E-s9--aa.jpg\n", "file-not-fetched", "annex"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "image-not-jpg", "web page"),
    ],
)
def test_what_stands_in_the_place_of_an_image_is_named(content: bytes, reason: str, words: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "2.jpg": content, "2.txt": b"two"})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.reasons == {"2.jpg": reason}
    assert words in packed.skips[0]["detail"]


def test_byte_order_marks_and_nul_in_captions_are_kept_and_told(tmp_path: Path) -> None:
    texts = {"1": b"\xef\xbb\xbfbom", "2": b"nul\0", "3": b"plain"}
    write_files(
        tmp_path / "src", {f"{n}.jpg": tiny_jpeg(int(n)) for n in texts} | {f"{n}.txt": t for n, t in texts.items()}
    )
    result = pack(str(tmp_path / "src"), str(tmp_path / "out"))
    assert {s.key: bytes(s["txt"]) for s in result.dataset["train"]} == texts
    assert result.remarks == {"caption-control": 2}
    assert result.dataset.manifest.format == 1


@pytest.mark.parametrize("name", ["x.zip.001", "x.tar.00", "x.z01"])
def test_one_volume_of_an_archive_is_refused_as_that(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\0" * 999)
    with pytest.raises(UsageError, match="volume"):
        open_source(str(tmp_path / name)).list()


def test_a_path_that_no_system_opens_is_skipped_and_the_others_are_packed(tmp_path: Path) -> None:
    write_files(tmp_path / "src", GOOD)
    here = os.getcwd()
    os.chdir(tmp_path / "src")
    try:
        for _ in range(21):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        for name, data in GOOD.items():
            with open(name, "wb") as file:
                file.write(data)
    finally:
        os.chdir(here)
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(packed.samples()) == {"1"}
    assert set(packed.reasons.values()) == {"path-too-long"}


def test_names_in_two_unicode_forms_are_one_and_told(tmp_path: Path) -> None:
    stem = unicodedata.normalize("NFC", "éà")
    write_files(
        tmp_path / "src", {f"{stem}.jpg": tiny_jpeg(1), f"{unicodedata.normalize('NFD', stem)}.txt": b"words", **GOOD}
    )
    result = pack(str(tmp_path / "src"), str(tmp_path / "out"))
    assert sorted(bytes(s["txt"]) for s in result.dataset["train"]) == [b"one", b"words"]
    assert any("Unicode" in note for note in result.notes)


def test_the_encoding_of_names_in_a_zip_can_be_said(tmp_path: Path) -> None:
    name = "東京".encode("shift_jis")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("____.jpg", tiny_jpeg(1))
        archive.writestr("x.jpg", tiny_jpeg(2))
    (tmp_path / "a.zip").write_bytes((tmp_path / "a.zip").read_bytes().replace(b"____", name))
    told = scan(str(tmp_path / "a.zip"))
    assert any("--name-encoding" in note for note in told.notes)
    packed = pack_all(tmp_path / "a.zip", tmp_path / "out", layout={"name_encoding": "shift_jis"})
    assert set(packed.samples()) == {"%E6%9D%B1%E4%BA%AC", "x"}
    for where, encoding in (("a.zip", "klingon"), (".", "gbk")):
        with pytest.raises(UsageError):
            open_source(str(tmp_path / where), name_encoding=encoding).list()


def test_one_odd_row_is_skipped_with_its_line_and_the_others_are_packed(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {f"{n}.jpg": tiny_jpeg(n) for n in range(4)})
    (tmp_path / "src/captions.csv").write_bytes(
        b"file_name;text\n0.jpg;zero\n1.jpg;one;more\n2.jpg;\xff\n3.jpg;three\n"
    )
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert {key: bytes(sample["txt"]) for key, sample in packed.samples().items()} == {"0": b"zero", "3": b"three"}
    details = [skip["detail"] for skip in packed.skips if skip["path"] == "captions.csv"]
    assert [detail.partition(":")[0] for detail in details] == ["row 3", "row 4"]


def test_columns_can_be_named(tmp_path: Path) -> None:
    write_files(tmp_path, {f"{n}.jpg": tiny_jpeg(n) for n in (1, 2)})
    (tmp_path / "t.csv").write_text("Bild,Worte,Stadt,Teil,Nr\n1.jpg,eins,Bonn,Train,a\n2.jpg,zwei,Ulm,test,b\n")
    layout = {
        "path_column": "bild", "caption_column": "Worte", "label_column": "Stadt", "split_column": "Teil", "key_column": "Nr",
    }  # fmt: skip
    packed = pack_all(tmp_path / "t.csv", tmp_path / "out", layout=layout)
    assert packed.samples("train") == {"a": {"jpg": tiny_jpeg(1), "txt": b"eins", "cls": b"0"}}
    assert packed.samples("test") == {"b": {"jpg": tiny_jpeg(2), "txt": b"zwei", "cls": b"1"}}
    with pytest.raises(WdsError, match="no such column"):
        open_source(str(tmp_path / "t.csv"), caption_column="Text").list()


@pytest.mark.parametrize("several", ["all", "first", "join"])
def test_several_captions_are_kept_as_one_says(several: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), "2.jpg": tiny_jpeg(2)})
    (tmp_path / "src/captions.json").write_text(json.dumps({"1.jpg": ["a", "b"], "2.jpg": ["c"]}))
    samples = pack_all(tmp_path / "src", tmp_path / "out", layout={"several_captions": several}).samples()
    assert samples["1"]["txt"] == (b"a\nb" if several == "join" else b"a")
    assert samples["2"]["txt"] == b"c"
    kept = [json.loads(samples[key]["json"])["captions"] for key in "12"] if several == "all" else None
    assert kept == ([["a", "b"], ["c"]] if several == "all" else None)


def test_numbers_that_json_does_not_have_are_null(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1)})
    (tmp_path / "src/metadata.jsonl").write_text('{"file_name": "./1.jpg", "text": "one", "score": NaN}\n')
    assert json.loads(pack_all(tmp_path / "src", tmp_path / "out").samples()["1"]["json"]) == {"score": None}


def test_tables_in_several_folders_are_all_read(tmp_path: Path) -> None:
    for place, n in (("a", 1), ("b/c", 2)):
        write_files(
            tmp_path / "src" / place,
            {f"{n}.jpg": tiny_jpeg(n), "captions.csv": b"image,caption\n%d.jpg,of %d\n" % (n, n)},
        )
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert {key: bytes(sample["txt"]) for key, sample in packed.samples().items()} == {"a/1": b"of 1", "b/c/2": b"of 2"}
    assert packed.skips == ()


def test_a_table_of_the_splits_of_images_divides_them(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {f"images/{n}.jpg": tiny_jpeg(n) for n in range(4)})
    for name, numbers in (("train", (0, 1)), ("val", (2, 3))):
        (tmp_path / f"src/{name}.csv").write_text("image,caption\n" + "".join(f"{n}.jpg,of {n}\n" for n in numbers))
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert {split: len(packed.samples(split)) for split in packed.dataset.splits} == {"train": 2, "val": 2}


def test_folders_that_look_like_splits_and_are_none_are_told(tmp_path: Path) -> None:
    names = ["cat/train/1.jpg", "cat/test/2.jpg", "dog/more/3.jpg"]
    write_files(tmp_path / "src", {name: tiny_jpeg(n) for n, name in enumerate(names)})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(packed.reasons.values()) == {"split-unread"}


def test_splits_within_folders_of_classes_are_splits(tmp_path: Path) -> None:
    names = [f"{label}/{split}/{label}{split}.jpg" for label in ("cat", "dog") for split in ("train", "test")]
    write_files(tmp_path / "src", {name: tiny_jpeg(n) for n, name in enumerate(names)})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert {s: sorted(packed.samples(s)) for s in packed.dataset.splits} == {
        s: [f"cat/cat{s}", f"dog/dog{s}"] for s in ("train", "test")
    }
    assert packed.dataset.manifest.labels == ("cat", "dog")


def test_one_stray_beside_the_folders_of_classes_takes_no_labels_away(tmp_path: Path) -> None:
    names = ["train/a/1.jpg", "train/b/2.jpg", "train/stray.jpg", "val/a/3.jpg"]
    write_files(tmp_path / "src", {name: tiny_jpeg(n) for n, name in enumerate(names)})
    result = pack(tmp_path / "src", tmp_path / "out")
    assert result.dataset.manifest.labels == ("a", "b")
    assert dict(result.samples) == {"train": 2, "val": 1}
    assert dict(result.skipped) == {"label-missing": 1}
    assert any("1 image in train" in note for note in result.notes)
    assert [skip.path for skip in scan(tmp_path / "src").skips] == ["train/stray.jpg"]


def test_files_that_one_knows_of_are_ignored(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "more/notes.json": b"[]", "classes.csv": b"a,b\n"})
    assert set(pack_all(tmp_path / "src", tmp_path / "out").reasons.values()) == {"outside-layout"}
    ignoring = pack_all(tmp_path / "src", tmp_path / "known", layout={"ignore": ["more", "*.csv"]})
    assert ignoring.skips == ()


@pytest.mark.parametrize("paper", ["README.md", "README.txt", "LICENSE", "SHA256SUMS"])
@pytest.mark.parametrize("above", ["", "data/", "A/B/C/"])
def test_a_paper_beside_the_folders_changes_no_split(above: str, paper: str, tmp_path: Path) -> None:
    for split, first in (("train", 0), ("val", 10)):
        for number in range(first, first + 2):
            place = tmp_path / "source" / above / split / "cat"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.jpg").write_bytes(tiny_jpeg(number))
    (tmp_path / "source" / (above.split("/", maxsplit=1)[0] if above != "data/" else "") / paper).write_text("words")
    packed = pack(tmp_path / "source", tmp_path / "out", check="header").dataset
    assert packed.splits == ["train", "val"]
    assert packed.manifest.labels == ("cat",)


def test_captions_from_documents_are_extracted_beside_them(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number in range(3):
        (tmp_path / f"source/{number}.jpg").write_bytes(tiny_jpeg(number))
        (tmp_path / f"source/{number}.json").write_text(json.dumps({"caption": f"c{number}", "likes": 3}))
    packed = pack(tmp_path / "source", tmp_path / "out", check="header").dataset
    assert extract(packed, tmp_path / "files").samples == 3
    assert (tmp_path / "files/1.txt").read_text() == "c1"
    assert "likes" in (tmp_path / "files/1.json").read_text()


def captions_of(packed: Packed) -> dict[str, list[str]]:
    return {key: json.loads(sample["json"])["captions"] for key, sample in packed.samples().items()}


SEVERAL_FILES = {
    "two suffixes": {"1.txt": b"a\n", "1.caption": b"b"},
    "with and without the image's": {"1.txt": b"a", "1.jpg.txt": b"b"},
    "in capitals too": {"1.TXT": b"a", "1.txt": b"b"},
    "in two folders": {"1.txt": b"a", "captions/1.txt": b"b"},
    "a table beside texts": {"1.txt": b"a", "captions.csv": b"file_name,caption\n1.jpg,b\n"},
    "a table of several": {"1.txt": b"a", "captions.csv": b"file_name,caption\n1.jpg,b\n1.jpg,a\n"},
}


@pytest.mark.parametrize("files", SEVERAL_FILES.values(), ids=SEVERAL_FILES)
def test_several_captions_in_files_are_all_kept(files: dict[str, bytes], tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), "2.jpg": tiny_jpeg(2), "2.txt": b"two\n", **files})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.skips == ()
    assert captions_of(packed) == {"1": ["a", "b"], "2": ["two"]}
    assert bytes(packed.samples()["2"]["txt"]) == b"two\n"
    result = pack(str(tmp_path / "src"), str(tmp_path / "join"), several_captions="join")
    assert {s.key: bytes(s["txt"]) for s in result.dataset["train"]} == {"1": b"a\nb", "2": b"two\n"}
    assert result.dataset.manifest.members == ("jpg", "txt")
    assert dict(result.account)["files"] == len(files) + 3 == sum(n for c, n in result.account.items() if c != "files")
    first = pack(str(tmp_path / "src"), str(tmp_path / "first"), several_captions="first")
    assert first.skipped == {}
    assert first.dataset.manifest.members == ("jpg", "txt")


@pytest.mark.parametrize("extra", [{"1.caption": b"b"}, {"t.csv": b"image,caption\n1.jpg,b\n"}])
def test_a_second_caption_without_a_place_is_named_with_the_first(extra: dict[str, bytes], tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "1.json": b'{"likes": 3}', **extra})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert set(packed.reasons.values()) == {"caption-extra"}
    (skip,) = packed.skips
    assert skip["path"].startswith(next(iter(extra)))
    assert "1.txt" in skip["detail"]
    assert "1.json" in skip["detail"]
    assert packed.samples()["1"]["txt"] == b"one"
    dropped = pack_all(tmp_path / "src", tmp_path / "none", layout={"drop_members": "json", "ignore": ["*.json"]})
    assert set(dropped.reasons.values()) == {"caption-extra"}


def test_a_second_file_of_metadata_is_named_with_the_first(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "1.json": b'{"a": 1}', "1.jpg.json": b'{"b": 2}'})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.reasons == {"1.jpg.json": "json-extra"}
    assert json.loads(packed.samples()["1"]["json"]) == {"a": 1}


def test_further_captions_that_change_are_packed_anew_and_repaired_from_their_source(tmp_path: Path) -> None:
    write_files(tmp_path / "src", {**GOOD, "1.caption": b"other"})
    dataset = pack(str(tmp_path / "src"), str(tmp_path / "out")).dataset
    shard = tmp_path / "out/train/train-000000.tar"
    whole = shard.read_bytes()
    at = whole.index(b'["one","other"]')
    shard.write_bytes(whole[:at] + b"XXXX" + whole[at + 4 :])
    repair(dataset, spares=[str(tmp_path / "src")])
    assert shard.read_bytes() == whole


YOLO = b"0 0.5 0.5 0.2 0.2\n"


@pytest.mark.parametrize(
    "line",
    [YOLO, b"3 0.1 0.1 0.9 0.1 0.9 0.9\n", b"Car 0.00 0 -1.57 614.2 181.7 727.3 284.7\n", b"1 2 3 4 5 6 7 8 plane 0\n"],
)
@pytest.mark.parametrize("folder", ["", "labels/"])
def test_boxes_beside_images_are_a_member_and_no_captions(folder: str, line: bytes, tmp_path: Path) -> None:
    files = {f"images/{n}.jpg" if folder else f"{n}.jpg": tiny_jpeg(n) for n in range(3)}
    texts = {f"{folder}{n}.txt": line * n for n in range(3)}
    result = pack(
        write_files(tmp_path / "src", {**files, **texts, "captions/1.text": b"4 words, 5 0 0 0 0"}),
        tmp_path / "out",
        ignore=["captions"],
        captions="none",
    )
    assert result.dataset.manifest.members == ("jpg", "boxes.txt")
    assert {s.key: bytes(s["boxes.txt"]) for s in result.dataset["train"]} == {str(n): line * n for n in range(3)}
    assert any("boxes.txt" in note for note in result.notes)


def test_captions_stay_captions_beside_boxes(tmp_path: Path) -> None:
    files = {f"images/{n}.jpg": tiny_jpeg(n) for n in range(2)} | {f"labels/{n}.txt": YOLO for n in range(2)}
    write_files(tmp_path / "src", {**files, **{f"captions/{n}.txt": b"2 dogs and 3 cats, 4 5 6" for n in range(2)}})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.dataset.manifest.members == ("jpg", "txt", "boxes.txt")
    assert packed.skips == ()
    packed = pack_all(tmp_path / "src", tmp_path / "none", layout={"drop_members": "boxes.txt", "ignore": ["labels"]})
    assert packed.dataset.manifest.members == ("jpg", "txt")


def test_masks_and_arrays_in_folders_of_their_own_belong_to_the_images(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for split, n in (("train", 1), ("train", 2), ("val", 3)):
        files |= {f"{split}/images/{n}.jpg": tiny_jpeg(n), f"{split}/masks/{n}.png": b"mask %d" % n}
        files |= {f"{split}/embeddings/{n}.npy": b"array %d" % n, f"{split}/Annotations/{n}.xml": b"<%d/>" % n}
    packed = pack_all(write_files(tmp_path / "src", {**files, "val/masks/9.png": b"of none"}), tmp_path / "out")
    assert packed.dataset.manifest.members == ("jpg", "mask.png", "npy", "xml")
    assert packed.samples()["3"] == {"jpg": tiny_jpeg(3), "mask.png": b"mask 3", "npy": b"array 3", "xml": b"<3/>"}
    assert packed.reasons == {"val/masks/9.png": "outside-layout"}


def test_other_images_in_a_folder_beside_are_samples_of_their_own(tmp_path: Path) -> None:
    names = ["images/1.jpg", "images/2.jpg", "more/8.jpg", "more/9.jpg"]
    write_files(tmp_path / "src", {name: tiny_jpeg(n) for n, name in enumerate(names)})
    assert set(pack_all(tmp_path / "src", tmp_path / "out").samples()) == {name[:-4] for name in names}


def coco(numbers: dict[int, str], **more: Any) -> bytes:
    return json.dumps({"images": [{"id": n + 70, "file_name": name} for n, name in numbers.items()], **more}).encode()


def test_boxes_of_coco_are_in_the_json_of_their_own_images(tmp_path: Path) -> None:
    notes = [{"id": 2, "image_id": 71, "bbox": [1, 2, 3, 4], "category_id": 9}]
    boxes = coco({1: "1.jpg", 2: "2.jpg"}, annotations=notes, categories=[{"id": 9, "name": "dog"}])
    words = coco(
        {1: "1.jpg", 2: "2.jpg"}, annotations=[{"id": 2, "image_id": n + 70, "caption": f"of {n}"} for n in (1, 2)]
    )
    write_files(
        tmp_path / "src",
        {"a/1.jpg": tiny_jpeg(1), "a/2.jpg": tiny_jpeg(2), "notes/instances.json": boxes, "notes/captions.json": words},
    )
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert packed.skips == ()
    assert {key: bytes(sample["txt"]) for key, sample in packed.samples().items()} == {"a/1": b"of 1", "a/2": b"of 2"}
    said = {key: json.loads(sample["json"])["annotations"] for key, sample in packed.samples().items()}
    assert said == {"a/1": [{"id": 2, "bbox": [1, 2, 3, 4], "category_id": 9, "category": "dog"}], "a/2": []}


def test_tables_that_hold_images_among_loose_ones_are_told(tmp_path: Path) -> None:
    sink = io.BytesIO()
    rows = [{"image": {"bytes": tiny_jpeg(n), "path": f"{n}.jpg"}, "text": "x"} for n in range(2)]
    parquet.write_table(pa.Table.from_pylist(rows), sink)
    write_files(tmp_path / "src", {"data/train-00000-of-00001.parquet": sink.getvalue()})
    write_files(tmp_path / "src", {"x.jpg": tiny_jpeg(7)})
    result = pack(tmp_path / "src", tmp_path / "out")
    assert dict(result.skipped) == {"outside-layout": 1}
    (note,) = result.notes
    assert "contains the images themselves" in note
    assert "\\x" not in note


@pytest.mark.parametrize("name", ["1.json", "1.jpg.json", "1.jpg.supplemental-metadata.json"])
@pytest.mark.parametrize("key", ["description", "content", "caption"])
def test_what_downloaders_write_beside_an_image_is_its_caption(name: str, key: str, tmp_path: Path) -> None:
    write_files(tmp_path / "src", {"1.jpg": tiny_jpeg(1), name: json.dumps({key: "words", "n": 3}).encode()})
    packed = pack_all(tmp_path / "src", tmp_path / "out")
    assert bytes(packed.samples()["1"]["txt"]) == b"words"
    assert packed.skips == ()


LIE = {
    "x.caption": {"1.jpg": "i", "1.caption": "one", "2.jpg": "i", "2.caption": "two"},
    "in capitals": {"a/1.JPG": "i", "a/1.TXT": "one"},
    "x.jpg.txt": {"1.jpg": "i", "1.jpg.txt": "one"},
    "captions beside images": {"images/1.jpg": "i", "captions/1.txt": "one"},
    "with splits": {"images/train/1.jpg": "i", "captions/train/1.jpg.txt": "one", "images/val/2.jpg": "i", "captions/val/2.jpg.txt": "two"},
    "documents": {"1.jpg": "i", "1.jpg.json": '{"a":1}', "1.txt": "one"},
    "masks and arrays": {"images/1.jpg": "i", "masks/1.png": "mask", "embeddings/1.npy": "array", "captions/1.caption": "one"},
    "boxes": {"train/images/1.jpg": "i", "train/labels/1.txt": "0 0.5 0.5 0.2 0.2", "val/images/2.jpg": "i", "val/labels/2.txt": "0 0.1 0.1 0.2 0.2"},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIE.values(), ids=LIE)
def test_files_beside_images_are_extracted_under_their_own_names(lie: dict[str, str], tmp_path: Path) -> None:
    files = {name: tiny_jpeg(n) if text == "i" else text.encode() for n, (name, text) in enumerate(lie.items())}
    result = pack(write_files(tmp_path / "src", files), tmp_path / "out")
    assert result.skipped == {}
    extract(result.dataset, tmp_path / "files")
    found = {p.relative_to(tmp_path / "files").as_posix(): p.read_bytes() for p in (tmp_path / "files").rglob("*.*")}
    assert found == files
