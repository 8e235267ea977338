"""Files for other readers: they are listed, hashed, harmless to each other, and go away again."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import struct
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import write_city_pairs
from tests.support.command import assert_clean_failure, run_command
from tests.support.foreign_tars import pairs, tar_bytes, write
from tests.support.outcome import contents
from tests.support.pictures import encoded
from tests.support.tools import need, need_module
from wdstools.interop.frontmatter import join_card, split_card
from wdstools.ops.doctor import doctor
from wdstools.ops.emit import CONSUMERS, plan_emit, plan_emit_removal
from wdstools.plan import apply

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.options.move import Consumer, Reader


BESIDE: tuple[Reader, ...] = ("webdataset", "huggingface", "tar", "bsdtar", "duckdb")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small dataset with labels and captions, two shards a split."""
    folder = tmp_path_factory.mktemp("emit")
    write_city_pairs(folder / "in")
    wt.pack(str(folder / "in"), str(folder / "out"), shard_samples=16, name="small")
    return folder / "out"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    """One to write into."""
    shutil.copytree(packed, tmp_path / "ds")
    return tmp_path / "ds"


def _emit(path: Path, *consumers: Consumer) -> wt.Dataset:
    dataset = wt.open_dataset(str(path))
    apply(plan_emit(dataset, consumers or ("all",)))
    return dataset


def test_emitting_for_everybody_leaves_the_dataset_as_it_was(copy: Path) -> None:
    before = contents(copy)
    root = wt.open_dataset(str(copy)).root
    _emit(copy)
    after = contents(copy)
    assert {path for path in before if before[path] != after.get(path)} == {"README.md"}
    assert len(after) > len(before) + len(CONSUMERS)
    assert wt.open_dataset(str(copy)).root == root
    assert wt.verify(wt.open_dataset(str(copy)), level="samples").ok


def test_every_reader_here_still_opens_it_with_everything_emitted(copy: Path) -> None:
    for tool in ("tar", "bsdtar"):
        need(tool)
    for module in ("webdataset", "datasets", "duckdb"):
        need_module(module)
    dataset = _emit(copy)
    found = doctor(dataset, BESIDE)
    assert {d.consumer: (d.status, d.detail) for d in found} == dict.fromkeys(BESIDE, ("works", ""))
    assert {d.samples for d in found} == {dataset.manifest.totals["samples"]}
    assert min(d.equal for d in found) >= len(dataset.splits)


def test_removing_gives_back_the_bytes_that_were_there(copy: Path) -> None:
    before = contents(copy)
    dataset = _emit(copy)
    apply(plan_emit_removal(dataset, ("energon", "timm")))
    left = contents(copy)
    assert not any(path.endswith(".tar.idx") or path == "_info.json" for path in left)
    assert "croissant.json" in left
    assert wt.verify(dataset).ok
    apply(plan_emit_removal(dataset, ("all",)))
    assert contents(copy) == before


def test_emitting_twice_writes_nothing_the_second_time(copy: Path) -> None:
    dataset = _emit(copy)
    assert plan_emit(dataset, ("all",)).steps == ()
    assert plan_emit(dataset, ("dali",)).steps == ()


def test_a_damaged_or_lost_emitted_file_is_found_and_written_again(copy: Path) -> None:
    dataset = _emit(copy)
    (copy / "_info.json").write_text("{}")
    (copy / "croissant.json").unlink()
    assert {(f.kind, f.path) for f in wt.verify(dataset).findings} == {
        ("emitted", "_info.json"),
        ("missing", "croissant.json"),
    }
    for plan in (plan_emit, plan_emit_removal):
        with pytest.raises(wt.StoreError, match="changed"):
            plan(dataset, ("timm",))
    (copy / "_info.json").unlink()
    apply(plan_emit(dataset, ("timm", "croissant")))
    assert wt.verify(dataset).ok


def test_what_somebody_else_wrote_is_not_overwritten(copy: Path) -> None:
    (copy / "_info.json").write_text("mine")
    ran = run_command("emit", copy, "--for", "timm", "-y")
    assert_clean_failure(ran, 4)
    assert (copy / "_info.json").read_text() == "mine"
    assert not (copy / ".wdstools/emitted.json").exists()


