"""Datasets and exports that people have, by the names that their makers gave: what becomes of their lists, tables and documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.pictures import encoded
from wdstools import scan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def images(*names: str) -> dict[str, bytes]:
    """Images at these paths, each another."""
    return {name: tiny_jpeg(number) for number, name in enumerate(names, 1)}


def packed(tmp_path: Path, files: Mapping[str, bytes | str], **layout: Any) -> Packed:
    """A folder of these files, packed; every file of it is in one class."""
    write_files(tmp_path / "src", {n: d.encode() if isinstance(d, str) else d for n, d in files.items()})
    account = dict(scan(tmp_path / "src", **layout).account)
    assert account.pop("files") == len(files) == sum(account.values())
    return pack_all(tmp_path / "src", tmp_path / "out", layout=layout)


def keys(found: Packed) -> dict[str, set[str]]:
    """The keys of each split."""
    return {split: set(found.samples(split)) for split in found.dataset.splits}


def captions(found: Packed) -> dict[str, bytes]:
    """The caption of each sample."""
    return {key: bytes(sample["txt"]) for key, sample in found.samples().items()}


def document(found: Packed, key: str) -> Any:
    """The ``json`` of a sample."""
    return json.loads(bytes(found.samples()[key]["json"]))


CUB = ("001.Albatross/a1", "001.Albatross/a2", "002.Auklet/b1", "002.Auklet/b2")


def cub(top: str = "") -> dict[str, bytes | str]:
    """CUB-200-2011 as it is distributed, a few of its birds."""
    lists = {
        "images.txt": "".join(f"{n} {name}.jpg\n" for n, name in enumerate(CUB, 1)),
        "image_class_labels.txt": "1 1\n2 1\n3 2\n4 2\n",
        "train_test_split.txt": "1 1\n2 0\n3 0\n4 1\n",
        "classes.txt": "1 001.Albatross\n2 002.Auklet\n",
        "bounding_boxes.txt": "1 60.0 27.0 325.0 304.0\n",
    }
    return {
        **images(*(f"{top}images/{name}.jpg" for name in CUB)),
        **{top + name: text for name, text in lists.items()},
    }


@pytest.mark.parametrize("top", ["", "CUB_200_2011/"])
def test_the_birds_of_cub_are_divided_as_their_lists_say(top: str, tmp_path: Path) -> None:
    found = packed(tmp_path, cub(top))
    assert keys(found) == {
        "train": {"001%2EAlbatross/a1", "002%2EAuklet/b2"},
        "test": {"001%2EAlbatross/a2", "002%2EAuklet/b1"},
    }
    assert found.dataset.manifest.labels == ("001.Albatross", "002.Auklet")
    assert found.reasons == {f"{top}bounding_boxes.txt": "outside-layout"}


def test_an_image_in_no_line_of_a_partition_is_named_and_so_is_a_line_of_no_image(tmp_path: Path) -> None:
    files = cub()
    files |= {"train_test_split.txt": "1 1\n2 0\n3 0\n", "images.txt": f"{files['images.txt']!s}5 003.Gone/c.jpg\n"}
    files["train_test_split.txt"] = "1 1\n2 0\n3 0\n5 1\n"
    found = packed(tmp_path, files)
    assert found.reasons["images/002.Auklet/b2.jpg"] == "split-not-listed"
    assert found.reasons["003.Gone/c.jpg"] == "sample-missing"


CELEBS = [f"img_align_celeba/{n:06d}" for n in range(1, 7)]


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_celeba_is_divided_by_its_partition_and_keeps_its_attributes(form: str, tmp_path: Path) -> None:
    names = [name.rpartition("/")[2] + ".jpg" for name in CELEBS]
    if form == "csv":
        lists = {
            "list_eval_partition.csv": "image_id,partition\n"
            + "".join(f"{name},{n // 2}\n" for n, name in enumerate(names)),
            "list_attr_celeba.csv": "image_id,Bald,Young\n" + "".join(f"{name},-1,1\n" for name in names),
        }
    else:
        lists = {
            "list_eval_partition.txt": "".join(f"{name} {n // 2}\n" for n, name in enumerate(names)),
            "list_attr_celeba.txt": "6\nBald Young \n" + "".join(f"{name} -1  1\n" for name in names),
        }
    found = packed(tmp_path, {**images(*(f"{name}.jpg" for name in CELEBS)), **lists})
    assert keys(found) == {"train": set(CELEBS[:2]), "val": set(CELEBS[2:4]), "test": set(CELEBS[4:])}
    assert document(found, CELEBS[0]) == {"Bald": "-1", "Young": "1"}
    assert found.skips == ()


def test_a_partition_in_words_below_a_count_and_a_header(tmp_path: Path) -> None:
    lines = "img/a.jpg  train\nimg/b.jpg   val\nimg/c.jpg test\n"
    text = f"3\nimage_name  evaluation_status\n{lines}"
    found = packed(tmp_path, {**images("img/a.jpg", "img/b.jpg", "img/c.jpg"), "Eval/list_eval_partition.txt": text})
    assert keys(found) == {"train": {"img/a"}, "val": {"img/b"}, "test": {"img/c"}}


def test_of_lists_that_divide_in_two_ways_those_of_the_folder_of_most_images_count(tmp_path: Path) -> None:
    sets = "VOC2012/ImageSets/"
    files: dict[str, bytes | str] = {**images(*(f"VOC2012/JPEGImages/{n}.jpg" for n in "abc"))}
    files |= {f"{sets}Main/train.txt": "a\n", f"{sets}Main/val.txt": "b\nc\n", f"{sets}Main/trainval.txt": "a\nb\nc\n"}
    files |= {
        f"{sets}Main/cat_train.txt": "a -1\n",
        f"{sets}Segmentation/train.txt": "c\n",
        f"{sets}Segmentation/val.txt": "a\n",
    }
    found = packed(tmp_path, files)
    assert keys(found) == {"train": {"JPEGImages/a"}, "val": {"JPEGImages/b", "JPEGImages/c"}}
    assert set(found.reasons) == {f"{sets}Segmentation/train.txt", f"{sets}Segmentation/val.txt"}
    assert any("another division" in note for note in scan(tmp_path / "src").notes)


def test_parts_of_a_set_are_no_classes_and_train_val_is_one_split(tmp_path: Path) -> None:
    table = "Image Index,Finding Labels\n1.jpg,Hernia|Mass\n2.jpg,No Finding\n"
    files: dict[str, bytes | str] = {
        **images("images_001/images/1.jpg", "images_002/images/2.jpg"),
        "Data_Entry.csv": table,
    }
    found = packed(tmp_path, files | {"train_val_list.txt": "1.jpg\n", "test_list.txt": "2.jpg"})
    assert keys(found) == {"trainval": {"images_001/images/1"}, "test": {"images_002/images/2"}}
    assert found.dataset.manifest.labels == ()
    assert document(found, "images_001/images/1") == {"Finding Labels": "Hernia|Mass"}


@pytest.mark.parametrize(
    ("photograph", "metadata"),
    [
        ("IMG_1.jpg", "IMG_1.jpg.json"),
        ("IMG_1.JPG", "IMG_1.JPG.supplemental-metadata.json"),
        ("IMG_1.jpg", "IMG_1.jpg.supplemental-me.json"),
        ("IMG_1.jpg", "IMG_1.jpg.s.json"),
        ("IMG_1(1).jpg", "IMG_1.jpg(1).json"),
        ("IMG_1(2).jpg", "IMG_1.jpg.supplemental-metadata(2).json"),
        ("IMG_1-edited.jpg", "IMG_1.jpg.json"),
        ("IMG_1-edited(1).jpg", "IMG_1.jpg(1).json"),
        (
            "a very long name that somebody once gave a photograph.jpg",
            "a very long name that somebody once gave a pho.json",
        ),
    ],
)
def test_documents_of_google_takeout_belong_to_their_photographs(
    photograph: str, metadata: str, tmp_path: Path
) -> None:
    files: dict[str, bytes | str] = {**images(photograph, "other.jpg")}
    files |= {
        metadata: json.dumps({"title": photograph, "description": "a day"}),
        "other.jpg.json": '{"description": "b"}',
    }
    found = packed(tmp_path, files)
    assert sorted(captions(found).values()) == [b"a day", b"b"]
    assert found.skips == ()


def test_an_edited_copy_shares_the_document_of_the_photograph(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {**images("a.jpg", "a-edited.jpg"), "a.jpg.json": '{"description": "one"}'}
    assert captions(packed(tmp_path, files)) == {"a": b"one", "a-edited": b"one"}


def test_posts_of_instagrams_export_are_captions(tmp_path: Path) -> None:
    posts = [
        {"media": [{"uri": "media/posts/202101/1.jpg", "title": "l\u00c3\u00a9ger"}]},
        {"media": [{"uri": f"media/posts/202101/{n}.jpg", "title": ""} for n in "23"], "title": "two of a kind"},
    ]
    files: dict[str, bytes | str] = {**images(*(f"media/posts/202101/{n}.jpg" for n in "123"))}
    found = packed(tmp_path, files | {"content/posts_1.json": json.dumps(posts)})
    said = captions(found)
    assert said["media/posts/202101/1"] == "léger".encode()
    assert said["media/posts/202101/2"] == said["media/posts/202101/3"] == b"two of a kind"


def test_a_document_with_one_list_of_rows_is_a_table(tmp_path: Path) -> None:
    stories = {"ig_stories": [{"uri": "1.jpg", "title": "one"}, {"uri": "2.jpg", "title": "two"}], "count": 2}
    found = packed(tmp_path, {**images("1.jpg", "2.jpg"), "stories.json": json.dumps(stories)})
    assert captions(found) == {"1": b"one", "2": b"two"}


def test_prompts_of_diffusiondb_are_captions(tmp_path: Path) -> None:
    said = {f"{n}.png": {"p": f"prompt {n}", "se": 1, "c": 7.0, "st": 50, "sa": "k_lms"} for n in "ab"}
    files: dict[str, bytes | str] = {f"part-000001/{n}.png": encoded("PNG") for n in "ab"}
    found = packed(tmp_path, files | {"part-000001/part-000001.json": json.dumps(said)})
    assert captions(found) == {"a": b"prompt a", "b": b"prompt b"}
    assert document(found, "a")["sa"] == "k_lms"


def test_files_of_img2dataset_beside_folders_of_images_are_no_loss(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {**images("00000/000000000.jpg", "00000/000000001.jpg")}
    files |= {f"00000/00000000{n}.txt": f"words {n}" for n in "01"}
    files |= {f"00000/00000000{n}.json": json.dumps({"url": "http://h/a.jpg", "key": n}) for n in "01"}
    found = packed(tmp_path, files | {"00000.parquet": b"not looked at", "00000_stats.json": '{"count": 2}'})
    assert found.skips == ()
    assert any("describe them" in note for note in scan(tmp_path / "src").notes)


def test_of_columns_that_may_name_images_that_counts_which_does(tmp_path: Path) -> None:
    table = "url,caption,key\nhttp://host/x.jpg,one,0001\nhttp://host/x.jpg,two,0002\n"
    assert captions(packed(tmp_path, {**images("a/0001.jpg", "a/0002.jpg"), "x.csv": table})) == {
        "a/0001": b"one",
        "a/0002": b"two",
    }


@pytest.mark.parametrize(
    ("name", "text", "member"),
    [
        ("captions.txt", "a.jpg\tone, two\nb.jpg\tthree\n", "txt"),
        ("captions.csv", "a.jpg,one\nb.jpg,two\n", "txt"),
        ("annotations.csv", '"x/a.jpg"|one\nb.jpg|two\n', "txt"),
        ("labels.csv", "a.jpg,cat\nb.jpg,dog\n", "cls"),
        ("labels.txt", "a.jpg cat\nb.jpg dog\n", "cls"),
    ],
)
def test_a_table_without_a_header_has_its_first_row_too(name: str, text: str, member: str, tmp_path: Path) -> None:
    found = packed(tmp_path, {**images("x/a.jpg", "x/b.jpg"), name: text})
    assert found.dataset.manifest.members == ("jpg", member)
    assert len(found.samples()) == 2
    assert found.skips == ()


def test_a_blank_behind_each_delimiter_is_no_part_of_a_cell(tmp_path: Path) -> None:
    table = "image_name| comment_number| comment\na.jpg| 0| Two guys .\nb.jpg| 0| One\nb.jpg| 4   A dog runs .\n"
    found = packed(tmp_path, {**images("a.jpg", "b.jpg"), "results.csv": table})
    assert captions(found) == {"a": b"Two guys .", "b": b"One"}
    assert found.skips[0]["reason"] == "row-damaged"
    assert "row 4" in found.skips[0]["detail"]


def test_a_form_to_fill_in_gives_no_labels(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {**images("train/a.jpg", "train/b.jpg", "test1/1.jpg")}
    files |= {"train.csv": "id,label\na,0\nb,1\n", "sampleSubmission.csv": "id,label\n1,0\n"}
    found = packed(tmp_path, files)
    assert keys(found) == {"train": {"a", "b"}}
    assert found.reasons == {"test1/1.jpg": "label-missing", "sampleSubmission.csv": "outside-layout"}


def test_a_folder_called_as_a_split_and_a_digit_is_one_where_no_other_is(tmp_path: Path) -> None:
    assert keys(packed(tmp_path, {**images("train/a.jpg", "test1/b.jpg")})) == {"train": {"a"}, "test": {"b"}}
    both = packed(tmp_path / "both", {**images("train/a.jpg", "test1/b.jpg", "test2/c.jpg")})
    assert both.reasons == {"test1/b.jpg": "outside-layout", "test2/c.jpg": "outside-layout"}


def test_a_document_about_classes_is_no_table_of_captions(tmp_path: Path) -> None:
    said = json.dumps({str(n): f"disease {n}" for n in range(5)})
    found = packed(tmp_path, {**images("1.jpg", "20.jpg"), "label_num_to_disease_map.json": said})
    assert found.dataset.manifest.members == ("jpg",)
    assert found.reasons == {"label_num_to_disease_map.json": "outside-layout"}


@pytest.mark.parametrize("column", ["ImageId", "image id", "IMAGE-ID", "image_file_name", "imgName"])
def test_a_header_is_read_whatever_stands_between_its_words(column: str, tmp_path: Path) -> None:
    found = packed(tmp_path, {**images("a.jpg", "b.jpg"), "metadata.csv": f"{column},Alt-Text\na.jpg,one\nb.jpg,two\n"})
    assert captions(found) == {"a": b"one", "b": b"two"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.csv", "sep=;\r\nfile_name;text\r\na.jpg;one, two\r\nb.jpg;three\r\n"),
        ("captions.csv", '"sep=|"\nfile_name|text\na.jpg|one, two\nb.jpg|three\n'),
        ("captions.json", '{"image": "a.jpg", "text": "one, two"}\n{"image": "b.jpg", "text": "three"}\n'),
        ("metadata.jsonl", '[{"file_name": "a.jpg", "text": "one, two"},\n {"file_name": "b.jpg", "text": "three"}]'),
        ("data.json", '{"train": [{"image": "a.jpg", "text": "one, two"}, {"image": "b.jpg", "text": "three"}]}'),
    ],
)
def test_a_table_is_read_as_what_it_is_whatever_it_is_called(name: str, text: str, tmp_path: Path) -> None:
    found = packed(tmp_path, {**images("a.jpg", "b.jpg"), name: text})
    assert captions(found) == {"a": b"one, two", "b": b"three"}
    assert found.skips == ()


def test_rows_listed_by_their_split_are_in_it(tmp_path: Path) -> None:
    said = {"train": [{"image": "a.jpg", "text": "one"}], "validation": [{"image": "b.jpg", "text": "two"}]}
    found = packed(tmp_path, {**images("a.jpg", "b.jpg"), "data.json": json.dumps(said)})
    assert keys(found) == {"train": {"a"}, "validation": {"b"}}


@pytest.mark.parametrize("cell", ['"[\'one\', ""it\'s two""]"', '"[""one"", ""it\'s two""]"'])
def test_a_list_that_was_written_into_a_cell_is_a_list(cell: str, tmp_path: Path) -> None:
    table = f"file_name,captions\na.jpg,{cell}\nb.jpg,[not a list]\n"
    found = packed(tmp_path, {**images("a.jpg", "b.jpg"), "metadata.csv": table})
    assert captions(found) == {"a": b"one", "b": b"[not a list]"}
    assert document(found, "a")["captions"] == ["one", "it's two"]


@pytest.mark.parametrize(
    "cell", ["[" * 5000 + "'a'" + "]" * 5000, "['" + "a" * 100_000, "['a', 1]", "[]", "['a'] or so"]
)
def test_what_only_looks_like_a_list_is_a_caption(cell: str, tmp_path: Path) -> None:
    found = packed(tmp_path, {**images("a.jpg"), "metadata.tsv": f"file_name\tcaption\na.jpg\t{cell}\n"})
    assert captions(found) == {"a": cell.encode()}


def test_the_caption_of_an_image_of_a_type_that_is_not_read_is_not_said_to_lack_it(tmp_path: Path) -> None:
    found = packed(tmp_path, {**images("b.jpg"), "b.txt": "x", "a.tga": "targa", "a.txt": "one", "c.txt": "lost"})
    assert found.reasons == {"a.tga": "outside-layout", "a.txt": "caption-extra", "c.txt": "image-missing"}


@pytest.mark.parametrize("extension", ["jfif", "jif", "JPE", "pjpeg", "pjp", "mpo"])
def test_a_jpeg_under_any_of_its_names_is_packed(extension: str, tmp_path: Path) -> None:
    name = f"a.{extension}"
    assert packed(tmp_path, images(name)).samples()["a"]["jpg"] == tiny_jpeg(1)
