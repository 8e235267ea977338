"""One shard and its line of the manifest: who of the two is wrong, and what each level looks at."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import xxhash

from tests.support.city_pairs import tiny_jpeg
from tests.support.damaged_dataset import flipped
from tests.support.golden_in_memory import Held, golden, golden_files, held, opened
from tests.support.rawtar import END, member
from wdstools.checks.lone_tar import check_lone
from wdstools.checks.manifest_line import DescribeTask, describe_shard
from wdstools.checks.rebuild import proved_index, rebuild_index
from wdstools.checks.shard import ShardCheckTask, check_shard
from wdstools.errors import IntegrityError, StoreError
from wdstools.formats.index import read_index, write_index
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.tar import render_header, trailer_bytes
from wdstools.results import Finding

if TYPE_CHECKING:
    from wdstools.checks.shard import ShardCheck
    from wdstools.formats.manifest import Manifest, ShardEntry

SPLIT, ENTRY = golden().manifest.shards[1]
_, OTHER = golden().manifest.shards[0]
DATA, OTHER_DATA = golden_files()[ENTRY.path], golden_files()[OTHER.path]
DIGESTS = ("xxh3_128", "sha256")


def _entry(**changed: Any) -> ShardEntry:
    return replace(ENTRY, **changed)


def _check(
    data: bytes | None = DATA,
    level: str = "digest",
    digest: str = "xxh3_128",
    entry: ShardEntry = ENTRY,
    index: bytes | None = golden_files()[ENTRY.index_path],
    **fields: Any,
) -> ShardCheck:
    ticks: list[int] = []
    dataset = opened(held({ENTRY.path: data, ENTRY.index_path: index}, fields.pop("fails", None)), **fields)
    check = check_shard(ShardCheckTask(dataset, SPLIT, entry, level, digest), ticks.append)
    assert ticks == [entry.bytes]
    return check


def _said(*given: Any, **named: Any) -> list[Finding]:
    return [replace(finding, message="") for finding in _check(*given, **named).findings]


def _field(name: str, expected: str, got: str) -> Finding:
    return Finding("manifest", MANIFEST_PATH, "", expected=expected, got=got, cause="field-wrong", field=name)


@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("level", ["size", "digest", "samples", "decode"])
@pytest.mark.parametrize("anchored", [False, True])
def test_a_shard_that_is_whole_has_no_finding(level: str, digest: str, anchored: bool) -> None:
    check = _check(level=level, digest=digest, anchored=anchored)
    assert (check.findings, check.unproved, check.samples) == ((), (), 6)
    assert check.bytes == (0 if level == "size" else len(DATA))


def test_a_size_that_is_another_is_told_without_reading() -> None:
    sizes: dict[str, Any] = {"expected": "30720 bytes"}
    short = Finding(
        "truncated", ENTRY.path, "", start=30_717, length=3, got="30717 bytes", cause="shard-shorter", **sizes
    )
    long = Finding("trailer", ENTRY.path, "", start=30_720, length=2, got="30722 bytes", cause="shard-longer", **sizes)
    assert _said(DATA[:-3], "size") == [short]
    assert _said(DATA + b"xy", "size") == [long]
    assert _said(flipped(DATA, 700, 0), "size") == []


@pytest.mark.parametrize("digest", DIGESTS)
@pytest.mark.parametrize("level", ["digest", "samples"])
def test_the_manifest_is_wrong_about_a_shard_that_is_whole(level: str, digest: str) -> None:
    assert _said(level=level, digest=digest, entry=_entry(bytes=5)) == [_field("bytes", "30720", "5")]
    right, wrong = getattr(ENTRY, digest), "5" * len(getattr(ENTRY, digest))
    changed = _entry(**{digest: wrong})
    for index in (golden_files()[ENTRY.index_path], None):
        assert _said(level=level, digest=digest, entry=changed, index=index) == [_field(digest, right, wrong)]


def test_a_forger_makes_one_digest_right() -> None:
    changed = _entry(sha256="5" * 64)
    said = Finding(
        "payload", ENTRY.path, "", start=0, length=30_720, expected="5" * 64, got=ENTRY.sha256, cause="forged"
    )
    assert _said(digest="sha256", entry=changed, anchored=True) == [said]
    both = replace(changed, xxh3_128="5" * 32)
    assert _said(digest="sha256", entry=both, anchored=True) == [_field("sha256", ENTRY.sha256, "5" * 64)]


@pytest.mark.parametrize("digest", DIGESTS)
def test_a_whole_shard_in_the_place_of_another_is_told_as_that(digest: str) -> None:
    expected, got = getattr(ENTRY, digest), getattr(OTHER, digest)
    said = Finding("swapped", ENTRY.path, "", start=0, length=20_480, expected=expected, got=got, cause="swapped")
    check = _check(OTHER_DATA, digest=digest)
    assert [replace(finding, message="") for finding in check.findings] == [said]
    assert check.findings[0].message == f"this is the content of {OTHER.path}"
    # of no manifest that is known, and without an index
    changed = _entry(sha256="5" * 64, xxh3_128="5" * 32)
    of_another = Finding("swapped", ENTRY.path, "", expected="5" * 64, got=ENTRY.sha256, cause="of-another")
    alone = replace(golden().manifest, splits={"train": (OTHER, changed)})
    assert _said(digest=digest, entry=changed, index=None, manifest=alone) == [of_another]


@pytest.mark.parametrize("digest", DIGESTS)
def test_a_shard_of_another_size_is_of_another_only_if_each_member_proves_itself(digest: str) -> None:
    data = _packed(("a.jpg", tiny_jpeg(3)), ("a.txt", b"a"))
    got = hashlib.sha256(data).hexdigest()
    of_another = Finding("swapped", ENTRY.path, "", expected=ENTRY.sha256, got=got, cause="of-another")
    assert _said(data, digest=digest, index=None) == [of_another]
    body = DATA[:21_504] + member(b"z.jpg", b"x" * 20_000)
    loose = body + bytes(trailer_bytes(len(body)))
    assert [finding.cause for finding in _said(loose, digest=digest, index=None)] == ["shard-longer"]


def test_what_the_samples_say_is_more_than_what_the_size_says() -> None:
    payload = flipped(DATA, 700, 0)
    assert [finding.cause for finding in _said(payload)] == ["payload-differs"]
    assert [finding.cause for finding in _said(payload, index=None)] == ["payload-differs"]
    assert [finding.cause for finding in _said(payload + b"x")] == ["payload-differs", "bytes-follow"]
    assert [finding.cause for finding in _said(DATA[:20_000])] == ["payload-cut"]
    assert [finding.cause for finding in _said(DATA[:20_000], index=None)] == ["payload-cut"]


def test_the_rows_of_the_manifest_are_those_of_the_shard() -> None:
    for name in ("rows", "values"):
        right, wrong = getattr(ENTRY, name), "5" * 64
        assert _said(level="samples", entry=_entry(**{name: wrong})) == [_field(name, right, wrong)]
        assert _said(entry=_entry(**{name: wrong})) == []
    assert _said(level="samples", entry=_entry(samples=7)) == [_field("samples", "6", "7")]


def _other_caption() -> bytes:
    table = read_index(golden_files()[ENTRY.index_path], where="")
    at, words = table.schema.get_field_index("caption"), table.column("caption").to_pylist()
    column = pa.array([*words[:2], "other words", *words[3:]], pa.string())
    return write_index(table.set_column(at, table.schema.field(at), column))


@pytest.mark.parametrize(
    ("level", "values", "anchored", "found"),
    [
        ("digest", "", True, True),
        ("digest", "", False, False),
        ("digest", ENTRY.values, True, False),
        ("samples", "", False, True),
        ("samples", ENTRY.values, False, False),  # the index has a finding of its own
    ],
)
def test_an_index_is_proved_by_its_shard_where_no_digest_does(
    level: str, values: str, anchored: bool, found: bool
) -> None:
    said = Finding("index", ENTRY.index_path, "", "new%20york/copy", cause="column-differs", field="caption")
    entry = _entry(values=values)
    assert _said(level=level, entry=entry, index=_other_caption(), anchored=anchored) == ([said] if found else [])


def _packed(*members: tuple[str, bytes]) -> bytes:
    parts = [
        render_header(name.encode(), len(data), xxhash.xxh3_64_intdigest(data)) + data + bytes(-len(data) % 512)
        for name, data in members
    ]
    body = b"".join(parts)
    return body + bytes(trailer_bytes(len(body)))


def _kinds(image: bytes, level: str, manifest: Manifest) -> list[str]:
    """What is found in a shard of one image that the manifest describes rightly."""
    store = Held({ENTRY.path: _packed(("a.jpg", image), ("a.txt", b"a"))})
    entry = describe_shard(
        DescribeTask(store, SPLIT, ENTRY.path, golden().manifest.labels, True, True), lambda _: None
    ).entry
    dataset = opened(store, manifest=manifest)
    check = check_shard(ShardCheckTask(dataset, SPLIT, entry, level, "sha256"), lambda _: None)
    return [finding.kind for finding in check.findings]


@pytest.mark.parametrize(("level", "found"), [("digest", 0), ("samples", 0), ("decode", 1)])
def test_images_are_decoded_at_the_level_that_says_so(level: str, found: int) -> None:
    whole = tiny_jpeg(3)
    assert _kinds(whole[:-60] + bytes(58) + whole[-2:], level, golden().manifest) == ["image"] * found


@pytest.mark.parametrize(("version", "found"), [(1, 1), (2, 0), (3, 0)])
def test_bytes_behind_an_image_are_damage_in_the_first_format_only(version: int, found: int) -> None:
    manifest = replace(golden().manifest, format=version)
    assert _kinds(tiny_jpeg(3) + b"more", "decode", manifest) == ["image"] * found


@pytest.mark.parametrize(("level", "causes"), [("header", []), ("decode", ["image-too-large"])])
def test_an_image_may_have_any_size_until_it_is_decoded(level: str, causes: list[str]) -> None:
    data = _packed(("a.jpg", tiny_jpeg(3)), ("a.txt", b"a"))
    made = rebuild_index([data], path="x", split=SPLIT, labels=(), authenticated=False, level=level, max_pixels=1)
    assert [finding.cause for finding in made.findings] == causes
    assert made.table.column("width").null_count == 0


@pytest.mark.parametrize("width", [1 << 31, (1 << 32) - 1])
def test_an_image_has_no_more_pixels_than_an_index_can_say(width: int) -> None:
    png = (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
        + width.to_bytes(4, "big")
        + b"\0\0\0\1"
        + bytes(20)
        + b"\0\0\0\0IEND\xaeB`\x82"
    )
    made = rebuild_index(
        [_packed(("a.png", png), ("a.txt", b"a"))], path="x", split=SPLIT, labels=(), authenticated=False
    )
    assert [finding.cause for finding in made.findings] == ["image-too-large"]
    assert made.table.column("width").null_count == 1


@pytest.mark.parametrize(
    ("payload", "number", "label"),
    [
        (b"1", 1, "dog"),
        (b"2", 2, None),
        (b"999999999", 999_999_999, None),
        (b"1000000000", None, None),
        (b"9999999999", None, None),
        (b"-1", None, None),
        (b"", None, None),
    ],
)
def test_a_class_is_a_number_of_at_most_nine_digits(payload: bytes, number: int | None, label: str | None) -> None:
    data = _packed(("a.jpg", tiny_jpeg(3)), ("a.cls", payload))
    made = rebuild_index([data], path="x", split=SPLIT, labels=("cat", "dog"), authenticated=False)
    assert made.table.select(["cls", "label"]).to_pylist() == [{"cls": number, "label": label}]


def test_an_index_without_values_is_proved_by_its_shard() -> None:
    table = golden().index(ENTRY)
    assert proved_index(opened(held()), SPLIT, ENTRY).equals(table)
    # all but the sources, of which a shard knows nothing
    caption = opened(held({ENTRY.index_path: _other_caption()}))
    assert proved_index(caption, SPLIT, _entry(values="")).equals(table)


@pytest.mark.parametrize(
    ("data", "changed"),
    [(flipped(DATA, 700, 0), {}), (DATA + b"x", {}), (flipped(DATA, len(DATA) - 1, 0), {}), (DATA, {"rows": "5" * 64})],
)
def test_a_shard_that_is_not_that_of_the_manifest_proves_no_index(data: bytes, changed: dict[str, Any]) -> None:
    entry = _entry(**changed)
    with pytest.raises(IntegrityError) as refused:
        proved_index(opened(held({ENTRY.path: data})), SPLIT, entry)
    error = refused.value
    assert (error.code, error.where) == ("shard-damaged", f"memory:/{ENTRY.path}")
    assert error.expected == f"sha256 {ENTRY.sha256}"
    assert (error.got == error.expected) == bool(changed)


def test_a_store_that_fails_on_the_way_proves_nothing() -> None:
    class Failing(Held):
        def get(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            """Fails."""
            raise StoreError("no", code="unreachable", where=key)

    store = Failing({ENTRY.path: DATA})
    ticks: list[int] = []
    check = check_shard(ShardCheckTask(opened(store), SPLIT, ENTRY, "digest", "sha256"), ticks.append)
    assert (check.findings, check.bytes, check.samples, ticks) == ((), 0, 0, [ENTRY.bytes])
    assert check.unproved == (f"memory:/{ENTRY.path}: no (unreachable)",)


@pytest.mark.parametrize(("count", "more"), [(1, ""), (5, ""), (6, " and 1 more"), (1007, " and 1,002 more")])
def test_sparse_members_are_named_and_counted(count: int, more: str) -> None:
    names = [f"{number:04d}.jpg" for number in range(count)]
    sparse = b"".join(member(name.encode(), b"", b"S") for name in names)
    _, unproved = check_lone([member(b"a.jpg", b"x") + sparse + END], "x")
    said = [text for text in unproved if "sparse members" in text]
    assert [text.partition("misread: ")[2] for text in said] == [f"{', '.join(names[:5])}{more}"]


def test_members_without_checksums_among_ours_are_counted_where_all_is_whole() -> None:
    body = DATA[:21_504] + member(b"z.jpg", b"xyz")
    data = body + bytes(trailer_bytes(len(body)))
    result, unproved = check_lone([data], "x")
    assert (result.findings, unproved) == ([], ("x: 1 of 19 members have no checksum",))
    result, unproved = check_lone([flipped(data, 700, 0)], "x")
    assert (len(result.findings), unproved) == (1, ())
    assert check_lone([DATA], "x")[1] == ()