def test_the_owners_words_in_the_card_stay(copy: Path) -> None:
    card = (copy / "README.md").read_text()
    card = card.replace("---\n", "---\nlicense: mit # ours\ntags:\n- cities\n", 1) + "\nWords of the owner.\n"
    (copy / "README.md").write_text(card)
    dataset = _emit(copy)
    text = (copy / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert "license: mit # ours\n" in text
    assert "Words of the owner." in text
    assert front["tags"] == ["cities"]
    assert front["dataset_info"]["splits"][0]["num_examples"] > 0
    assert wt.verify(dataset).ok
    apply(plan_emit_removal(dataset, ("all",)))
    assert (copy / "README.md").read_text() == card


def test_the_parts_of_a_card_join_to_the_card(packed: Path) -> None:
    text = (packed / "README.md").read_text()
    for card in (text, "no front matter", "---\na: 1\nb:\n- c: 2\n---\nrest\n", "---\n# a remark\nk: v\n---\n"):
        assert join_card(*split_card(card)) == card


def test_the_files_say_what_the_manifest_says(copy: Path) -> None:
    dataset = _emit(copy)
    split, entry = dataset.manifest.shards[0]
    sizes = json.loads((copy / split / "sizes.json").read_text())
    info = json.loads((copy / "_info.json").read_text())["splits"][split]
    assert sizes == {e.path.rpartition("/")[2]: e.samples for e in dataset.manifest.splits[split]}
    assert dict(zip(info["filenames"], info["shard_lengths"], strict=True))[entry.path] == entry.samples
    raw = (copy / f"{entry.path}.idx").read_bytes()
    offsets = struct.unpack(f"<{entry.samples + 1}Q", raw)
    rows = dataset.index(entry).to_pylist()
    assert list(offsets) == [row["offset"] for row in rows] + [rows[-1]["offset"] + rows[-1]["length"]]
    dali = (copy / f".wdstools/dali/{entry.path.rpartition('/')[2]}").with_suffix(".idx").read_text().splitlines()
    assert dali[0] == f"v1.2 {entry.samples}"
    shard = (copy / entry.path).read_bytes()
    extension, offset, size, name = dali[1].split()[:4]
    assert (extension, name) == ("jpg", rows[0]["key"] + ".jpg")
    assert shard[int(offset) : int(offset) + int(size)] == dataset[rows[0]["key"]]["jpg"]
    with sqlite3.connect(copy / ".nv-meta/index.sqlite") as database:
        assert database.execute("SELECT count(*) FROM samples").fetchone() == (dataset.manifest.totals["samples"],)


def test_a_plan_changes_nothing(copy: Path) -> None:
    before = contents(copy)
    ran = run_command("emit", copy, "--for", "all", "-n", "--json")
    assert ran.code == 0
    assert {line["path"] for line in ran.lines if line["type"] == "step"} >= {
        "croissant.json",
        "README.md",
        "_info.json",
    }
    assert contents(copy) == before


@pytest.mark.parametrize("arguments", [("--for", "nobody"), ("--for", ""), ()])
def test_a_consumer_that_there_is_not_is_refused(arguments: tuple[str, ...], copy: Path) -> None:
    assert_clean_failure(run_command("emit", copy, *arguments), 2)


def test_a_list_of_emitted_files_that_names_others_deletes_nothing(copy: Path) -> None:
    _emit(copy, "timm")
    path = copy / ".wdstools/emitted.json"
    for evil in ("../../etc/passwd", ".wdstools/manifest.json", "/etc/passwd"):
        document = json.loads(path.read_text())
        document["files"][evil] = ["timm", "0" * 64]
        path.write_text(json.dumps(document))
        assert_clean_failure(run_command("emit", copy, "--for", "timm", "--remove", "-y"), 5)
        assert not wt.verify(wt.open_dataset(str(copy))).ok
        del document["files"][evil]
        path.write_text(json.dumps(document))


def test_shards_of_others_are_emitted_for_too(tmp_path: Path) -> None:
    write(tmp_path, {f"x-{n:03d}.tar": tar_bytes(pairs(n * 4, 4)) for n in range(2)})
    before = contents(tmp_path)
    dataset = wt.adopt(str(tmp_path), digests="all").dataset
    _emit(tmp_path)
    assert wt.verify(dataset, level="samples").ok
    found = doctor(dataset, ("webdataset", "huggingface"))
    assert [(d.status, d.samples, d.detail) for d in found] == [("works", 8, "")] * 2
    apply(plan_emit_removal(dataset, ("all",)))
    assert {path for path in contents(tmp_path) if not path.startswith(".wdstools")} == set(before)


def test_nothing_is_written_beside_tars_that_are_not_ours(tmp_path: Path) -> None:
    write(tmp_path / "theirs", {f"train/x-{n:03d}.tar": tar_bytes(pairs(n * 4, 4)) for n in range(2)})
    theirs, meta = contents(tmp_path / "theirs"), tmp_path / "meta"
    assert run_command("adopt", tmp_path / "theirs", "-o", meta, "--digests", "all").code == 0
    before = {*meta.rglob("*")}
    ran = run_command("emit", meta, "--for", "all", "-y", "--json")
    assert (ran.code, ran.summary["linked"]) == (0, 2), ran.err
    assert contents(tmp_path / "theirs") == theirs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["meta", "theirs"]
    dataset = wt.open_dataset(str(meta))
    assert wt.verify(dataset, level="samples").ok
    found = doctor(dataset, ("webdataset", "huggingface", "tar", "duckdb"))
    assert [(d.status, d.samples, d.detail) for d in found] == [("works", 8, "")] * 4
    assert plan_emit(dataset, ("all",)).steps == ()
    (meta / "_info.json").write_text("{}")
    assert [finding.path for finding in wt.verify(dataset).findings] == ["_info.json"]
    (meta / "_info.json").unlink()
    apply(plan_emit(dataset, ("all",)))
    assert run_command("emit", meta, "--remove", "-y").code == 0
    assert {*meta.rglob("*")} == before
    assert contents(tmp_path / "theirs") == theirs


def test_a_file_under_the_name_of_a_link_is_not_touched(tmp_path: Path) -> None:
    write(tmp_path / "theirs", {"x-000.tar": tar_bytes(pairs(0, 2))})
    dataset = wt.adopt(str(tmp_path / "theirs"), str(tmp_path / "meta")).dataset
    write(tmp_path / "meta", {"x-000.tar": b"somebody's"})
    with pytest.raises(wt.WdsError, match="in the way"):
        plan_emit(dataset, ("timm",))
    (tmp_path / "meta/x-000.tar").unlink()
    apply(plan_emit(dataset, ("energon",)))
    (tmp_path / "meta/x-000.tar").unlink()
    write(tmp_path / "meta", {"x-000.tar": b"somebody's"})
    apply(plan_emit_removal(dataset, ("all",)))
    assert (tmp_path / "meta/x-000.tar").read_bytes() == b"somebody's"


def test_it_asks_before_it_writes_and_before_it_removes(copy: Path) -> None:
    before = contents(copy)
    ran = run_command("emit", copy, "--for", "all", "--json")
    assert (ran.code, ran.error["code"]) == (2, "not-confirmed")
    assert contents(copy) == before
    _emit(copy)
    emitted = contents(copy)
    assert run_command("emit", copy, "--remove").code == 2
    assert contents(copy) == emitted


def test_what_was_done_is_counted_as_the_plan_counts_it(copy: Path) -> None:
    for change in (("--for", "all"), ("--for", "all"), ("--remove",)):
        planned = [line for line in run_command("emit", copy, *change, "-n", "--json").lines if line["type"] == "step"]
        summary = run_command("emit", copy, *change, "-y", "--json").summary
        assert (summary["written"], summary["deleted"]) == tuple(
            sum(line["action"] == verb for line in planned) for verb in ("write", "delete")
        )


def test_the_doctor_names_a_missing_shard_and_goes_on_with_the_others(copy: Path) -> None:
    dataset = wt.open_dataset(str(copy))
    gone = dataset.manifest.splits["train"][0]
    (copy / gone.path).unlink()
    ran = run_command("doctor", copy, "--for", "webdataset,tar,duckdb", "--json")
    assert ran.code == 1
    found = {line["consumer"]: line for line in ran.lines if line["type"] == "diagnosis"}
    assert (found["shards"]["status"], found["shards"]["detail"]) == ("fails", f"{gone.path} is missing")
    left = dataset.manifest.totals["samples"] - gone.samples
    assert {(found[name]["status"], found[name]["samples"]) for name in ("webdataset", "tar", "duckdb")} == {
        ("works", left)
    }


def test_the_doctor_names_damage_and_compares_what_can_be_read(copy: Path) -> None:
    dataset = wt.open_dataset(str(copy))
    entry = dataset.manifest.splits["train"][0]
    member = dataset.index(entry).to_pylist()[0]["members"][0]
    data = bytearray((copy / entry.path).read_bytes())
    data[member["offset"] + 5] ^= 1
    (copy / entry.path).chmod(0o644)
    (copy / entry.path).write_bytes(data)
    shards, reader = doctor(dataset, ("webdataset",))
    assert (shards.consumer, shards.status) == ("shards", "fails")
    assert entry.path in shards.detail
    assert (reader.status, reader.equal) == ("works", 15)


def test_without_any_shard_nobody_is_asked(copy: Path) -> None:
    for path in copy.rglob("*.tar"):
        path.unlink()
    (found,) = doctor(wt.open_dataset(str(copy)))
    assert (found.consumer, found.status) == ("shards", "fails")


def test_energon_is_refused_where_members_lie_apart(tmp_path: Path) -> None:
    members = pairs(0, 2)
    write(tmp_path, {"x-000.tar": tar_bytes([members[0], members[2], members[1], members[3]])})
    dataset = wt.adopt(str(tmp_path)).dataset
    with pytest.raises(wt.UsageError, match="energon"):
        plan_emit(dataset, ("energon",))
    (diagnosis,) = doctor(dataset, ("energon",))
    assert diagnosis.status == "fails"


def test_the_doctor_says_no_when_a_reader_is_misled(copy: Path) -> None:
    dataset = _emit(copy, "timm")
    entry = dataset.manifest.shards[0][1]
    (copy / "README.md").unlink()
    (copy / f"{entry.path}.sha256").write_text("x")  # breaks Hugging Face's detection, once the card is gone
    ran = run_command("doctor", copy, "--for", "huggingface,webdataset", "--json")
    assert ran.code == 1
    status = {line["consumer"]: line["status"] for line in ran.lines if line["type"] == "diagnosis"}
    assert status == {"huggingface": "fails", "webdataset": "works"}


def test_the_doctor_finds_environments_below_the_folder_where_it_was_called(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"envs/webdataset/bin/python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'.encode()})
    (tmp_path / "envs/webdataset/bin/python").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    (diagnosis,) = doctor(wt.open_dataset(str(copy)), ("webdataset",), envs="envs")
    assert (diagnosis.status, diagnosis.detail) == ("works", "")


def test_the_doctor_compares_bytes_and_not_only_numbers(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wdstools.ops import doctor as module

    monkeypatch.setattr(module, "_ask", lambda *_: {"version": "1", "samples": {"train": 0}, "compared": 4, "equal": 3})
    (diagnosis,) = doctor(wt.open_dataset(str(copy)), ("webdataset",))
    assert diagnosis.status == "fails"
    assert "3 of 4" in diagnosis.detail


def test_a_copy_without_emitted_files_is_whole(copy: Path, packed: Path) -> None:
    _emit(copy)
    assert wt.verify(wt.open_dataset(str(copy), at=str(packed))).ok


def test_removing_takes_everything_unless_told_for_whom(copy: Path) -> None:
    before, paths = contents(copy), {*copy.rglob("*")}
    _emit(copy)
    assert run_command("emit", copy, "--remove", "-y").code == 0
    assert contents(copy) == before
    assert {*copy.rglob("*")} == paths


def test_what_further_members_are_is_said_where_it_is_known(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.save(array, np.arange(4, dtype=np.float32))
    more = {"mask.png": encoded("PNG", "L"), "npy": array.getvalue(), "flac": b"fLaC", "json": b'{"n": 1}', "cls": b"2"}
    members = [*pairs(0, 6), *((f"{number:06d}.{name}", data) for number in range(6) for name, data in more.items())]
    write(tmp_path / "in", {"train-000000.tar": tar_bytes(members)})
    for left_out, known in (("npy,flac", True), ("flac", False)):
        path = tmp_path / left_out
        wt.pack(str(tmp_path / "in"), str(path), drop_members=left_out)
        dataset = _emit(path)
        blocks, _ = split_card((path / "README.md").read_text())
        assert ("features:" in blocks["dataset_info"]) is known
        assert ("name: mask.png\n    dtype: image" in blocks["dataset_info"]) is known
        document = json.loads((path / "croissant.json").read_text())
        types = {part["@id"]: part["encodingFormat"] for part in document["distribution"]}
        assert types["train-mask.png"] == "image/png"
        contents_of = {one["name"]: [field["dataType"] for field in one["field"]] for one in document["recordSet"]}
        assert contents_of["train_mask.png"] == ["sc:Text", "sc:ImageObject"]
        if not known:
            assert (types["train-npy"], contents_of["train_npy"]) == ("application/octet-stream", ["sc:Text"])
    readers: tuple[Reader, ...] = ("webdataset", "huggingface", "tar")
    found = doctor(dataset, readers)
    assert {d.consumer: (d.status, d.detail) for d in found} == dict.fromkeys(readers, ("works", ""))
    assert min(d.equal for d in found) >= 1


def test_webshart_finds_images_with_sizes_and_captions(copy: Path) -> None:
    dataset = _emit(copy, "webshart")
    _, entry = dataset.manifest.shards[0]
    document = json.loads((copy / f".wdstools/webshart/{entry.path.removesuffix('.tar')}.json").read_text())
    shard = (copy / entry.path).read_bytes()
    assert document["filesize"] == len(shard)
    assert len(document["files"]) == entry.samples
    for sample in came(dataset[dataset.splits[0]]):
        found = document["files"].get(f"{sample.key}.jpg")
        if found is not None:
            assert shard[found["offset"] : found["offset"] + found["length"]] == sample["jpg"]
            assert found["captions"] == sample["txt"].decode()
            assert found["aspect"] == pytest.approx(found["width"] / found["height"], abs=1e-6)
    assert wt.verify(copy).ok
    wt.apply(plan_emit_removal(copy, ("webshart",)))
    assert not (copy / ".wdstools/webshart").exists()
