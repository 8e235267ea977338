"""Adopting tars that something else made: what they hold is found, what will go wrong is named, nothing is touched."""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.command import assert_clean_failure, run_command
from tests.support.foreign_tars import compressed, pairs, tar_bytes, write
from tests.support.outcome import snapshot
from tests.support.rawtar import END, base256, header, member, pax
from wdstools.foreign.hazards import HAZARD_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wdstools.options.move import Digests


PAX, GNU, USTAR = tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT
IMAGE = pairs(0, 1)[0][1]


def _codes(folder: Path) -> set[str]:
    result = wt.adopt(folder)
    return {hazard.code for hazard in result.hazards}


def _adopted(folder: Path, files: dict[str, bytes], digests: Digests = "xxh3") -> wt.Dataset:
    return wt.adopt(write(folder, files), digests=digests).dataset


@pytest.mark.parametrize("digests", ["none", "xxh3", "all"])
@pytest.mark.parametrize("form", [USTAR, GNU, PAX])
def test_every_sample_comes_back_byte_for_byte(form: int, digests: Digests, tmp_path: Path) -> None:
    data = tar_bytes(pairs(0, 5), form, mtime=1.5 if form == PAX else 1)
    dataset = _adopted(
        tmp_path, {"train/00000.tar": data, "val/00000.tar": tar_bytes(pairs(5, 2), form)}, digests=digests
    )
    assert dataset.manifest.profile == "foreign"
    assert {name: len(dataset[name]) for name in dataset.splits} == {"train": 5, "val": 2}
    found = [(f"{sample.key}.{ext}", sample[ext]) for sample in dataset["train"] for ext in sample]
    assert found == pairs(0, 5)
    assert dataset["000006"]["txt"] == b"caption 6"
    report = wt.verify(dataset, level="samples")
    assert report.findings == ()
    assert report.ok == (digests != "none")


def test_the_tars_are_not_touched_and_the_same_tars_give_the_same_root(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {f"{n:05d}.tar": tar_bytes(pairs(n * 4, 4), PAX) for n in range(3)})
    before = snapshot(folder)
    one = run_command("adopt", folder, "-o", tmp_path / "one", "-j", "1", "--json")
    two = run_command("adopt", folder, "-o", tmp_path / "two", "-j", "2", "--json")
    assert snapshot(folder) == before
    assert one.summary["root"] == two.summary["root"]
    for where in ("one", "two"):
        assert run_command("verify", tmp_path / where).code == 0
    assert run_command("cat", tmp_path / "one", "000009.txt").raw == b"caption 9"
    assert run_command("ls", tmp_path / "one", "train").out.split() == [f"{n:06d}" for n in range(12)]


@pytest.mark.parametrize("encoding", ["tar.gz", "tar.zst"])
def test_compressed_shards_are_adopted_verified_and_read(encoding: str, tmp_path: Path) -> None:
    data = compressed(tar_bytes(pairs(0, 300)), encoding)
    dataset = _adopted(tmp_path, {f"x-000.{encoding}": data})
    assert [sample.key for sample in dataset.split("x")] == [f"{n:06d}" for n in range(300)]
    assert dataset.split("x")[200]["txt"] == b"caption 200"
    assert dataset.split("x")[7]["txt"] == b"caption 7"
    assert wt.verify(dataset, level="decode").ok
    (tmp_path / f"x-000.{encoding}").write_bytes(data[:-200])
    assert not wt.verify(dataset).ok


def test_damage_after_adoption_is_named_down_to_the_member(tmp_path: Path) -> None:
    members = pairs(0, 20)
    dataset = _adopted(tmp_path, {"x-000.tar": tar_bytes(members, GNU)})
    data = bytearray((tmp_path / "x-000.tar").read_bytes())
    at = data.index(b"caption 13")
    data[at] ^= 1
    (tmp_path / "x-000.tar").write_bytes(data)
    (finding,) = wt.verify(dataset).findings
    assert (finding.kind, finding.key, finding.member, finding.start) == ("payload", "000013", "txt", at)
    with pytest.raises(wt.IntegrityError):
        _ = dataset["000013"]
    data[at] ^= 1
    data[at - 512] ^= 1  # the name in the header
    (tmp_path / "x-000.tar").write_bytes(data)
    (finding,) = wt.verify(dataset).findings
    assert (finding.kind, finding.key) == ("header", "000013")
    (tmp_path / "x-000.tar").write_bytes(data[:at])
    assert {f.kind for f in wt.verify(dataset).findings} == {"payload", "truncated"} - {"payload"}


