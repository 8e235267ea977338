"""Laws of the manifest: one canonical form, nothing else accepted, nothing unknown lost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import string
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.came import came
from tests.support.laws import LAW, SHORT_LAW
from tests.support.refusal import or_refused
from wdstools.errors import FormatError, UnsupportedVersionError
from wdstools.formats import manifest as manifest_files
from wdstools.formats.manifest import (
    Manifest,
    ShardEntry,
    dumps,
    index_path,
    is_packed,
    is_plain_path,
    is_safe_path,
    is_split_name,
    loads,
    shard_path,
)
from wdstools.formats.sample import MEMBER_ORDER

_COUNTS = st.integers(0, 2**40)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_LEAVES = st.none() | st.booleans() | st.integers(0, 2**53 - 1) | _TEXT
_JSON = st.recursive(_LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3))
_KNOWN = {f.name for cls in (Manifest, ShardEntry) for f in dataclasses.fields(cls)} | {"dataset", "format", "totals"}
_EXTRA = st.dictionaries(_TEXT.filter(lambda name: name not in _KNOWN), _JSON, max_size=2)
split_names = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=10).filter(is_split_name)


def _hex(digits: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=digits // 2, max_size=digits // 2).map(bytes.hex)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    splits = {}
    for split in draw(st.lists(split_names, unique=True, max_size=3)):
        splits[split] = tuple(draw(_shard(shard_path(split, number))) for number in range(draw(st.integers(0, 3))))
    members = draw(st.sets(st.sampled_from(MEMBER_ORDER), min_size=1))
    members -= set(draw(st.permutations(sorted(members & {"jpg", "png", "webp"})))[1:])  # one primary image at most
    return Manifest(
        name=draw(_TEXT),
        version=draw(st.integers(0, 2**53 - 1)),
        labels=tuple(draw(st.lists(_TEXT, unique=True, max_size=3))),
        members=tuple(member for member in MEMBER_ORDER if member in members),
        seed=draw(st.integers(0, 2**53 - 1)),
        splits=splits,
        authenticated_ranges=draw(st.booleans()),
        extra=draw(_EXTRA),
        format=draw(st.sampled_from([1, 2])),
    )


def _shard(path: str) -> st.SearchStrategy[ShardEntry]:
    return st.builds(
        ShardEntry,
        path=st.just(path),
        bytes=_COUNTS,
        samples=_COUNTS,
        sha256=_hex(64),
        xxh3_128=_hex(32),
        crc32c=_hex(8),
        crc64nvme=_hex(16),
        rows=_hex(64),
        encoding=st.just("tar"),
        values=st.just("") | _hex(64),
        extra=_EXTRA,
    )


SHARD = ShardEntry("train/train-000000.tar", 10240, 1, "a" * 64, "b" * 32, "c" * 8, "d" * 16, "e" * 64)
SMALL = Manifest("n", 1, ("x",), ("jpg",), 0, {"train": (SHARD,)})


def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(dumps(SMALL))
    return parsed


def canonical(parsed: dict[str, Any]) -> bytes:
    """Canonical bytes of a document, made without the library: what a liar would write."""
    splits = parsed.get("splits")

    def plain(value: object) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    def lines(value: object) -> str:
        if not isinstance(value, dict) or not all(isinstance(shards, list) for shards in value.values()):
            return plain(value)
        shards = (f"{plain(name)}:[\n" + ",\n".join(map(plain, value[name])) + "\n]" for name in sorted(value))
        return "{" + ",".join(shards) + "}"

    parts = (f"{plain(k)}:{lines(splits) if k == 'splits' else plain(parsed[k])}" for k in sorted(parsed))
    return ("{" + ",".join(parts) + "}\n").encode()


def refused(data: bytes) -> FormatError:
    with pytest.raises(FormatError) as caught:
        loads(data)
    assert not isinstance(caught.value, UnsupportedVersionError)
    assert caught.value.code == "manifest-damaged"
    return caught.value


@LAW
@given(manifests())
def test_a_manifest_round_trips_unknown_fields_and_all(manifest: Manifest) -> None:
    data = dumps(manifest)
    assert loads(data) == manifest
    assert dumps(loads(data)) == data
    assert data == canonical(json.loads(data))
    assert manifest.root == hashlib.sha256(data).hexdigest()


@LAW
@given(manifests())
def test_a_manifest_has_one_line_a_shard(manifest: Manifest) -> None:
    listed = []
    for line in dumps(manifest).split(b"\n"):
        try:
            parsed = json.loads(line.removesuffix(b","))
        except ValueError:
            continue
        listed += [parsed["path"]] if "path" in parsed else []
    assert listed == [shard.path for split in sorted(manifest.splits) for shard in manifest.splits[split]]


@LAW
@given(manifests(), st.data())
def test_the_order_of_splits_in_memory_does_not_change_the_root(manifest: Manifest, data: st.DataObject) -> None:
    names = data.draw(st.permutations(list(manifest.splits)))
    assert dataclasses.replace(manifest, splits={name: manifest.splits[name] for name in names}).root == manifest.root


@LAW
@given(manifests(), st.data())
def test_other_white_space_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    good = dumps(manifest)
    at = data.draw(st.integers(0, len(good)))
    space = data.draw(st.sampled_from([b" ", b"\n", b"\t", b"\r"]))
    changed = good[:at] + space + good[at:]
    with or_refused("manifest-damaged"):
        assert loads(changed) != manifest  # white space inside a string is another string


@LAW
@given(manifests(), st.data())
def test_no_changed_byte_is_read_as_the_same_manifest(manifest: Manifest, data: st.DataObject) -> None:
    changed = bytearray(dumps(manifest))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with or_refused("manifest-damaged"), or_refused("format-version"):
        read = loads(bytes(changed))
        assert read != manifest
        assert dumps(read) == changed


_PLACES: list[list[Any]] = [
    [name] for name in ("splits", "totals", "dataset", "labels", "seed", "members", "profile", "new")
]
_PLACES += [["splits", "train"], ["splits", "new"], ["dataset", "name"], ["totals", "bytes"], ["labels", 0]]
_PLACES += [["splits", "train", 0], *(["splits", "train", 0, name] for name in ("path", "bytes", "sha256", "new"))]


@LAW
@given(st.sampled_from(_PLACES), _JSON)
@example(["splits", "train"], 5)
@example(["splits", "train"], None)
@example(["splits", "train", 0], None)
@example(["labels"], [[]])
@example(["totals"], {"bytes": True})
def test_any_value_in_any_place_is_read_or_refused_cleanly(path: list[Any], value: Any) -> None:
    parsed = document()
    place: Any = parsed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    data = canonical(parsed)
    with or_refused("manifest-damaged"):
        assert dumps(loads(data)) == data


@SHORT_LAW
@given(st.binary(max_size=200) | _JSON.map(lambda value: json.dumps(value).encode()))
@example(b"\xef\xbb\xbf{}\n")
@example(b"[" * 100_000)
@example(b'{"format":' + b"9" * 5000 + b"}")
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    refused(data)


def test_an_unknown_field_nested_at_any_depth_is_read_or_refused_cleanly() -> None:
    good = dumps(SMALL)
    for depth in (10, 100, *range(sys.getrecursionlimit() - 300, sys.getrecursionlimit() + 10), 5000):
        data = good.replace(b'"totals"', b'"t":' + b"[" * depth + b"]" * depth + b',"totals"')
        with or_refused("manifest-damaged"):
            assert loads(data).extra["t"] is not None


@pytest.mark.parametrize("value", [b"true", b'"1"', b"null", b"[1]"])
def test_a_number_is_no_truth_and_no_text(value: bytes) -> None:
    for values in ("", "f" * 64):
        shard = dataclasses.replace(SHARD, bytes=1, values=values)
        good = dumps(dataclasses.replace(SMALL, splits={"train": (shard,)}))
        for name in (b'"samples":1,"sha256"', b'"bytes":1,"crc32c"'):
            assert good.count(name) == 1
            refused(good.replace(name, name.replace(b":1", b":" + value)))


def test_a_profile_that_nobody_knows_is_refused() -> None:
    assert "profile" in refused(dumps(SMALL).replace(b'"profile":"canonical"', b'"profile":"other"')).message


def test_a_field_given_twice_is_refused() -> None:
    good = dumps(SMALL)
    for twice in (b'"seed":0,"seed":0', b'"seed":1,"seed":0'):
        told = refused(good.replace(b'"seed":0', twice)).message
        assert "twice" in told
        assert "JSON" not in told
    assert "twice" in refused(good.replace(b'"samples":1,"sha256"', b'"samples":1,"samples":1,"sha256"')).message


@pytest.mark.parametrize("number", ["1.0", "1e3", "0.5", "NaN", "Infinity", "-Infinity", "-0.0"])
@pytest.mark.parametrize("place", ['"seed":', '"version":', '"unknown":'])
def test_a_number_that_is_no_integer_is_refused_everywhere(number: str, place: str) -> None:
    extra = dataclasses.replace(SMALL, extra={"unknown": 1})
    old = place + ("1" if place != '"seed":' else "0")
    assert old.encode() in dumps(extra)
    told = refused(dumps(extra).replace(old.encode(), (place + number).encode()))
    assert told.message == f"a number is not an integer (field {number})"


@pytest.mark.parametrize("name", ["labels", "members"])
@pytest.mark.parametrize("values", [["txt", "txt"], ["txt", 1], [None], [["txt"]]])
def test_labels_and_members_are_distinct_texts(name: str, values: list[object]) -> None:
    told = refused(canonical({**document(), name: values}))
    assert told.message == f"not a list of distinct strings (field {name})"


@pytest.mark.parametrize("number", [2**53, 2**63, 2**64, 10**30, -1])
@pytest.mark.parametrize("place", ["seed", "version", "samples", "unknown", "shard-unknown"])
def test_an_integer_that_another_reader_would_round_is_refused_everywhere(number: int, place: str) -> None:
    parsed = document()
    shard = parsed["splits"]["train"][0]
    homes = {"version": parsed["dataset"], "samples": shard, "shard-unknown": shard}
    homes.get(place, parsed)[place] = number
    if place == "samples":
        parsed["totals"]["samples"] = number
    refused(canonical(parsed))


def test_the_largest_integer_is_accepted() -> None:
    manifest = dataclasses.replace(SMALL, version=2**53 - 1, extra={"unknown": [2**53 - 1]})
    assert loads(dumps(manifest)) == manifest


def test_a_lone_surrogate_is_refused() -> None:
    refused(dumps(SMALL).replace(b'"name":"n"', b'"name":"\\ud800"'))


@pytest.mark.parametrize("version", [0, 3, 4, 2**53 - 1])
def test_a_newer_format_is_named_as_such(version: int) -> None:
    parsed = {**document(), "format": version, "something": {"new": [1]}}
    with pytest.raises(UnsupportedVersionError) as caught:
        loads(canonical(parsed))
    assert caught.value.code == "format-version"
    assert str(version) in caught.value.got


@pytest.mark.parametrize(
    "members",
    [["jpg", "txt", "cls", "json", "a", "mask.png"], ["txt"], ["mask.png", "npy"], ["webp", "a_1.b_2"], ["x" * 32]],
)
def test_format_2_has_members_of_any_extension(members: list[str]) -> None:
    data = canonical({**document(), "format": 2, "members": members})
    assert loads(data).members == tuple(members)
    assert loads(data).image_extension == (members[0] if members[0] in ("jpg", "webp") else "")
    assert dumps(loads(data)) == data
    if set(members) - set(MEMBER_ORDER):
        assert "members" in refused(canonical({**document(), "members": members})).message


@pytest.mark.parametrize(
    "members",
    [
        ["jpg", "png"],
        ["npy", "jpg"],
        ["jpg", "b", "a"],
        ["__x"],
        ["x" * 33],
        ["a..b"],
        [".a"],
        ["a."],
        ["A"],
        ["é"],
        [],
    ],
)
def test_members_that_format_2_does_not_have_are_refused(members: list[str]) -> None:
    assert "members" in refused(canonical({**document(), "format": 2, "members": members})).message


@pytest.mark.parametrize("absent", ["sha256", "xxh3_128", "crc32c", "crc64nvme"])
def test_only_a_foreign_manifest_may_lack_a_digest_that_was_not_computed(absent: str) -> None:
    parsed = document()
    parsed["splits"]["train"][0][absent] = ""
    assert absent in refused(canonical(parsed)).message
    parsed["profile"] = "foreign"
    assert getattr(loads(canonical(parsed)).splits["train"][0], absent) == ""


def test_the_digest_of_values_may_be_absent_but_not_empty() -> None:
    parsed = document()
    assert "values" not in parsed["splits"]["train"][0]
    parsed["splits"]["train"][0]["values"] = ""
    assert "values" in refused(canonical(parsed)).message
    parsed["splits"]["train"][0]["values"] = "a" * 64
    assert loads(canonical(parsed)).splits["train"][0].values == "a" * 64


UNSAFE = ["/etc/passwd", "../x.tar", "train/../../x.tar", "train//x.tar", ".hidden/x.tar", "train/.x.tar", "a\\b.tar"]
UNSAFE += ["", ".", "..", "~/x.tar", "train/x.tar/", "a b.tar", "a\nb.tar", "é.tar", "C:/x.tar", "-x.tar", "a\0.tar"]


#: In foreign names only what could mislead is refused.
FOREIGN = {"a b.tar", "é.tar"}


@pytest.mark.parametrize(
    ("profile", "path"),
    [*(("canonical", path) for path in UNSAFE), *(("foreign", path) for path in UNSAFE if path not in FOREIGN)],
)
def test_an_unsafe_shard_path_is_refused(path: str, profile: str) -> None:
    parsed = {**document(), "profile": profile}
    parsed["splits"]["train"][0]["path"] = path
    assert not is_safe_path(path)
    assert "path" in refused(canonical(parsed)).message


@pytest.mark.parametrize("path", sorted(FOREIGN))
def test_a_foreign_shard_may_have_any_letters_and_spaces(path: str) -> None:
    parsed = {**document(), "profile": "foreign"}
    parsed["splits"]["train"][0]["path"] = path
    assert loads(canonical(parsed)).splits["train"][0].path == path


@pytest.mark.parametrize("path", ["train/train-000001.tar", "val/val-000000.tar", "train/train-0000000.tar", "a/b.tar"])
def test_shards_are_named_by_their_place(path: str) -> None:
    for values in ({}, {"values": "f" * 64}):
        parsed = document()
        parsed["splits"]["train"][0] |= {"path": path, **values}
        told = refused(canonical(parsed))
        assert told.message == "a shard path is not canonical (field splits.train[0].path)"
        assert (told.expected, told.got) == ("train/train-000000.tar", path)


@pytest.mark.parametrize(
    ("path", "packed"),
    [
        ("train/train-000000.tar", True),
        (".wdstools/index/train-000000.parquet", True),
        ("train/val-000000.tar", False),
        ("train-000000", False),
        ("train-000000.parquet", False),
        (".wdstools/index/train-000000", False),
        (".wdstools/index/train/train-000000.parquet", False),
    ],
)
def test_what_was_packed_is_told_by_its_path(path: str, packed: bool) -> None:
    assert is_packed(path) is packed


@LAW
@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=6), min_size=1, max_size=3
    )
)
def test_a_foreign_path_stays_below_its_root(parts: list[str]) -> None:
    path = "/".join(parts)
    if is_plain_path(path):
        assert os.path.normpath(path) == path
        assert not path.startswith(("/", "~", "."))
        assert "://" not in path
    else:
        assert set(path) & set("\\/:") or any(part[0] in ".~-" for part in parts)


@LAW
@given(st.lists(st.sampled_from(["a", "b.c", "_%-~", "..", ".h", "-x", "~", "é", "a b", ""]), max_size=3).map("/".join))
def test_a_path_is_safe_when_each_part_of_it_is_a_plain_visible_name(path: str) -> None:
    parts = path.split("/")
    plain = path.isascii() and " " not in path and all(part and part[0] not in ".-~" for part in parts)
    assert is_safe_path(path) == plain


@pytest.mark.parametrize("name", ["", "train data", "tar", "my-target", "../x", "a/b", "é", "-x", "a" * 65, "x\n"])
def test_a_split_name_that_a_reader_would_misread_is_refused(name: str) -> None:
    assert not is_split_name(name)
    parsed = document()
    parsed["splits"] = {name: parsed["splits"]["train"]}
    for profile in ("canonical", "foreign"):
        assert "not a split name" in refused(canonical({**parsed, "profile": profile})).message


def test_a_manifest_may_be_as_large_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dumps(SMALL)
    monkeypatch.setattr(manifest_files, "MAX_MANIFEST_BYTES", len(data))
    assert loads(data) == SMALL
    monkeypatch.setattr(manifest_files, "MAX_MANIFEST_BYTES", len(data) - 1)
    assert (refused(data).got, "too large" in refused(data).message) == (f"{len(data)} bytes", True)


def test_two_shards_that_would_share_an_index_are_refused() -> None:
    one, two = (dataclasses.replace(SHARD, path=path) for path in ("a/a-000000.tar", "a-000000"))
    assert index_path(one.path) == index_path(two.path)
    refused(dumps(dataclasses.replace(SMALL, profile="foreign", splits={"a": (one,), "b": (two,)})))


def test_totals_that_are_not_the_sums_are_refused() -> None:
    for name in ("bytes", "samples", "shards"):
        parsed = document()
        parsed["totals"][name] += 1
        assert "totals" in refused(canonical(parsed)).message


@pytest.mark.parametrize("digest", ["A" * 64, "a" * 63, "a" * 65, "g" * 64, "", " " * 64])
@pytest.mark.parametrize("name", ["sha256", "rows"])
def test_a_digest_that_is_not_lower_case_hex_of_its_length_is_refused(name: str, digest: str) -> None:
    parsed = document()
    parsed["splits"]["train"][0][name] = digest
    assert name in refused(canonical(parsed)).message


def test_each_missing_field_is_named() -> None:
    for name in came(document()):
        parsed = document()
        del parsed[name]
        assert name in refused(canonical(parsed)).message
    for name in came(document()["splits"]["train"][0]):
        parsed = document()
        del parsed["splits"]["train"][0][name]
        assert name in refused(canonical(parsed)).message


@pytest.mark.parametrize("name", ['a "tar".tar', "\u65e5\u672c.tar", "a b.tar"])
def test_a_name_that_needs_an_escape_comes_back(name: str) -> None:
    """Paths of shards that others made may have almost any characters."""
    one = dataclasses.replace(SHARD, path=name, values="")
    manifest = dataclasses.replace(SMALL, profile="foreign", splits={"train": (one,)})
    assert loads(dumps(manifest)) == manifest


def test_a_split_name_has_at_most_64_characters() -> None:
    assert is_split_name("a" * 64)
    assert not is_split_name("a" * 65)
