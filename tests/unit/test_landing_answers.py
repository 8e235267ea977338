"""Files that somebody asked for by name, and lists beside a destination: ours are known, and nothing else is written over."""

from __future__ import annotations

import io
import itertools
import json
import os
from pathlib import Path

import pytest

import wdstools as wt
from tests.support.accounting import write_files
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, WdsError
from wdstools.formats.card import CARD_PATH, render_card
from wdstools.formats.manifest import PROVENANCE_PATH
from wdstools.formats.sums import SUMS_PATH
from wdstools.landing import small_files
from wdstools.landing.answer import is_log, is_page, write_answer, write_answer_of
from wdstools.landing.small_files import assemble, keep_skips, read_provenance, render_provenance, render_skips
from wdstools.results import Skip
from wdstools.stores.memory import MemoryStore

GOLDEN = Path(__file__).parents[1] / "golden/v2/dataset"
MARK = b'<meta name="generator" content="wdstools 1.0">'
LINE = b"2026-11-30T16:08:33.123Z WARNING wdstools.stores.retry [1] text"


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"<html><head>" + MARK, True),
        (b" " * (1024 - len(MARK)) + MARK, True),
        (b" " * (1025 - len(MARK)) + MARK, False),  # nobody's page begins so
        (b'<meta name="generator" content="other">', False),
        (b"", False),
    ],
)
def test_a_page_of_ours_says_so_in_its_head(data: bytes, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / "page").write_bytes(data)
    assert is_page(str(tmp_path / "page")) is is_one


@pytest.mark.parametrize(
    ("data", "is_one"),
    [(LINE, True), (b"", True), (b"\n" + LINE, False), (LINE.replace(b"wdstools", b"other"), False), (b"x", False)],
)
def test_a_log_of_ours_begins_with_a_line_of_it_or_is_empty(data: bytes, is_one: bool, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(data)
    assert is_log(str(tmp_path / "log")) is is_one


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 2 << 20])
def test_an_answer_is_written_whole_and_left_alone_where_it_is_that_already(size: int, tmp_path: Path) -> None:
    data, path = os.urandom(size), tmp_path / "answer"
    write_answer_of(str(path), io.BytesIO(data), "keys")
    assert path.read_bytes() == data
    before = path.stat()
    write_answer(str(path), data, "keys")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    for other in (data + b"x", data[:-1], data[:-1] + b"\0" if data[-1:] != b"\0" else b"\1"):
        if other != data:
            with pytest.raises(StoreError) as caught:
                write_answer(str(path), other, "keys")
            assert caught.value.code == "file-in-the-way"
    assert path.read_bytes() == data


def test_an_answer_is_written_from_its_beginning_wherever_its_file_stands(tmp_path: Path) -> None:
    made = io.BytesIO(MARK + b"text")
    made.read()
    write_answer_of(str(tmp_path / "page"), made, "page")
    assert (tmp_path / "page").read_bytes() == MARK + b"text"
    write_answer(str(tmp_path / "page"), MARK + b"other", "page")
    assert (tmp_path / "page").read_bytes() == MARK + b"other"
    with pytest.raises(StoreError) as caught:
        write_answer(str(tmp_path), MARK, "page")
    assert caught.value.code == "file-in-the-way"
    assert "not a plain file" in caught.value.message
    assert "rm " not in caught.value.hint  # of a folder nobody should be told to remove it
    (tmp_path / "mine").write_bytes(b"mine")
    for kind, is_told in (("page", True), ("log", False)):
        with pytest.raises(StoreError) as caught:
            write_answer(str(tmp_path / "mine"), MARK, kind)
        assert ("rm " in caught.value.hint) is is_told


def _skips(*paths: str) -> list[Skip]:
    return [Skip("image-damaged", path) for path in paths]