def test_nobody_is_sent_to_repair_which_takes_no_shards_of_others(tmp_path: Path) -> None:
    _adopted(tmp_path, {"a.tar": tar_bytes(pairs(0, 3))})
    (tmp_path / ".wdstools/manifest.json.1a2b.wdstools-tmp").write_bytes(b"half")
    (left,) = wt.verify(tmp_path).left
    assert left.endswith("delete it, if no command is running")


def test_adopting_again_does_not_bless_damage(tmp_path: Path) -> None:
    _adopted(tmp_path, {"x-000.tar": tar_bytes(pairs(0, 2))})
    assert_clean_failure(run_command("adopt", tmp_path), 4)
    assert run_command("adopt", tmp_path, "--replace").code == 0


def _many(names: Sequence[str]) -> bytes:
    return tar_bytes([(name, IMAGE if name.lower().endswith(("jpg", "jpeg")) else b"words") for name in names])


HAZARDS = {
    "key-dots": _many([f"{n}.{n + 5}.{ext}" for n in range(9) for ext in ("jpg", "txt")]),
    "members-apart": _many(["a.jpg", "b.jpg", "a.txt", "b.txt"]),
    "key-duplicate": _many(["a.jpg", "a.txt", "b.jpg", "b.txt", "a.jpg", "a.txt"]),
    "member-duplicate": _many(["a.jpg", "a.jpg", "a.txt"]),
    "member-missing": _many(["a.jpg", "a.txt", "b.jpg", "b.txt", "c.jpg"]),
    "extension-case": _many(["a.JPG", "a.txt"]),
    "extension-jpeg": _many(["a.jpeg", "a.txt"]),
    "pax-names": tar_bytes([("n" * 120 + ".jpg", IMAGE)], PAX),
    "pax-sizes": pax({b"size": b"%d" % len(IMAGE)}) + member(b"a.jpg", IMAGE) + END,
    "size-binary": member(b"a.jpg", IMAGE, size=base256(len(IMAGE))) + END,
    "name-hidden": _many(["a.jpg", "a.txt", ".b.jpg", "__meta__"]),
    "name-without-extension": _many(["a.jpg", "a.txt", "README"]),
    "name-spaces": _many(["a b.jpg", "a b.txt"]),
    "name-not-utf8": member(b"\xff.jpg", IMAGE) + END,
    "not-a-file": member(b"a.jpg", IMAGE) + header(b"b.jpg", 0, b"2", b"a.jpg") + END,
    "caption-empty": tar_bytes([("a.jpg", IMAGE), ("a.txt", b"")]),
    "caption-not-utf8": tar_bytes([("a.jpg", IMAGE), ("a.txt", b"\xff\xfe")]),
    "shard-cut": member(b"a.jpg", IMAGE) + member(b"a.txt", bytes(2000))[:1500],
    "shard-damaged": member(b"a.jpg", IMAGE) + b"junk" * 128 + END,
    "archive-end-missing": member(b"a.jpg", IMAGE),
    "shard-empty": bytes(10240),
    "shard-unreadable": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n",
    "member-sparse": pax(
        {
            b"GNU.sparse.major": b"1",
            b"GNU.sparse.minor": b"0",
            b"GNU.sparse.name": b"a.npy",
            b"GNU.sparse.realsize": b"9",
        }
    )
    + member(b"./GNUSparseFile.1/a.npy", b"1\n0\n9\n" + bytes(506) + b"123456789")
    + member(b"a.jpg", IMAGE)
    + END,
    "archive-resumed": member(b"a.jpg", IMAGE) + END + member(b"b.jpg", IMAGE) + END,
    "archive-trailing": member(b"a.jpg", IMAGE) + END + b"junk" * 300,
    "split-unread": _many(["cat/test/a.jpg", "cat/test/a.txt"]),
}


@pytest.mark.parametrize("code", HAZARDS)
def test_what_will_go_wrong_has_a_code(code: str, tmp_path: Path) -> None:
    write(tmp_path, {"x-000.tar": HAZARDS[code]})
    assert code in _codes(tmp_path)
    assert wt.verify(wt.open_dataset(str(tmp_path)), level="samples").ok


def test_clean_shards_have_none(tmp_path: Path) -> None:
    write(tmp_path, {f"x-{n:03d}.tar": tar_bytes(pairs(n * 4, 4)) for n in range(3)})
    assert _codes(tmp_path) == set()


def test_extensions_with_dots_are_not_taken_for_keys_with_dots(tmp_path: Path) -> None:
    names = [f"s{n}.{side}.{ext}" for n in range(9) for side in ("left", "right") for ext in ("jpg", "txt")]
    write(tmp_path, {"x-000.tar": _many(names)})
    assert _codes(tmp_path) == set()


