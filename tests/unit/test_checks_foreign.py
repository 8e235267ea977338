"""Shards that something else made: which member is not what it was adopted as, and what else has changed."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg
from tests.support.damaged_dataset import flipped
from tests.support.foreign_tars import pairs, tar_bytes, write
from tests.support.golden_in_memory import Held
from tests.support.rawtar import END, header, member
from wdstools.checks.foreign import check_foreign_rows, decode_foreign, localise_foreign
from wdstools.checks.lone_tar import check_lone
from wdstools.checks.shard import ShardCheckTask, check_shard
from wdstools.formats.index import write_index
from wdstools.results import Finding

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.dataset import Dataset

MEMBERS = pairs(0, 4)
PLAIN = tar_bytes(MEMBERS)


@pytest.fixture(scope="module", name="adopted", params=["tar", "tar.gz"])
def _adopted(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Dataset:
    data = PLAIN if request.param == "tar" else gzip.compress(PLAIN, mtime=0)
    folder = tmp_path_factory.mktemp("foreign")
    return wt.adopt(write(folder, {f"train-000.{request.param}": data})).dataset


def _rows(dataset: Dataset) -> tuple[Any, Any, list[dict[str, Any]]]:
    ((_, entry),) = dataset.manifest.shards
    table = dataset.index(entry)
    return entry, table, table.to_pylist()


def _stored(dataset: Dataset, plain: bytes) -> tuple[Held, str]:
    ((_, entry),) = dataset.manifest.shards
    return Held({entry.path: plain if entry.encoding == "tar" else gzip.compress(plain, mtime=0)}), entry.path


def _localised(dataset: Dataset, plain: bytes) -> list[Finding]:
    entry, table, _ = _rows(dataset)
    return list(localise_foreign(_stored(dataset, plain)[0], entry, table))


def _without_words(findings: list[Finding]) -> list[Finding]:
    return [replace(finding, message="") for finding in findings]


def test_a_payload_that_differs_is_told_by_its_member(adopted: Dataset) -> None:
    entry, _, rows = _rows(adopted)
    caption = rows[1]["members"][1]
    assert PLAIN[caption["offset"] :].startswith(b"caption 1")
    found = _localised(adopted, flipped(PLAIN, caption["offset"] + 8, 0))
    assert [replace(one, message="", got=None) for one in found] == [
        Finding(
            "payload", entry.path, "", "000001", "txt", caption["offset"], 9,
            f"xxh3:{caption['xxh3_64']:016x}", None, cause="payload-differs",
        )
    ]  # fmt: skip
    assert found[0].message == "a payload differs from what was adopted"
    assert found[0].got is not None
    assert found[0].got[5:] != f"{caption['xxh3_64']:016x}"
    both = flipped(flipped(PLAIN, caption["offset"], 0), rows[3]["members"][0]["offset"], 1)
    assert [(one.key, one.member) for one in _localised(adopted, both)] == [("000001", "txt"), ("000003", "jpg")]


def test_a_shard_that_ends_inside_a_payload_is_told_once(adopted: Dataset) -> None:
    entry, _, rows = _rows(adopted)
    image = rows[2]["members"][0]
    found = _localised(adopted, PLAIN[: image["offset"] + 100])
    said = Finding(
        "truncated", entry.path, "", "000002", "jpg", image["offset"] + 100, image["size"] - 100,
        f"xxh3:{image['xxh3_64']:016x}", None, cause="payload-cut",
    )  # fmt: skip
    assert found == [replace(said, message="the file ends inside a payload")]


def test_headers_and_what_is_outside_of_samples_are_told_from_payloads(adopted: Dataset) -> None:
    entry, _, rows = _rows(adopted)
    outside = Finding("trailer", entry.path, "", cause="outside-differs")
    in_header = _without_words(_localised(adopted, flipped(PLAIN, rows[1]["members"][1]["offset"] - 400, 0)))
    group = Finding(
        "header", entry.path, "", "000001", None, rows[1]["offset"], rows[1]["length"], cause="group-differs"
    )
    assert in_header == ([group] if entry.encoding == "tar" else [outside])
    assert _without_words(_localised(adopted, PLAIN[:-1] + b"x")) == [outside]


def test_what_cannot_be_unpacked_says_why(adopted: Dataset) -> None:
    entry, table, _ = _rows(adopted)
    whole, path = _stored(adopted, PLAIN)
    *_, found = localise_foreign(Held({path: whole.get(path)[:-40]}), entry, table)
    causes = {"tar": ("trailer", "outside-differs", None), "tar.gz": ("unreadable", found.got, found.cause)}
    assert (found.kind, found.cause, found.got) == causes[entry.encoding]
    (none,) = check_foreign_rows(Held({path: b"no tar"}), entry, "train", table)
    assert (none.kind, none.path, none.field) == ("index", entry.index_path, "number of rows")


def test_rows_are_those_of_the_shard(adopted: Dataset) -> None:
    entry, table, rows = _rows(adopted)
    store, _ = _stored(adopted, PLAIN)
    assert check_foreign_rows(store, entry, "train", table) == []
    at = table.schema.get_field_index("caption")
    words = [row["caption"] if number != 2 else "other" for number, row in enumerate(rows)]
    other = table.set_column(at, table.schema.field(at), [words])
    said = Finding("index", entry.index_path, "", "000002", cause="column-differs", field="caption")
    assert _without_words(check_foreign_rows(store, entry, "train", other)) == [said]


def test_every_image_is_decoded_and_nothing_else(adopted: Dataset) -> None:
    entry, table, rows = _rows(adopted)
    assert list(decode_foreign(_stored(adopted, PLAIN)[0], entry, table)) == []
    image = rows[2]["members"][0]
    damaged = flipped(PLAIN, image["offset"], 0)
    (found,) = decode_foreign(_stored(adopted, damaged)[0], entry, table)
    assert (found.kind, found.path, found.key, found.member) == ("image", entry.path, "000002", "jpg")
    assert (found.start, found.length) == (image["offset"], image["size"])
    assert found.message.startswith(f"{found.cause}: ")


@pytest.mark.parametrize("level", ["digest", "samples", "decode"])
def test_images_are_decoded_at_the_level_that_says_so(level: str, tmp_path: Path) -> None:
    whole = tiny_jpeg(3)
    bad = whole[:-60] + bytes(58) + whole[-2:]
    dataset = wt.adopt(write(tmp_path, {"train-000.tar": tar_bytes([("a.jpg", bad), ("a.txt", b"a")])})).dataset
    ((split, entry),) = dataset.manifest.shards
    found = check_shard(ShardCheckTask(dataset, split, entry, level, "xxh3_128"), lambda _: None).findings
    assert [finding.kind for finding in found] == (["image"] if level == "decode" else [])


def _checked(
    dataset: Dataset, data: bytes, level: str = "digest", digest: str = "xxh3_128", **changed: Any
) -> tuple[list[Finding], int]:
    """What is found in a shard with these bytes and ``changed`` fields of its entry, and how much is not proved."""
    ((split, entry),) = dataset.manifest.shards
    entry = replace(entry, **changed)
    twin = replace(entry, path="train-009.tar")  # has the same digests, or none either
    manifest = replace(dataset.manifest, splits={split: (entry, twin) if "sha256" in changed else (entry,)})
    there = replace(dataset, manifest=manifest, shards=Held({entry.path: data}), readers={})
    check = check_shard(ShardCheckTask(there, split, entry, level, digest), lambda _: None)
    return _without_words(list(check.findings)), len(check.unproved)


def _causes(*given: Any, **named: Any) -> list[str]:
    return [finding.cause for finding in _checked(*given, **named)[0]]


def test_members_say_more_of_a_shard_than_its_size_and_its_size_more_than_the_rest(adopted: Dataset) -> None:
    entry, _, rows = _rows(adopted)
    whole = _stored(adopted, PLAIN)[0].get(entry.path)
    payload = _stored(adopted, flipped(PLAIN, rows[1]["members"][1]["offset"], 0))[0].get(entry.path)
    assert _causes(adopted, payload) == _causes(adopted, payload + bytes(512)) == ["payload-differs"]
    assert _causes(adopted, whole + bytes(512)) == ["shard-longer"]
    last = flipped(whole, len(whole) - 1, 0)
    assert _causes(adopted, last) == ["outside-differs" if entry.encoding == "tar" else "compression-damaged"]
    # without an index, or digests in it, nothing is known of members
    for there, changed in ((replace(adopted, metadata=Held()), {}), (adopted, {"xxh3_128": "", "sha256": "5" * 64})):
        digest = "sha256" if changed else "xxh3_128"
        ((found,), _) = _checked(there, last, "digest", digest, **changed)
        expected = "5" * 64 if changed else entry.xxh3_128
        assert (found.kind, found.cause, found.expected) == ("file", "shard-changed", expected)
        assert _causes(there, whole + bytes(512), "digest", digest, **changed) == ["shard-longer"]


@pytest.mark.parametrize("level", ["size", "digest", "samples", "decode"])
def test_a_shard_without_the_digest_is_not_proved_but_its_size_is(adopted: Dataset, level: str) -> None:
    entry, _, _ = _rows(adopted)
    whole = _stored(adopted, PLAIN)[0].get(entry.path)
    assert _checked(adopted, whole, level, "sha256", sha256="") == ([], 0 if level == "size" else 1)
    ((found,), unproved) = _checked(adopted, whole + b"x", level, "sha256", sha256="")
    assert (found.kind, found.cause, found.start, found.length) == ("trailer", "shard-longer", len(whole), 1)
    assert (found.expected, found.got, unproved) == (f"{len(whole)} bytes", f"{len(whole) + 1} bytes", 0)


@pytest.mark.parametrize(
    ("level", "digest", "found"), [("digest", "xxh3_128", 0), ("digest", "sha256", 1), ("samples", "xxh3_128", 1)]
)
def test_an_index_is_compared_where_no_digest_proves_the_shard(
    adopted: Dataset, level: str, digest: str, found: int
) -> None:
    entry, table, rows = _rows(adopted)
    at = table.schema.get_field_index("caption")
    other = table.set_column(at, table.schema.field(at), [[row["caption"] + "?" for row in rows]])
    there = replace(adopted, metadata=Held({entry.index_path: write_index(other)}), readers={})
    whole = _stored(adopted, PLAIN)[0].get(entry.path)
    assert _causes(there, whole, level, digest, values="") == ["column-differs"] * found


ONE = member(b"a.jpg", b"x" * 700) + member(b"a.txt", b"words")
SPARSE = [member(b"s%d" % number, b"", b"S") for number in range(7)]
LONE: dict[str, tuple[bytes, list[str]]] = {
    "whole": (ONE + END, ["2 of 2 members have no checksum"]),
    "no end": (
        ONE,
        ["2 of 2 members have no checksum", "it has no end-of-archive blocks, so missing members would not show"],
    ),
    "two archives": (
        ONE + END + tar_bytes([("b.jpg", b"x"), ("b.txt", b"")]),
        [
            "4 of 4 members have no checksum",
            f"members follow the end of an archive (byte {len(ONE)}): most readers stop there",
        ],
    ),
    "junk": (
        ONE + END + b"junk" * 300,
        ["2 of 2 members have no checksum", "1,200 bytes after the end of the archive that are not a tar"],
    ),
    "empty": (END, ["an empty tar, which does not show what was in it"]),
}


@pytest.mark.parametrize("what", LONE)
@pytest.mark.parametrize("size", [100, 512, 1 << 20])
def test_what_nobody_can_tell_of_a_tar_of_others_is_said(what: str, size: int) -> None:
    data, said = LONE[what]
    result, unproved = check_lone((data[at : at + size] for at in range(0, len(data), size)), "x")
    assert (list(unproved), result.findings) == ([f"x: {text}" for text in said], [])
    assert (result.bytes, result.samples) == (len(data), 0 if what == "empty" else data.count(b".jpg"))


def test_what_is_no_tar_is_read_to_its_end() -> None:
    data = b"PK\3\4" + bytes(5000)
    result, unproved = check_lone((data[at : at + 1000] for at in range(0, len(data), 1000)), "x")
    (found,) = result.findings
    assert (found.kind, found.cause, found.got, result.bytes, unproved) == ("unreadable", "not-a-tar", "zip", 5004, ())


def test_damage_of_a_tar_of_others_has_its_place() -> None:
    cut, _ = check_lone([ONE[:900]], "x")
    assert _without_words(cut.findings) == [Finding("truncated", "x", "", start=0, length=900, cause="payload-cut")]
    bad, _ = check_lone([ONE + b"junk" * 128 + ONE + END], "x")
    assert _without_words(bad.findings) == [Finding("header", "x", "", start=len(ONE), cause="header-missing")]
    short, _ = check_lone([ONE + header(b"b.jpg", 9) + b"xyz"], "x")
    said = Finding("truncated", "x", "", start=len(ONE), length=515, cause="payload-cut")
    assert _without_words(short.findings) == [said]
