"""Layouts with one file of captions for all images: InstaBarcelona's, MMHS150K's, and recipes of one's own."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.accounting import pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from wdstools import FormatError, UsageError, open_source, scan

if TYPE_CHECKING:
    from pathlib import Path

TWEETS = {
    str(n): {
        "img_url": f"http://example.org/{n}.jpg",
        "labels": [n % 6, 0, 0],
        "tweet_url": f"https://example.org/user/status/{n}",
        "tweet_text": f"été 東京 {n}",
        "labels_str": ["Racist", "NotHate", "NotHate"],
    }
    for n in range(1, 7)
}


def tweets(folder: Path) -> Path:
    """MMHS150K in small: six tweets, lists of three splits, and the text read off the images, which is left alone."""
    files = {f"img_resized/{n}.jpg": tiny_jpeg(int(n)) for n in TWEETS}
    files |= {f"img_txt/{n}.json": b'{"img_text": "words"}' for n in TWEETS}
    files["MMHS150K_GT.json"] = json.dumps(TWEETS).encode()
    lists = {"train": "1\n2\n3\n4", "val": "5\n", "test": "6\n"}
    files |= {f"splits/{split}_ids.txt": ids.encode() for split, ids in lists.items()}
    files["hatespeech_keywords.txt"] = b"word\n"
    return write_files(folder, files)


def test_tweets_with_annotations_and_lists_of_splits_are_packed_as_they_were_published(tmp_path: Path) -> None:
    found = scan(str(tweets(tmp_path / "MMHS150K")))
    assert (found.recipe, found.samples) == ("mmhs150k", {"train": {"": 4}, "val": {"": 1}, "test": {"": 1}})
    packed = pack_all(tmp_path / "MMHS150K", tmp_path / "out")
    assert packed.skips == ()
    assert packed.dataset.manifest.name == "MMHS150K"
    samples = packed.samples()
    assert {split: sorted(packed.samples(split)) for split in ("train", "val", "test")} == {
        "train": ["1", "2", "3", "4"],
        "val": ["5"],
        "test": ["6"],
    }
    for number, said in TWEETS.items():
        sample = samples[number]
        assert sample["jpg"] == tiny_jpeg(int(number))
        assert sample["txt"].decode() == said["tweet_text"]
        assert json.loads(sample["json"]) == {name: value for name, value in said.items() if name != "tweet_text"}


def test_without_its_lists_everything_is_of_one_split(tmp_path: Path) -> None:
    folder = tweets(tmp_path / "in")
    for path in (folder / "splits").iterdir():
        path.unlink()
    assert sorted(pack_all(folder, tmp_path / "out").samples("train")) == sorted(TWEETS)


@pytest.mark.parametrize("folder", ["img", "img_resized"])
def test_images_with_one_json_of_captions_are_packed(folder: str, tmp_path: Path) -> None:
    captions = {"a": "#barcelona 🏖", "b": "La Rambla\nby night", "c": ""}
    files = {f"{folder}/{name}.jpg": tiny_jpeg(ord(name)) for name in captions}
    write_files(tmp_path / "in/InstaBarcelona", {**files, "captions.json": json.dumps(captions).encode()})
    assert scan(str(tmp_path / "in")).recipe == "instabarcelona"
    packed = pack_all(tmp_path / "in", tmp_path / "out")
    assert {name: sample["txt"].decode() for name, sample in packed.samples().items()} == captions
    assert packed.dataset.manifest.members == ("jpg", "txt")


def test_every_image_row_and_line_is_packed_or_named(tmp_path: Path) -> None:
    folder = tweets(tmp_path / "in")
    said = {**TWEETS, "8": {"tweet_text": "no image"}, "3": {"labels": [0]}, "4": {"tweet_text": "half \ud83d"}}
    del said["2"]
    images = {f"img_resized/{n}.jpg": tiny_jpeg(n) for n in (7, 9)}
    write_files(folder, {**images, "MMHS150K_GT.json": json.dumps({**said, "7": TWEETS["1"]}).encode()})
    (folder / "splits/val_ids.txt").write_text("5\n10\n9\n")
    packed = pack_all(folder, tmp_path / "out")
    assert sorted(packed.samples()) == ["1", "5", "6"]
    assert packed.reasons == {
        "img_resized/2.jpg": "caption-missing",
        "img_resized/3.jpg": "caption-missing",
        "img_resized/4.jpg": "caption-not-utf8",
        "img_resized/7.jpg": "split-not-listed",
        "img_resized/9.jpg": "caption-missing",
        "8": "image-missing",
        "10": "sample-missing",
    }
    optional = pack_all(folder, tmp_path / "optional", layout={"captions": "optional"})
    assert optional.samples()["3"]["txt"] == b""


def test_an_archive_gives_the_root_of_its_folder(tmp_path: Path) -> None:
    folder = tweets(tmp_path / "MMHS150K")
    with zipfile.ZipFile(tmp_path / "MMHS150K.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    zipped = pack_all(tmp_path / "MMHS150K.zip", tmp_path / "zipped")
    assert zipped.dataset.root == pack_all(folder, tmp_path / "out").dataset.root


RECIPE = """
name = "mine"
captions = "required"
[[layouts]]
image = "photos/{id}.*"
table = { path = "TABLE", caption = "words" }
"""
ROWS: list[dict[str, Any]] = [{"id": "x", "words": "one", "n": 1}, {"id": "y", "words": "two", "n": 2}]
TABLES = {
    "t.json": json.dumps(ROWS),
    "t.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "t.csv": "id,words,n\nx,one,1\ny,two,2\n",
    "files.json": json.dumps([{"file": f"photos/{row['id']}.jpg", "words": row["words"]} for row in ROWS]),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_recipe_of_ones_own_names_its_table_and_its_field(table: str, tmp_path: Path) -> None:
    images = {f"in/photos/{name}.jpg": tiny_jpeg(ord(name)) for name in "xy"}
    write_files(tmp_path, {**images, f"in/{table}": TABLES[table].encode()})
    (tmp_path / "mine.toml").write_text(RECIPE.replace("TABLE", table))
    packed = pack_all(tmp_path / "in", tmp_path / "out", layout={"recipe": str(tmp_path / "mine.toml")})
    assert {name: sample["txt"].decode() for name, sample in packed.samples().items()} == {"x": "one", "y": "two"}
    assert packed.skips == ()


@pytest.mark.parametrize(
    "table",
    [
        b"",
        b"{",
        b"[1]",
        b"3",
        b'{"a": 1, "a": 2}',
        b'{"a": "\xff"}',
        b'[{"words": "no id"}]',
        b"[" * 100_000,
        b'[{"id": 1, "words": "x"}, {"id": "1", "words": "y"}]',
    ],
)
def test_a_table_that_cannot_be_read_is_one_clear_error(table: bytes, tmp_path: Path) -> None:
    write_files(tmp_path, {"img_resized/a.jpg": tiny_jpeg(1), "captions.json": table})
    with pytest.raises(FormatError) as caught:
        open_source(str(tmp_path), recipe="instabarcelona").list()
    assert caught.value.code == "table-damaged"


def test_an_id_in_two_lists_is_refused(tmp_path: Path) -> None:
    folder = tweets(tmp_path)
    (folder / "splits/val_ids.txt").write_text("1\n")
    with pytest.raises(UsageError, match="two split lists"):
        scan(str(folder))


@pytest.mark.parametrize(
    "line",
    [
        "table = { path = '../x.json' }",
        "table = { path = '/x.json' }",
        "table = { where = 'x.json' }",
        "table = 'x.json'",
        "lists = 'splits.txt'",
        "lists = '../{split}.txt'",
        "table = { path = 'x.json' }\ncaption = '{id}.txt'",
        "other = 1",
    ],
)
def test_a_layout_that_cannot_be_is_refused(line: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(f"name = 'r'\n[[layouts]]\nimage = '{{id}}.jpg'\n{line}\n")
    write_files(tmp_path / "in", {"a.jpg": tiny_jpeg(1)})
    with pytest.raises(UsageError) as caught:
        open_source(str(tmp_path / "in"), recipe=str(tmp_path / "r.toml")).list()
    assert caught.value.code == "recipe-invalid"
