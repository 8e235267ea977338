"""Scan, pack, adopt and the reader give the same answers about tars that something else made."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import pack_all
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from tests.support.foreign_tars import tar_bytes, write
from tests.support.rawtar import END, member
from wdstools import adopt, scan
from wdstools.foreign.member_meaning import class_of

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = [tiny_jpeg(n) for n in range(4)]


def _tar(*members: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT) -> dict[str, bytes]:
    return {"train-000.tar": tar_bytes(members, form)}


#: Files of a place, and what each key's caption and class are; None where there is none.
LAYOUTS: dict[str, tuple[dict[str, bytes], dict[str, tuple[str | None, int | None]]]] = {
    "pairs": (_tar(("a.jpg", IMAGES[0]), ("a.txt", b"one"), ("b.jpg", IMAGES[1]), ("b.txt", b"two")), {"a": ("one", None), "b": ("two", None)}),
    "capitals": (_tar(("a.JPG", IMAGES[0]), ("a.TXT", b"one"), ("a.CLS", b"3")), {"a": ("one", 3)}),
    "other extensions of captions": (_tar(("a.jpeg", IMAGES[0]), ("a.caption", b"one")), {"a": ("one", None)}),
    "eleven digits": (_tar(("a.jpg", IMAGES[0]), ("a.cls", b"00000000012\n")), {"a": (None, 12)}),
    "apart": (_tar(("a.jpg", IMAGES[0]), ("b.jpg", IMAGES[1]), ("a.txt", b"one"), ("b.txt", b"two")), {"a": ("one", None), "b": ("two", None)}),
    "folders in keys": (_tar(("x/a.jpg", IMAGES[0]), ("x/a.txt", b"one"), ("y/a.jpg", IMAGES[1]), ("y/a.txt", b"two")), {"x/a": ("one", None), "y/a": ("two", None)}),
    "hidden and metadata": (_tar(("._a.jpg", b"x"), ("__m__/a.txt", b"x"), ("a.jpg", IMAGES[0]), ("a.txt", b"one")), {"a": ("one", None)}),
    "GNU names": (_tar(("k" * 94 + ".jpg", IMAGES[0]), ("k" * 94 + ".txt", b"one"), form=tarfile.GNU_FORMAT), {"k" * 94: ("one", None)}),
    "pax": (_tar(("é/a.jpg", IMAGES[0]), ("é/a.txt", b"one"), form=tarfile.PAX_FORMAT), {"é/a": ("one", None)}),
    "two archives in one": ({"train-000.tar": member(b"a.jpg", IMAGES[0]) + END + member(b"b.jpg", IMAGES[1]) + END}, {"a": (None, None), "b": (None, None)}),
    "splits": ({"data/train-00000-of-00001.tar": tar_bytes([("a.jpg", IMAGES[0])]), "data/val-00000-of-00001.tar": tar_bytes([("b.jpg", IMAGES[1])])}, {"a": (None, None), "b": (None, None)}),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_verb_gives_the_same_answers(layout: str, tmp_path: Path) -> None:
    files, expected = LAYOUTS[layout]
    folder = write(tmp_path / "s", files)
    adopted = adopt(str(folder), str(tmp_path / "a"))
    packed = pack_all(folder, tmp_path / "p")
    read = {sample.key: sample for split in adopted.dataset.splits for sample in adopted.dataset.split(split)}
    rows = [row for _, entry in adopted.dataset.manifest.shards for row in adopted.dataset.index(entry).to_pylist()]
    assert {row["key"]: (row["caption"], row["cls"]) for row in rows} == expected
    assert set(read) == set(expected)
    samples = packed.samples()
    assert {key.replace("%C3%A9", "é"): (_text(s), _class(s)) for key, s in samples.items()} == expected
    assert {key.replace("%C3%A9", "é"): s["jpg"] for key, s in samples.items()} == {
        key: next(data for ext, data in s.items() if ext.lower() in ("jpg", "jpeg")) for key, s in read.items()
    }
    counted = {split: sum(labels.values()) for split, labels in scan(str(folder)).samples.items()}
    assert counted == adopted.samples == {split: len(packed.dataset[split]) for split in packed.dataset.splits}


def _text(sample: object) -> str | None:
    members: dict[str, bytes] = dict(sample)  # type: ignore[call-overload]
    return members["txt"].decode() if "txt" in members else None


def _class(sample: object) -> int | None:
    members: dict[str, bytes] = dict(sample)  # type: ignore[call-overload]
    return class_of(members["cls"]) if "cls" in members else None


def test_numbers_that_are_missing_are_told_by_scan_pack_and_adopt(tmp_path: Path) -> None:
    names = [f"data/train-{n:05d}-of-00003.tar" for n in range(2)]
    write(tmp_path / "s", {name: tar_bytes([(f"{n}.jpg", IMAGES[n])]) for n, name in enumerate(names)})
    assert "data/train: 2 of 3" in run_command("scan", tmp_path / "s").out
    assert "data/train: 2 of 3" in run_command("adopt", tmp_path / "s", "-o", tmp_path / "a").out
    assert "data/train: 2 of 3" in run_command("pack", tmp_path / "s", tmp_path / "p", "--no-progress").out


@pytest.mark.parametrize("option", [("--members", "npy"), ("--prefix-keys", "shard")])
def test_what_only_shards_know_is_refused_elsewhere(option: tuple[str, str], tmp_path: Path) -> None:
    write(tmp_path / "f", {"1.jpg": IMAGES[0], "1.txt": b"x"})
    ran = run_command("pack", tmp_path / "f", tmp_path / "p", *option, "--no-progress")
    assert (ran.code, option[0] in ran.err) == (2, True)
