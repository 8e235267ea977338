"""The account of a source: every file is packed, read, skipped, outside the layout, ignored or hidden, and in one class only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.test_layouts import make
from tests.support.city_pairs import tiny_jpeg
from wdstools.dataset import open_dataset
from wdstools.errors import WdsError
from wdstools.executors.local import Serial
from wdstools.ops.pack import run_pack
from wdstools.ops.scan import scan
from wdstools.planning.options import make_options
from wdstools.sources.open import open_source

if TYPE_CHECKING:
    from pathlib import Path

FOLDERS = st.sampled_from(
    ["", "a/", "a/b/", "train/", "test/", "train/cat/", "val/dog/", "images/", "captions/", "images/train/", "captions/train/", "é/"]
)  # fmt: skip
STEMS = st.sampled_from(["1", "2", "x_1", "x_2", "x", "É", "README"])
ENDINGS = st.sampled_from(
    [".jpg", ".JPG", ".jpeg", ".txt", ".TXT", ".caption", ".jpg.txt", ".json", ".csv", ".npy", ".pdf", ".tar.00", ""]
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


@pytest.mark.parametrize("container", ["folder", "zip", "tar"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=trees())
def test_every_file_is_in_one_class(
    container: str, files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("account")
    source = make(container, work / "src", files)
    recipe = "folders" if container == "tar" else None
    try:
        result = run_pack(open_source(str(source), recipe=recipe), str(work / "out"), make_options(), executor=Serial())
    except WdsError as error:
        if error.code not in ("source-empty", "image-types"):
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
    assert account["outside"] == len(outside)
    packed = {name for name, data in files.items() if data in held}
    assert not packed & (outside | skipped)
    assert len(packed) <= account["packed"]
    tables = {name for name in files if name.endswith(".csv")}
    rest = files.keys() - packed - outside - skipped - tables
    skipped_stems = {path.rpartition(".")[0] for path in skipped}
    for name in rest:  # beside an image that was skipped, or metadata whose caption was packed
        assert name.endswith((".json", ".txt", ".TXT", ".caption")) or name.rpartition(".")[0] in skipped_stems, name
    listed = scan(open_source(str(source), recipe=recipe))
    assert listed.account["outside"] == account["outside"]
    assert listed.account["samples"] >= account["packed"]
    assert sum(count for name, count in listed.account.items() if name != "files") == listed.account["files"]


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
