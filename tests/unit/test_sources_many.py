"""Listings of very many samples: mapped from a file without a name, and the same table as one that is held."""

from __future__ import annotations

import gc
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wdstools as wt
from tests.support.calls import calls
from tests.support.city_pairs import tiny_jpeg
from wdstools.formats.arrow import to_list
from wdstools.sources import account, base
from wdstools.sources.base import SamplesBuilder
from wdstools.sources.tree import TarTree, ZipTree

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa


def _built() -> SamplesBuilder:
    """Folders of a few samples, some of them with parts that others lack."""
    builder, draw = SamplesBuilder(), np.random.default_rng(0)
    for folder in range(40):
        count = int(draw.integers(1, 9))
        own = {"stem": [f"{folder}_{n}" for n in range(count)], "image_suffix": [(".jpg", ".png")[folder % 2]] * count}
        if folder % 3 == 0:
            own["caption"] = [f"words {n}" if n % 2 else None for n in range(count)]  # type: ignore[misc]
        if folder > 30:
            own["cls"] = list(range(count))  # type: ignore[arg-type]
        shared = {"split": ("train", "val", None)[folder % 3], "label": f"{folder % 4}", "image_dir": f"d{folder}"}
        builder.add(shared, own)
    return builder


@pytest.mark.parametrize("held", [1, 7, 10_000])
def test_a_table_that_is_mapped_is_the_one_that_is_held(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _built().table()
    monkeypatch.setattr(base, "MOST_HELD", held)
    mapped = _built().table()
    assert mapped.schema == whole.schema
    assert mapped.to_pydict() == whole.to_pydict()
    assert mapped.combine_chunks().equals(whole.combine_chunks())


def test_nothing_is_left_of_what_was_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_HELD", 7)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    table = _built().table()
    assert table.num_rows > 0
    del table
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


LAYOUTS = {
    "captions in folders of their own": ("img/train/oslo/{}.jpg", "captions/train/oslo/{}.txt"),
    "captions beside": ("train/{}.jpg", "train/{}.txt"),
    "documents beside": ("train/{}.jpg", "train/{}.json"),
    "labels": ("train/oslo/{}.jpg", ""),
    "a folder each": ("{}/x.jpg", "{}/x.txt"),
    "a table": ("images/{}.jpg", "captions.csv"),
}


def _source(folder: Path, layout: str, count: int) -> Path:
    image, text = LAYOUTS[layout]
    table = "file,caption\n" + "".join(f"{number}.jpg,hello\n" for number in range(count))
    for number in range(count):
        path = folder / image.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiny_jpeg(number % 7))
        if text:
            said = {".csv": table, ".json": '{"caption": "hello"}'}.get(text[text.rindex(".") :], "hello")
            beside = folder / text.format(number)
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(said)
    return folder


def _archived(source: Path, kind: str) -> Path:
    """The source itself, or an archive of it."""
    return source if kind == "folder" else Path(shutil.make_archive(str(source), kind, source))


@pytest.mark.parametrize("kind", ["folder", "tar", "zip"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_twice_as_many_samples_take_twice_as_much_work_to_list(layout: str, kind: str, tmp_path: Path) -> None:
    sources = [_archived(_source(tmp_path / f"{count}", layout, count), kind) for count in (8, 50, 100, 200)]
    _, few, more, most = (calls(partial(wt.scan, source)) for source in sources)  # the first one loads modules
    assert most - more < 2.4 * (more - few)


@pytest.mark.parametrize(("kind", "tree"), [("tar", TarTree), ("zip", ZipTree)])
def test_pairing_takes_as_much_work_in_an_archive_as_in_a_folder(
    kind: str, tree: Callable[[str], object], tmp_path: Path
) -> None:
    """Beyond reading the archive's list of members, and for each file where it is."""
    folders = [_source(tmp_path / f"{count}", "captions in folders of their own", count) for count in (8, 100, 200)]
    archives = [_archived(folder, kind) for folder in folders]
    _, few, many = (calls(partial(wt.scan, folder)) for folder in folders)
    _, few_packed, many_packed = (
        calls(partial(wt.scan, archive)) - calls(partial(tree, str(archive))) for archive in archives
    )
    assert many_packed - few_packed < 1.2 * (many - few)


def _of_many_folders(samples: int) -> SamplesBuilder:
    """Two images a folder, which may share a caption, and captions of other folders."""
    builder = SamplesBuilder()
    for number in range(samples // 2):
        folder, other = f"d{number}", f"d{number // 3}"
        shared = {"image_dir": folder, "caption_dir": other, "caption_suffix": ".txt"}
        own: dict[str, list[Any]] = {
            "stem": ["a_1", "a_2"],
            "image_suffix": [".jpg"] * 2,
            "caption_stem": ["a", "a" if number % 2 else None],
        }
        builder.add(shared, own)
    return builder


@pytest.mark.parametrize("rows", [1, 7, 50, 1 << 16])
def test_files_are_counted_in_parts_as_in_one(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = account.files_of(_of_many_folders(400).table())
    monkeypatch.setattr(account, "_PART_ROWS", rows)
    assert account.files_of(_of_many_folders(400).table()) == whole == 400 + 67 + 67


def test_counting_files_of_many_folders_reads_their_names_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account, "_PART_ROWS", 10)
    asked = [0]

    def noted(array: pa.Array) -> list[Any]:
        asked[-1] += len(array)
        return to_list(array)

    monkeypatch.setattr(account, "to_list", noted)
    account.files_of(_of_many_folders(200).table())
    asked.append(0)
    account.files_of(_of_many_folders(400).table())
    assert 0 < asked[1] < 2.4 * asked[0]