def test_files_beside_the_shards_are_held_against_them(tmp_path: Path) -> None:
    files = {f"{n:05d}.tar": tar_bytes(pairs(n * 4, 4)) for n in (0, 1, 3)}
    stats = {"successes": 4, "count": 5}
    files |= {f"{n:05d}_stats.json": json.dumps(stats).encode() for n in (0, 1)}
    files |= {"sizes.json": json.dumps({"00000.tar": 4, "00003.tar": 7}).encode(), "00000.parquet": b""}
    assert _codes(write(tmp_path, files)) == {"stats-missing", "count-differs", "shard-numbers", "file-beside-shards"}


def test_a_key_in_two_shards_is_noted(tmp_path: Path) -> None:
    write(tmp_path, {"x-000.tar": tar_bytes(pairs(0, 2)), "x-001.tar": tar_bytes(pairs(1, 2))})
    assert _codes(tmp_path) == {"key-duplicate-across"}


@pytest.mark.parametrize("digests", ["none", "xxh3"])
def test_an_entry_that_readers_pass_over_does_not_part_a_sample(digests: Digests, tmp_path: Path) -> None:
    data = (
        member(b"a.jpg", IMAGE)
        + member(b"a/", b"", b"5")
        + member(b".hidden", b"x" * 700)
        + member(b"a.txt", b"words")
        + END
    )
    dataset = _adopted(tmp_path, {"x-000.tar": data}, digests=digests)
    (row,) = dataset.index(dataset.manifest.splits["x"][0]).to_pylist()
    assert [m["ext"] for m in row["members"]] == ["jpg", "txt"]
    assert (row["offset"], row["length"]) == (0, len(data) - len(END))
    assert dict(dataset["a"]) == {"jpg": IMAGE, "txt": b"words"}


def test_every_code_is_provoked_by_a_test() -> None:
    elsewhere = {
        "key-duplicate-across", "shard-numbers", "stats-missing", "count-differs", "file-beside-shards",
        "shard-compressed", "shard-zstandard", "split-renamed", "splits-joined",
    }  # fmt: skip
    assert set(HAZARD_KINDS) == set(HAZARDS) | elsewhere


@pytest.mark.parametrize(
    ("files", "options", "splits"),
    [
        (("train/0.tar", "val/0.tar"), (), {"train", "val"}),
        (("train-000.tar", "val-000.tar"), (), {"train", "val"}),
        (("00000.tar", "00001.tar"), (), {"train"}),
        (("a/0.tar", "b/0.tar"), ("--split", "all"), {"all"}),
        (("a/0.tar", "b/0.tar"), ("--split-from", "one"), {"train"}),
        (("starters/0.tar",), (), {"sta_rters"}),
        (
            ("data/train-00000-of-00002.tar", "data/train-00001-of-00002.tar", "data/val-00000-of-00001.tar"),
            (),
            {"train", "val"},
        ),
        (("data/train/0.tar", "data/test/0.tar"), ("--split-from", "path"), {"train", "test"}),
        (("data/00000.tar",), (), {"train"}),
    ],
)
def test_splits_come_from_paths(files: Sequence[str], options: Sequence[str], splits: set[str], tmp_path: Path) -> None:
    write(tmp_path, {name: tar_bytes(pairs(n * 2, 2)) for n, name in enumerate(files)})
    ran = run_command("adopt", tmp_path, "--json", *options)
    assert set(ran.summary["samples"]) == splits


def test_splits_come_from_what_other_tools_wrote(tmp_path: Path) -> None:
    tars = {f"{n:03d}.tar": tar_bytes(pairs(n * 2, 2)) for n in range(3)}
    info = {
        "splits": {
            "one": {"filenames": ["000.tar"], "shard_lengths": [2]},
            "two": {"filenames": ["001.tar", "002.tar"], "shard_lengths": [2, 2]},
        }
    }
    split_yaml = b"split_parts:\n  one: ['000.tar']\n  two: ['{001..002}.tar']\n"
    card = (
        b'---\nconfigs:\n- data_files:\n  - {split: one, path: "000.tar"}\n  - {split: two, path: "00[12].tar"}\n---\n'
    )
    for name, data in (
        ("_info.json", json.dumps(info).encode()),
        (".nv-meta/split.yaml", split_yaml),
        ("README.md", card),
    ):
        folder = write(tmp_path / name.replace("/", "_"), {**tars, name: data})
        ran = run_command("adopt", folder, "--json")
        assert ran.summary["samples"] == {"one": 2, "two": 4}, name


