"""Splits by list and by ratio, end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import Packed, pack_all, write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from wdstools import UsageError, WdsError, extract, pack, repair, scan

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ("london", "miami")
KEYS = [f"{label}/{n}" for label in LABELS for n in range(20)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    files = {}
    for number, key in enumerate(KEYS):
        files[f"img_resized_1M/cities_instagram/{key}.jpg"] = tiny_jpeg(number)
        files[f"captions_resized_1M/cities_instagram/{key}.txt"] = key.encode()
    return write_files(tmp_path / "src", files)


def by_lists(source: Path, tmp_path: Path, **lists: str) -> Packed:
    write_files(tmp_path, {f"{name}.txt": text.encode() for name, text in lists.items()})
    return pack_all(source, tmp_path / "out", splits=[f"{name}={tmp_path / name}.txt" for name in lists])


@pytest.mark.parametrize("line", ["{key}", "{key},0.1,0.2", "{key}.jpg", "{key},3", " {key} ", "{key}\r"])
def test_lists_in_the_wild_are_read(line: str, source: Path, tmp_path: Path) -> None:
    lists = {
        "train": "\n".join(line.format(key=key) for key in KEYS[:30]) + "\n",
        "val": "\n".join(line.format(key=key) for key in KEYS[30:]),
    }
    found = by_lists(source, tmp_path, **lists)
    assert set(found.samples("train")) == set(KEYS[:30])
    assert set(found.samples("val")) == set(KEYS[30:])
    assert found.skips == ()


def test_what_no_list_names_and_what_no_file_has_is_listed(source: Path, tmp_path: Path) -> None:
    found = by_lists(source, tmp_path, train="london/0\nlondon/1\nlondon/unknown\n\n//\n", val="miami/3,1\nnowhere/5\n")
    assert set(found.samples()) == {"london/0", "london/1", "miami/3"}
    reasons = list(found.reasons.values())
    assert reasons.count("split-not-listed") == len(KEYS) - 3
    assert reasons.count("sample-missing") == 2
    assert reasons.count("list-invalid") == 1
    assert {path for path, reason in found.reasons.items() if reason == "sample-missing"} == {
        "london/unknown",
        "nowhere/5",
    }


def test_a_sample_in_two_lists_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        by_lists(source, tmp_path, train="london/0\nlondon/1\n", val="london/2\nlondon/1\n")
    assert caught.value.code == "split-lists"
    assert "london/1" in caught.value.where


def test_a_sample_twice_in_one_list_is_packed_once(source: Path, tmp_path: Path) -> None:
    assert len(by_lists(source, tmp_path, train="london/0\nlondon/0,5\n").samples()) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "paris/1\n", "0\n1\n"])
def test_lists_that_name_no_sample_are_refused(text: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        by_lists(source, tmp_path, train=text)


def test_a_list_that_is_missing_or_no_text_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"london/0\n\xff\xfe\n")
    for name in ("binary", "missing"):
        with pytest.raises(WdsError):
            pack(str(source), str(tmp_path / "out"), splits=[f"train={tmp_path / name}"])
    assert not (tmp_path / "out").exists()


def test_ratios_are_exact_for_each_label(source: Path, tmp_path: Path) -> None:
    found = pack_all(source, tmp_path / "out", splits="train=80,val=5,test=15")
    for label in LABELS:
        counts = {
            split: sum(key.startswith(label) for key in found.samples(split)) for split in ("train", "val", "test")
        }
        assert counts == {"train": 16, "val": 1, "test": 3}
    assert found.skips == ()


@pytest.mark.parametrize(
    ("ratios", "note"),
    [
        ("train=80,val=5,test=16", "the ratios sum to 101, not 100, and were taken in proportion: train 79.21 %"),
        ("train=0.8,val=0.1", "the ratios sum to 0.9, not 1,"),
        ("train=80,val=20,test=20", "the ratios sum to 120, not 100,"),
        ("train=800,val=200", "the ratios sum to 1000, not 100, and were taken in proportion: train 80.00 %"),
        ("train=0.8,val=0.3,test=0.3", "the ratios sum to 1.4, not 1,"),
        ("train=80,val=5,test=15", None),
        ("train=1,val=1", None),
        ("train=1/3,val=2/3", None),
        ("train=8,val=1", None),
        ("train=40,val=2", None),
    ],
)
def test_ratios_with_a_slip_are_said_so(ratios: str, note: str | None, source: Path, tmp_path: Path) -> None:
    ran = run_command("pack", source, tmp_path / "out", "--split", ratios)
    assert ran.code == 0, ran.err
    assert ("sum to" in ran.out) == (note is not None)
    assert note is None or note in ran.out


def test_ratios_do_not_depend_on_the_order_of_files_or_on_other_labels(source: Path, tmp_path: Path) -> None:
    whole = pack_all(source, tmp_path / "out", splits="a=50,b=50")
    for key in KEYS[20:]:
        (source / f"img_resized_1M/cities_instagram/{key}.jpg").unlink()
        (source / f"captions_resized_1M/cities_instagram/{key}.txt").unlink()
    part = pack_all(source, tmp_path / "part", splits="a=50,b=50")
    assert set(part.samples("a")) == {key for key in whole.samples("a") if key.startswith("london")}


def test_identical_images_lie_in_one_split(source: Path, tmp_path: Path) -> None:
    twins = [KEYS[0], KEYS[7], KEYS[25]]
    for key in twins:
        (source / f"img_resized_1M/cities_instagram/{key}.jpg").write_bytes(tiny_jpeg(999))
    found = pack_all(source, tmp_path / "out", splits="train=50,val=50")
    assert len({split for split in ("train", "val") for key in found.samples(split) if key in twins}) == 1
    assert len(found.samples()) == len(KEYS)


def test_one_name_puts_everything_into_one_split(source: Path, tmp_path: Path) -> None:
    assert len(pack_all(source, tmp_path / "out", splits="eval").samples("eval")) == len(KEYS)


@pytest.mark.parametrize(
    "split", ["tar", "a/b", "..", "", "x" * 65, "a b", "train=0", "train=-1,val=2", "=x", "a=1,a=2"]
)
def test_splits_that_cannot_be_are_refused(split: str, source: Path, tmp_path: Path) -> None:
    with pytest.raises(WdsError):
        pack(str(source), str(tmp_path / "out"), splits=[split])
    assert not (tmp_path / "out").exists()


SAME_NAMES = {
    "folders": {"train/1.jpg": tiny_jpeg(1), "train/2.jpg": tiny_jpeg(2), "Val/1.jpg": tiny_jpeg(3)},
    "classes": {"train/a/1.jpg": tiny_jpeg(1), "train/b/2.jpg": tiny_jpeg(2), "test/a/1.jpg": tiny_jpeg(3)},
    "images and captions": {
        **{f"images/{split}/{n}.jpg": tiny_jpeg(n + 10 * len(split)) for split in ("train", "val") for n in range(2)},
        **{f"captions/{split}/{n}.txt": split.encode() for split in ("train", "val") for n in range(2)},
    },
}


@pytest.mark.parametrize("files", SAME_NAMES.values(), ids=SAME_NAMES)
def test_samples_of_one_name_in_two_splits_are_both_kept_and_told(files: dict[str, bytes], tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", files)
    images = {data for name, data in files.items() if name.endswith(".jpg")}
    result = pack(source, tmp_path / "out")
    keys = [sample.key for split in result.dataset.splits for sample in result.dataset[split]]
    assert {bytes(sample["jpg"]) for split in result.dataset.splits for sample in result.dataset[split]} == images
    assert all(key.split("/")[0] in result.dataset.splits for key in keys)
    assert result.skipped == {}
    assert any("begin with their split" in note for note in result.notes)
    seen = scan(source)
    assert (seen.total, sorted(seen.samples)) == (len(images), sorted(result.dataset.splits))
    assert any("begin with their split" in note for note in seen.notes)
    extract(result.dataset, tmp_path / "files")
    back = {
        path.relative_to(tmp_path / "files").as_posix(): path.read_bytes() for path in (tmp_path / "files").rglob("*.*")
    }
    assert {name: data for name, data in back.items() if name.endswith(".jpg")} == {
        name: data for name, data in files.items() if name.endswith(".jpg")
    }  # fmt: skip


def test_what_was_packed_with_splits_in_its_keys_is_repaired_from_its_source(tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", SAME_NAMES["folders"])
    pack(source, tmp_path / "out")
    shard = tmp_path / "out/val/val-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:600] + b"damage" + whole[606:])
    repair(tmp_path / "out", spares=[source])
    assert shard.read_bytes() == whole


def test_names_that_meet_nowhere_keep_their_keys(tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {"train/1.jpg": tiny_jpeg(1), "val/2.jpg": tiny_jpeg(2)})
    result = pack(source, tmp_path / "out")
    assert [sample.key for split in ("train", "val") for sample in result.dataset[split]] == ["1", "2"]
    assert result.notes == ()


PATHS = {f"images/{n}.jpg": tiny_jpeg(n) for n in range(4)}
LISTS = {
    "paths": {"train.txt": b"./images/0.jpg\nimages/1.jpg\n", "val.txt": b"images/2.jpg\n"},
    "names": {"lists/train.txt": b"0.jpg\n1.jpg\n", "lists/val_list.txt": b"2.jpg\r\n"},
    "stems": {"meta/train.txt": b"0\n1\n", "meta/val.txt": b"2\n", "meta/trainval.txt": b"0\n1\n2\n"},
    "with classes": {"train.txt": b"0.jpg 7\n1.jpg 7\n", "val.txt": b"2.jpg,8\n"},
    "of another machine": {
        "train.txt": b"/data/images/0.jpg\n/data/images/1.jpg\n",
        "val.txt": b"/data/images/2.jpg\n",
    },
}


@pytest.mark.parametrize("lists", LISTS.values(), ids=LISTS)
def test_lists_in_the_source_divide_it(lists: dict[str, bytes], tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {**PATHS, **lists})
    result = pack(source, tmp_path / "out")
    assert dict(result.samples) == {"train": 2, "val": 1}
    assert dict(result.skipped) == {"split-not-listed": 1}
    assert (result.account["read"], result.account["outside"]) == (len(lists), 0)
    assert any("splits from" in note for note in result.notes)
    assert dict(scan(source).account) == {("samples" if n == "packed" else n): c for n, c in result.account.items()}


def test_a_line_that_names_no_image_is_told_with_its_number(tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {**PATHS, "train.txt": b"0\n1\n\n9\n2\n", "val.txt": b"3\n"})
    packed = pack_all(source, tmp_path / "out")
    assert packed.reasons == {"9": "sample-missing"}
    assert "line 4" in packed.skips[0]["detail"]


def test_lists_that_contradict_each_other_or_the_folders_are_not_used_and_told(tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {**PATHS, "train.txt": b"0\n1\n", "val.txt": b"1\n2\n"})
    result = pack(source, tmp_path / "out")
    assert dict(result.samples) == {"train": 4}
    assert any("not used" in note and "images/1.jpg" in note for note in result.notes)
    write_files(tmp_path / "both", {"train/1.jpg": tiny_jpeg(1), "val/2.jpg": tiny_jpeg(2), "val.txt": b"1\n"})
    result = pack(tmp_path / "both", tmp_path / "folders")
    assert dict(result.samples) == {"train": 1, "val": 1}
    assert any("not used" in note for note in result.notes)


def test_a_caption_that_is_called_as_a_split_is_a_caption(tmp_path: Path) -> None:
    files = {"train.jpg": tiny_jpeg(1), "train.txt": b"a train", "bus.jpg": tiny_jpeg(2), "bus.txt": b"a bus"}
    packed = pack_all(write_files(tmp_path / "src", files), tmp_path / "out")
    assert {key: bytes(s["txt"]) for key, s in packed.samples().items()} == {"train": b"a train", "bus": b"a bus"}


def test_one_list_alone_divides_nothing_and_is_told(tmp_path: Path) -> None:
    source = write_files(tmp_path / "src", {**PATHS, "test_list.txt": b"0.jpg 0\n1.jpg 0\n2.jpg 1\n3.jpg 2\n"})
    result = pack(source, tmp_path / "out")
    assert dict(result.samples) == {"train": 4}
    assert dict(result.skipped) == {"outside-layout": 1}
    assert any("not used" in note for note in result.notes)
