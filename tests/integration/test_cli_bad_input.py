"""No command prints a traceback, raw control characters, or nothing at all, whatever it is given."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import assert_clean_failure, run_command
from tests.support.unprivileged import unprivileged
from wdstools.ops.verify import verify_path

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = ("new\nline", "esc\x1b[31mred", "bell\x07", "not-utf8-\udcff\udcfe", "bidi\u202egpj")
ALL_AT_ONCE = " ".join(HOSTILE)
BAD = (
    "missing",
    "random bytes",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("empty folder", "empty file", "json", "text")),
)


def _make(kind: str, folder: Path) -> Path:
    path = folder / "input"
    contents = {
        "empty file": b"",
        "random bytes": random.Random(1).randbytes(3000),
        "json": b'{"format":1,"splits":[1,2,{}]}\n',
        "text": b"hello, this is no list\n",
    }
    if kind == "empty folder":
        path.mkdir()
    elif kind in contents:
        path.write_bytes(contents[kind])
    return path


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("command", ["scan", "pack", "verify", "info", "ls", "cat"])
def test_a_path_that_is_nothing_of_ours_is_refused_in_words(tmp_path: Path, command: str, kind: str) -> None:
    path = _make(kind, tmp_path)
    more = {"pack": [str(tmp_path / "out")], "cat": ["a.jpg"]}.get(command, [])
    ran = run_command(command, path, *more, "--json")
    assert_clean_failure(ran, 2, 4, 5)
    assert ran.out == ""
    assert ran.error["exit_code"] == ran.code
    assert ran.error["message"]
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.partial").exists()


WRONG = (
    (),
    ("nonsense",),
    ("verify",),
    ("pack", "only-source"),
    ("verify", ".", "--nonsense"),
    ("verify", ".", "--part", "0/3"),
    ("verify", ".", "--part", "x"),
    ("verify", ".", "--part", "\u00b2/3"),
    ("verify", ".", "--part", f"1/{'9' * 5_000}"),
    ("repair", ".", "--root", ""),
    ("verify", ".", "--level", "deep"),
    ("verify", ".", "--digest", "md5"),
    ("scan", ".", "--color", "purple"),
    ("scan", ".", "--captions", "maybe"),
    ("pack", ".", "out", "--jobs", "-1"),
    ("pack", ".", "out", "--executor", "cluster"),
    ("pack", ".", "out", "--split", "tarot"),
    ("pack", ".", "out", "--shards", "0"),
    ("pack", ".", "out", "--shard-samples", "0"),
    ("pack", ".", "out", "--seed", "-1"),
    ("pack", ".", "out", "--quality", "900", "--resize", "10"),
    ("pack", ".", "out", "--mode", "fold", "--resize", "10"),
    ("pack", ".", "out", "--only", "gif"),
    ("pack", ".", "out", "--check", "never"),
    ("demo", "out", "--samples", "0"),
)
#: Refused by the same few lines as the ones before them.
RARELY = WRONG[10:-1]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(each, id=" ".join(each) or "none", marks=pytest.mark.slow if each in RARELY else ())
        for each in WRONG
    ],
)
def test_wrong_usage_exits_2_and_writes_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    write_city_pairs(tmp_path / "here", train=2, val=1)
    before = sorted((tmp_path / "here").rglob("*"))
    ran = run_command(*arguments, cwd=tmp_path / "here")
    assert ran.code == 2, (ran.code, ran.out, ran.err)
    assert "Traceback" not in ran.err + ran.out
    assert (ran.err + ran.out).strip()
    assert sorted((tmp_path / "here").rglob("*")) == before


def _assert_printable(*texts: str) -> None:
    for text in texts:
        assert [c for c in text if c != "\n" and (ord(c) < 32 or "\ud800" <= c <= "\udfff" or c == "\u202e")] == []
        assert "Traceback" not in text


@pytest.mark.parametrize("command", ["scan", "pack", "verify", "info", "ls", "cat"])
def test_a_hostile_path_in_an_error_is_printed_escaped(tmp_path: Path, command: str) -> None:
    more = {"pack": ["out"], "cat": ["a.jpg"]}.get(command, [])
    for options in ((), ("--json",)):
        ran = run_command(command, ALL_AT_ONCE, *more, *options, cwd=tmp_path)
        assert_clean_failure(ran, 4)
        _assert_printable(ran.out, ran.err)


@pytest.mark.parametrize(
    "name", [ALL_AT_ONCE, *(pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE)], ids=ascii
)
def test_source_and_destination_may_have_hostile_names(tmp_path: Path, name: str) -> None:
    source = write_city_pairs(tmp_path / f"source {name}", train=3, val=2)
    dest = tmp_path / f"out {name}"
    for command in (
        ("scan", source),
        ("pack", source, dest),
        ("verify", dest),
        ("info", dest),
        ("ls", dest),
        ("ls", dest, "train"),
    ):
        ran = run_command(*command)
        assert ran.code == 0, (command, ran.err)
        _assert_printable(ran.out, ran.err)
    shard = next(dest.glob("train/*.tar"))
    shard.write_bytes(b"x" + shard.read_bytes()[1:])
    ran = run_command("verify", dest)
    assert ran.code == 1, ran.err
    _assert_printable(ran.out, ran.err)


def test_files_with_hostile_names_are_packed_or_named(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    stems = ["plain", *HOSTILE, "dots.in.it", "sp ace", "per%cent", "ünï", "a" * 200]
    for number, stem in enumerate(stems):
        (source / f"{stem}.jpg").write_bytes(tiny_jpeg(number))
        (source / f"{stem}.txt").write_text("caption")
    (source / "lonely\x1b[2J.jpg").write_bytes(tiny_jpeg(99))
    for command in (("scan", source), ("pack", source, tmp_path / "out")):
        ran = run_command(*command)
        assert ran.code in (0, 3), ran.err
        _assert_printable(ran.out, ran.err)
    ran = run_command("pack", source, tmp_path / "json", "--json")
    skipped = map(json.loads, (tmp_path / "json/.wdstools/skipped.jsonl").read_text().splitlines())
    images = [skip["path"] for skip in skipped if skip["path"].endswith(".jpg")]
    assert sum(ran.summary["samples"].values()) + len(images) == len(stems) + 1
    _assert_printable(ran.out, ran.err)
    assert verify_path(str(tmp_path / "out"), level="samples").ok


def test_a_hostile_dataset_name_is_printed_escaped(tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=2, val=1)
    name = "red\x1b[31m\nline"
    assert run_command("pack", source, tmp_path / "out", "--name", name).code == 0
    for command in (("info", tmp_path / "out"), ("verify", tmp_path / "out")):
        ran = run_command(*command)
        assert ran.code == 0
        _assert_printable(ran.out, ran.err)
        assert "\nline" not in ran.out


@pytest.mark.parametrize(
    "arguments", [("ls", "DATASET", "nowhere"), ("cat", "DATASET", "oslo/99"), ("cat", "DATASET", "oslo/no.jpg")]
)
def test_what_a_dataset_does_not_hold_is_refused_in_words(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    source = write_city_pairs(tmp_path / "source", train=2, val=1)
    dest = tmp_path / "out"
    assert run_command("pack", source, dest).code == 0
    ran = run_command(*(str(dest) if word == "DATASET" else word for word in arguments), "--json")
    assert_clean_failure(ran, 2, 4)
    assert ran.error.get("hint") or ran.error.get("expected")


@pytest.mark.parametrize(
    "arguments",
    [
        ("mirror", "DATASET", "DATASET", "-y"),
        ("mirror", "DATASET", "DATASET/train", "-y"),
        ("pull", "DATASET", "DATASET/."),
        ("pull", "DATASET", "DATASET/copy"),
        ("extract", "DATASET", "DATASET/files"),
        ("remove", "DATASET", "--where", "label == 'oslo'", "-o", "DATASET/next"),
    ],
)
def test_nothing_is_written_where_the_dataset_itself_lies(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    source = write_city_pairs(tmp_path / "source", train=2, val=1)
    dest = tmp_path / "out"
    wt.pack(str(source), str(dest))
    before = sorted(str(path) for path in dest.rglob("*"))
    ran = run_command(*(word.replace("DATASET", str(dest)) for word in arguments), "--json")
    assert_clean_failure(ran, 2)
    assert ran.error["code"] == "destination-in-source"
    assert sorted(str(path) for path in dest.rglob("*")) == before


def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    source = write_city_pairs(tmp_path / "source", train=2, val=1)
    denied = source / "img/train/oslo/0.jpg"
    denied.chmod(0)
    with pytest.raises(wt.StoreError) as caught:
        unprivileged(lambda: wt.pack(str(source), str(tmp_path / "out")))
    assert (caught.value.code, caught.value.where) == ("denied", str(denied))
