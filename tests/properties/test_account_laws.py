"""The account of a source: every file is packed, read, skipped, outside the layout, ignored or hidden, and in one class only."""

from __future__ import annotations

import csv
import gzip
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.test_layouts import make
from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.foreign_tars import tar_bytes
from wdstools.dataset import open_dataset
from wdstools.errors import WdsError
from wdstools.executors.local import Serial
from wdstools.executors.open import open_executor
from wdstools.ops.pack import run_pack
from wdstools.ops.scan import scan
from wdstools.planning.options import make_options
from wdstools.sources.open import open_source

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = st.sampled_from(
    ["", "a/", "a/b/", "train/", "test/", "train/cat/", "val/dog/", "images/", "captions/", "images/train/", "captions/train/", "é/", ".cache/"]
)  # fmt: skip
STEMS = st.sampled_from(["1", "2", "x_1", "x_2", "x", "É", "README"])
ENDINGS = st.sampled_from(
    [".jpg", ".JPG", ".jpeg", ".txt", ".TXT", ".caption", ".jpg.txt", ".json", ".jpg.supplem.json", ".csv", ".npy", ".pdf", ".tar.00", ""]
)  # fmt: skip


def content(name: str, number: int, *, damaged: bool) -> bytes:
    """What a file of this name holds; no two hold the same."""
    if name.lower().endswith((".jpg", ".jpeg")):
        return tiny_jpeg(number)[: 300 if damaged else None] + (b"" if not damaged else b"%d" % number)
    if name.endswith(".json"):
        return json.dumps({"caption": f"json {number}"}).encode()
    if name.endswith(".csv"):
        return f"file_name,text\nx.jpg,row {number}\n".encode()
    return b"%d of %s" % (number, name.encode())


@st.composite
def trees(draw: st.DrawFn) -> dict[str, bytes]:
    """Files of a source; folders and files of one name do not meet."""
    names = draw(st.lists(st.tuples(FOLDERS, STEMS, ENDINGS), min_size=1, max_size=14, unique=True))
    damaged = draw(st.sets(st.integers(0, 13), max_size=2))
    files = {}
    for number, parts in enumerate(names):
        name = "".join(parts)
        files[name] = content(name, number, damaged=number in damaged)
    folders = {"/".join(name.split("/")[:end]) for name in files for end in range(1, name.count("/") + 1)}
    return {name: data for name, data in files.items() if name not in folders and name.rpartition("/")[2]}


def contained(container: str, path: Path, files: dict[str, bytes]) -> Path:
    """The files in a container, compressed ones too."""
    source = make(container.removesuffix(".gz"), path, files)
    if not container.endswith(".gz"):
        return source
    packed = source.with_suffix(".tar.gz")
    packed.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    return packed


CONTAINERS = ["folder", "zip", "zip of Windows", "tar", "tar.gz"]