def test_a_list_of_what_was_skipped_takes_a_name_that_is_free(tmp_path: Path) -> None:
    dest = str(tmp_path / "out")
    first = keep_skips(dest, _skips("b", "a"))
    assert first == f"{dest}.skipped.jsonl"
    assert keep_skips(dest, _skips("a", "b")) == first  # the same list is there already
    others = [keep_skips(dest, _skips(name)) for name in ("c", "d", "c")]
    assert others == [f"{dest}.skipped-2.jsonl", f"{dest}.skipped-3.jsonl", f"{dest}.skipped-2.jsonl"]
    lines = [json.loads(line) for line in (tmp_path / "out.skipped.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["a", "b"]


def test_small_files_are_written_the_same_way_each_time(tmp_path: Path) -> None:
    assert render_provenance({"b": "é", "a": [1]}) == '{\n "a": [\n  1\n ],\n "b": "é"\n}\n'.encode()
    skip = Skip("image-damaged", "é.jpg", detail="cut")
    assert render_skips([skip, skip]) == '{"detail": "cut", "path": "é.jpg", "reason": "image-damaged"}\n'.encode() * 2
    manifest = open_dataset(str(GOLDEN)).manifest
    made, kept = assemble(manifest, {}, {"a.tar": "0" * 64}), assemble(manifest, {}, {}, b"mine")
    assert (made[CARD_PATH], kept[CARD_PATH]) == (render_card(manifest).encode(), b"mine")
    assert made[SUMS_PATH].count(b"\n") == 2  # the shard's line and the manifest's
    skips = [
        Skip("image-damaged", "a", split=split, key=key, detail=detail)
        for split, key, detail in itertools.product((None, "x"), repeat=3)
    ]
    first = keep_skips(str(tmp_path / "out"), skips)
    assert keep_skips(str(tmp_path / "out"), skips[::-1]) == first


def test_a_list_that_is_longer_or_cannot_be_read_is_another_one(tmp_path: Path) -> None:
    dest = str(tmp_path / "out")
    first = keep_skips(dest, _skips("a"))
    with open(first, "ab") as file:
        file.write(b"more\n")
    os.mkdir(f"{dest}.skipped-2.jsonl")
    assert keep_skips(dest, _skips("a")) == f"{dest}.skipped-3.jsonl"


def test_a_list_lies_beside_the_working_folder_and_here_for_a_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert keep_skips(".", _skips("a")) == f"{os.path.realpath(tmp_path)}/work.skipped.jsonl"
    assert keep_skips("s3://bucket/some/set/", _skips("a")) == "set.skipped.jsonl"
    assert sorted(os.listdir(tmp_path)) == ["work", "work.skipped.jsonl"]
    assert os.listdir() == ["set.skipped.jsonl"]
    with pytest.raises(StoreError):
        keep_skips(str(tmp_path / "absent/out"), _skips("a"))


def test_a_thousand_lists_are_kept(tmp_path: Path) -> None:
    dest = tmp_path / "out"
    for number in range(1, 1001):
        (tmp_path / f"out.skipped{f'-{number}' if number > 1 else ''}.jsonl").touch()
    assert keep_skips(str(dest), _skips("a")) == ""
    (tmp_path / "out.skipped-1000.jsonl").unlink()
    assert keep_skips(str(dest), _skips("a")) == f"{dest}.skipped-1000.jsonl"


def test_where_too_many_lists_lie_none_is_kept_and_the_error_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_files, "_MOST_LISTS", 3)
    hints = []
    for number in range(5):
        write_files(tmp_path / "in", {f"{number}.jpg": b"no image"})  # so that each list is another one
        with pytest.raises(WdsError) as caught:
            wt.pack(tmp_path / "in", tmp_path / "out")
        hints.append(caught.value.hint)
    assert [f"{tmp_path}/out.skipped" in hint for hint in hints] == [True] * 3 + [False] * 2
    assert sorted(os.listdir(tmp_path)) == ["in", "out.skipped-2.jsonl", "out.skipped-3.jsonl", "out.skipped.jsonl"]


def test_provenance_is_that_of_the_dataset_or_else_of_a_copy() -> None:
    store = MemoryStore()
    copies = [None, b"[1]", b"{", b'{"of": "a copy"}', b'{"of": "another"}']
    assert read_provenance(store) == {}
    assert read_provenance(store, copies) == {"of": "a copy"}
    store.put(PROVENANCE_PATH, b"not JSON")
    assert read_provenance(store, copies) == {"of": "a copy"}
    assert read_provenance(store, [b"[]"]) == {}
    store.put(PROVENANCE_PATH, b'{"of": "its own"}')
    assert read_provenance(store, copies) == {"of": "its own"}