@pytest.mark.parametrize("source", ["timm", "energon", "huggingface"])
def test_splits_are_not_guessed_where_a_tool_was_named_that_says_none(source: str, tmp_path: Path) -> None:
    folder = write(
        tmp_path, {"a/000.tar": tar_bytes(pairs(0, 2)), "_info.json": b"{}", "README.md": b"---\nx: 1\n---\n"}
    )
    ran = run_command("adopt", folder, "--split-from", source)
    assert_clean_failure(ran, 2)
    assert source in ran.err
    assert not (folder / ".wdstools").exists()


def test_shards_that_the_hub_counts_are_missed_wherever_they_are(tmp_path: Path) -> None:
    names = [f"data/train-{n:05d}-of-00004.tar" for n in (0, 1)]
    write(tmp_path, {name: tar_bytes(pairs(n * 2, 2)) for n, name in enumerate(names)})
    (hazard,) = wt.adopt(tmp_path).hazards
    assert (hazard.code, hazard.count, hazard.example) == ("shard-numbers", 2, "data/train: 2 of 4")


def test_what_datacomps_resharder_leaves_is_adopted_and_its_sizes_are_believed_only_if_right(tmp_path: Path) -> None:
    shards = {}
    for number in range(3):
        members = pairs(number * 4, 4)
        uids = [
            (f"{name[:6]}.json", json.dumps({"uid": f"{n:032x}"}).encode()) for n, (name, _) in enumerate(members[::2])
        ]
        triples = zip(members[::2], members[1::2], uids, strict=True)
        shards[f"{number:08d}.tar"] = tar_bytes([member for triple in triples for member in triple], PAX, mtime=1.5)
    sizes = dict.fromkeys(shards, 4)
    folder = write(tmp_path / "right", {**shards, "sizes.json": json.dumps(sizes).encode()})
    assert _codes(folder) == {"file-beside-shards"}
    dataset = wt.open_dataset(str(folder))
    assert [len(dataset[split]) for split in dataset.splits] == [12]
    assert json.loads(dataset["000005"]["json"]) == {"uid": f"{1:032x}"}
    sizes["00000001.tar"] = 5
    assert "count-differs" in _codes(write(tmp_path / "wrong", {**shards, "sizes.json": json.dumps(sizes).encode()}))


@pytest.mark.parametrize("encoding", ["tar.gz", "tar.zst"])
def test_compression_is_a_hazard_with_a_code(encoding: str, tmp_path: Path) -> None:
    write(tmp_path, {f"x.{encoding}": compressed(tar_bytes(pairs(0, 2)), encoding)})
    assert _codes(tmp_path) == {"shard-compressed" if encoding == "tar.gz" else "shard-zstandard"}


def test_the_command_prints_hazards_and_whom_they_hit(tmp_path: Path) -> None:
    write(tmp_path, {"x-000.tar": HAZARDS["shard-cut"]})
    ran = run_command("adopt", tmp_path, "--json")
    assert ran.code == 3
    (line,) = (line for line in ran.lines if line["type"] == "hazard")
    assert (line["code"], line["count"]) == ("shard-cut", 1)
    assert "webdataset" in line["hits"]
    assert "shard-cut" in run_command("adopt", tmp_path, "--replace").out


def test_one_tar_and_a_pattern_of_tars_can_be_adopted(tmp_path: Path) -> None:
    write(tmp_path, {f"in/x-{n:03d}.tar": tar_bytes(pairs(n * 2, 2)) for n in range(4)})
    one = run_command("adopt", tmp_path / "in/x-002.tar", "-o", tmp_path / "one", "--json")
    some = run_command("adopt", tmp_path / "in/x-{001..003}.tar", "-o", tmp_path / "some", "--json")
    assert (one.summary["shards"], some.summary["shards"]) == (1, 3)
    assert_clean_failure(run_command("adopt", tmp_path / "in/x-{001..009}.tar", "-o", tmp_path / "none"), 4)


@pytest.mark.parametrize("where", ["nothing-here", "empty"])
def test_nothing_to_adopt_is_said(where: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_clean_failure(run_command("adopt", tmp_path / where), 4)
    assert not (tmp_path / where / ".wdstools").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("repair", "theirs", "-y"),
        ("remove", "theirs", "--where", "label is None", "--in-place", "-y"),
        ("append", "theirs", "theirs", "--in-place", "-y"),
        ("mirror", "theirs", "copy", "-y"),
        ("pull", "theirs", "copy"),
    ],
)
def test_what_only_our_shards_can_do_is_refused_and_nothing_is_written(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    _adopted(tmp_path / "theirs", {"a.tar": tar_bytes(pairs(0, 2), USTAR)})
    before = snapshot(tmp_path)
    result = run_command(*arguments, cwd=tmp_path)
    assert_clean_failure(result, 2)
    assert "not-canonical" in result.err
    assert snapshot(tmp_path) == before