@pytest.mark.parametrize("container", CONTAINERS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=trees())
def test_every_file_is_in_one_class(
    container: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    each_file_in_one_class(container, files, tmp_path_factory)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(container=st.sampled_from(CONTAINERS), files=trees())
def test_every_file_of_many_trees_is_in_one_class(
    container: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    each_file_in_one_class(container, files, tmp_path_factory)


def each_file_in_one_class(container: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pack and scan a tree: the account adds up, and names what was packed, what was skipped, and what is outside."""
    work = tmp_path_factory.mktemp("account")
    source = contained(container, work / "src", files)
    recipe = "folders" if "tar" in container else None
    try:
        result = run_pack(open_source(str(source), recipe=recipe), str(work / "out"), make_options(), executor=Serial())
    except WdsError as error:
        if error.code != "source-empty":
            raise
        assert not (work / "out").exists()
        return
    account = dict(result.account)
    assert account.pop("files") == len(files) == sum(account.values())
    held = {
        bytes(sample[ext])
        for split in open_dataset(result.path).splits
        for sample in open_dataset(result.path)[split]
        for ext in sample
    }
    lines = _lines(work / "out/.wdstools/skipped.jsonl")
    outside = {line["path"] for line in lines if line["reason"] == "outside-layout"}
    skipped = {line["path"] for line in lines} - outside
    hidden = {name for name in files if ".cache/" in name}
    assert (account["outside"], account["hidden"]) == (len(outside), len(hidden))
    packed = {name for name, data in files.items() if data in held}
    assert not packed & (outside | skipped)
    assert len(packed) <= account["packed"]
    tables = {name for name in files if name.endswith(".csv")}
    rest = files.keys() - packed - outside - skipped - tables - hidden
    skipped_stems = {path.rpartition(".")[0] for path in skipped}
    for name in rest:  # beside an image that was skipped, or metadata whose caption was packed
        assert name.endswith((".json", ".txt", ".TXT", ".caption")) or name.rpartition(".")[0] in skipped_stems, name
    listed = scan(open_source(str(source), recipe=recipe))
    assert listed.account["outside"] == account["outside"]
    assert listed.account["samples"] >= account["packed"]
    assert sum(count for name, count in listed.account.items() if name != "files") == listed.account["files"]


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=trees())
def test_two_packs_of_one_source_write_the_same_bytes_in_every_file(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("twice")
    made = []
    for name in ("one", "two"):
        source = make("folder", work / name, dict(sorted(files.items(), reverse=name == "two")))
        try:
            run_pack(open_source(str(source)), str(work / f"{name}.out"), make_options(), executor=Serial())
        except WdsError as error:
            made.append({"error": error.code.encode()})
            continue
        out = work / f"{name}.out"
        made.append(
            {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
        )
    assert made[0] == made[1]


def _messy() -> dict[str, bytes]:
    """What is packed, and what is left out for one reason or another."""
    files = {
        f"{split}/{label}/{n}.jpg": tiny_jpeg(10 * n + at)
        for at, (split, label) in enumerate((s, c) for s in ("train", "val") for c in ("cat", "dog"))
        for n in range(3)
    }
    files |= {name.replace(".jpg", ".txt"): b"words of " + name.encode() for name in files if "/2.jpg" not in name}
    files |= {
        "train/cat/cut.jpg": tiny_jpeg(90)[:200],
        "train/cat/cut.txt": b"x",
        "train/dog/odd.jpg": tiny_jpeg(91),
        "train/dog/odd.txt": b"\xff",
    }
    files |= {
        "train/stray.jpg": tiny_jpeg(92),
        "train/stray.txt": b"x",
        "train/cat/none.txt": b"x",
        "train/cat/0.jpeg": tiny_jpeg(93),
    }
    return files | {"more/1.jpg": tiny_jpeg(94), "notes.csv": b"a,b\n1,2\n", "README.md": b"x", "val/dog/9.json": b"{"}


def _source(container: str, place: Path, files: dict[str, bytes]) -> Path:
    if container == "shards":
        members = {
            f"{number:05d}.tar": tar_bytes(part)
            for number, part in enumerate((list(files.items())[:9], list(files.items())[9:]))
        }
        return write_files(place, {**members, "00000.json": b"{}", "more.csv": b"x"})
    if container == "table":
        rows = [f"{name},words,{name.split('/')[0]}" for name in sorted(files) if name.endswith("jpg")]
        write_files(
            place, {**files, "t.csv": "\n".join(["path,text,split", *rows, "gone.jpg,x,train", "cut"]).encode()}
        )
        return place / "t.csv"
    return contained(container, place, files)


@pytest.mark.parametrize("container", ["folder", "zip", "tar", "tar.gz", "shards", "table"])
def test_every_file_of_a_pack_is_the_same_from_another_place_in_another_order_by_another_executor(
    container: str, tmp_path: Path
) -> None:
    """Lists of what was skipped and provenance too: neither a place, nor an order of listing, nor who did it is in any of them."""
    made = []
    for name, kind in (
        ("one", "serial"),
        ("two", "threads"),
        *((("three", "processes"),) if container == "zip" else ()),
    ):
        files = sorted(_messy().items(), reverse=name == "two" and container not in ("shards", "table"))
        source, out = _source(container, tmp_path / name, dict(files)), tmp_path / f"{name}.out"
        executor = open_executor(kind, None if kind == "serial" else 2)
        try:
            run_pack(
                open_source(str(source), scratch=str(tmp_path / f"{name}.scratch")),
                str(out),
                make_options(),
                executor=executor,
            )
        finally:
            executor.close()
        made.append({path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert made[0][".wdstools/skipped.jsonl"].count(b"\n") >= (3 if container == "table" else 5)
    assert all(other == made[0] for other in made[1:])


CELLS = st.tuples(
    st.sampled_from(["a.jpg", "b.jpg", "sub/c.jpg", "no.jpg", "notes.txt", "../x.jpg", "", "damaged.jpg"]),
    st.sampled_from(["one", "two", "", "\ufeffmark"]),
    st.sampled_from(["train", "test", ""]),
    st.sampled_from(["cat", "dog", ""]),
    st.sampled_from(["", "3", "4"]),
)


@settings(max_examples=18, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(CELLS, min_size=1, max_size=8),
    columns=st.sets(st.sampled_from(["text", "split", "label", "likes"])),
    broken=st.booleans(),
    captions=st.sampled_from([None, "optional", "none"]),
)
def test_the_table_and_every_image_that_it_names_are_in_one_class(
    rows: list[tuple[str, ...]],
    columns: set[str],
    broken: bool,
    captions: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    work = tmp_path_factory.mktemp("table")
    files = {name: tiny_jpeg(number) for number, name in enumerate(("a.jpg", "b.jpg", "sub/c.jpg"), 1)}
    files |= {"damaged.jpg": tiny_jpeg(9)[:200], "notes.txt": b"x"}
    sink = io.StringIO()
    table = csv.writer(sink)
    kept = [0, *(at for at, name in enumerate(("text", "split", "label", "likes"), 1) if name in columns)]
    table.writerow([("path", "text", "split", "label", "likes")[at] for at in kept])
    table.writerows([row[at] for at in kept] for row in rows)
    source = write_files(work / "src", files | {"t.csv": sink.getvalue().encode() + b'"cut' * broken}) / "t.csv"
    try:
        result = run_pack(
            open_source(str(source), captions=captions), str(work / "out"), make_options(), executor=Serial()
        )
    except WdsError as error:
        if error.code not in ("source-empty", "table-damaged"):
            raise
        assert not (work / "out").exists()
        return
    account = dict(result.account)
    named = {row[0] for row in rows} & {name for name in files if name.endswith(".jpg")}
    assert account.pop("files") == 1 + len(named) == sum(account.values())
    dataset = open_dataset(result.path)
    held = {bytes(sample["jpg"]) for split in dataset.splits for sample in dataset[split]}
    packed = {name for name, data in files.items() if data in held}
    skipped = {line["path"] for line in _lines(work / "out/.wdstools/skipped.jsonl")}
    assert packed | (named & skipped) == named
    assert account["packed"] == len(packed)
    if "split" in columns or "label" in columns:  # no image is in two splits, or of two labels
        said = {name: {(row[2], row[3]) for row in rows if row[0] == name} for name in packed}
        for at, column in enumerate(("split", "label")):
            if column in columns:
                assert all(len({one[at] for one in words} - {""}) <= 1 for words in said.values())
    found = scan(str(source), captions=captions)
    by_content = "damaged.jpg" in named - {skip.path for skip in found.skips}
    assert found.account["samples"] == account["packed"] + by_content
    assert found.account["files"] == result.account["files"]


MEMBER_NAMES = st.tuples(
    st.sampled_from(["a", "b", "c/d", "e"]),
    st.sampled_from([".jpg", ".JPG", ".png", ".txt", ".caption", ".json", ".cls", ".npy", ".mask.png", ".Odd-One", ""]),
)
ODD_NAMES = st.sampled_from([".hidden.txt", "__meta__/x.txt", "folder/", "link.txt"])
BESIDE = st.sampled_from(["00000.parquet", "00001_stats.json", "notes.csv", "README.md", ".cache", "more/x.txt"])


def _member(name: str, number: int) -> bytes:
    lower = name.lower()
    if lower.endswith(".jpg"):
        return tiny_jpeg(number)
    if lower.endswith(".json"):
        return json.dumps({"n": number}).encode()
    return b"%d" % number if lower.endswith(".cls") else b"%d of %s" % (number, name.encode())


def _shard(names: list[str], first: int) -> tuple[bytes, dict[int, bytes]]:
    """A tar of members; the payloads of those that are files, by number. No two are the same."""
    sink, payloads = io.BytesIO(), {}
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for number, name in enumerate(names, first):
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif name == "link.txt":
                info.type, info.linkname, payloads[number] = tarfile.SYMTYPE, "a.txt", b""
            else:
                payloads[number] = _member(name, number)
                info.size = len(payloads[number])
            archive.addfile(info, io.BytesIO(payloads.get(number, b"")))
    return sink.getvalue(), payloads


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.lists(MEMBER_NAMES.map("".join) | ODD_NAMES, max_size=12), min_size=1, max_size=2),
    beside=st.sets(BESIDE, max_size=3),
    choices=st.sampled_from([{}, {"captions": "optional"}, {"drop_members": "json,npy"}, {"members": "txt"}, {"ignore": ["*.csv"]}]),
)  # fmt: skip
def test_every_member_of_shards_is_in_one_class(
    shards: list[list[str]], beside: set[str], choices: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("shards")
    payloads: dict[int, bytes] = {}
    files: dict[str, bytes] = dict.fromkeys(beside, b"x")
    for number, names in enumerate(shards):
        files[f"{number:05d}.tar"], held = _shard(["z.jpg", "z.txt", *names], 100 * number + 1)
        payloads |= held
    source = write_files(work / "src", files)
    try:
        result = run_pack(open_source(str(source), **choices), str(work / "out"), make_options(), executor=Serial())
    except WdsError as error:
        if error.code != "source-empty":
            raise
        assert not (work / "out").exists()
        return
    account = dict(result.account)
    assert account.pop("files") == len(payloads) + len(beside) == sum(account.values())
    dataset = open_dataset(result.path)
    held_now = [bytes(sample[ext]) for split in dataset.splits for sample in dataset[split] for ext in sample]
    assert account["packed"] == sum(held_now.count(data) > 0 for data in payloads.values() if data)
    lines = _lines(work / "out/.wdstools/skipped.jsonl")
    assert account["outside"] == sum(line["reason"] == "outside-layout" for line in lines)
    assert not account["skipped"] or any(line["reason"] != "outside-layout" for line in lines)
    listed = dict(scan(str(source), **choices).account)
    assert listed.pop("samples") == account.pop("packed")
    assert listed == {"files": result.account["files"], **account}
