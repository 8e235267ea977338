"""Laws of keys, member names and hashes: injective, bounded, reversible, and split as webdataset splits them."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest
import xxhash
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.support.laws import LAW
from wdstools.errors import FormatError
from wdstools.formats.sample import (
    KEY_BYTES,
    MEMBER_ORDER,
    is_key,
    is_shortened,
    make_key,
    member_name,
    order_hash,
    plain_keys,
    shard_of,
    split_hash,
    split_member_name,
    unescape_key,
)
from wdstools.formats.tar import NAME_BYTES

_PARTS = st.binary(min_size=1, max_size=40).map(lambda part: part.replace(b"/", b"_"))
_LONG_PARTS = st.sampled_from([b"a" * 61, b"." * 21, b"%~" * 11, "é".encode() * 16, b"b" * 93, b"c" * 62 + b"."])
ids = st.lists(_PARTS | _LONG_PARTS, min_size=1, max_size=5).map(b"/".join)
labels = st.none() | st.text(min_size=1, max_size=20).filter(lambda text: "/" not in text and text.isprintable())


@LAW
@given(labels, ids)
@example(None, b"c" * 61 + b"/" + b"d" * 60)
def test_a_key_is_plain_and_leaves_room_for_every_extension(label: str | None, sample_id: bytes) -> None:
    key = make_key(label, sample_id)
    assert is_key(key)
    assert re.fullmatch(rb"[A-Za-z0-9_/%~-]+", key)
    assert len(key) <= KEY_BYTES
    for extension in MEMBER_ORDER:
        assert len(member_name(key.decode(), extension)) <= NAME_BYTES


@LAW
@given(labels, ids)
def test_a_key_that_is_not_shortened_gives_its_id_back(label: str | None, sample_id: bytes) -> None:
    key = make_key(label, sample_id)
    plain = sample_id if label is None else label.encode() + b"/" + sample_id
    if is_shortened(key):
        escaped = re.sub(rb"[^A-Za-z0-9_/-]", lambda match: b"%%%02X" % match[0][0], plain)
        assert len(escaped) > KEY_BYTES
        head, digest = key.split(b"~")
        assert escaped.startswith(head)
        assert digest.decode() == xxhash.xxh3_128_hexdigest(escaped[len(head) :])
    else:
        assert unescape_key(key) == plain


@LAW
@given(ids, ids)
@example(b"a.b", b"a%2Eb")
@example(b"a~b", b"a%7Eb")
@example(b"x" * 200, b"x" * 201)
def test_different_ids_never_get_one_key(first: bytes, second: bytes) -> None:
    assume(first != second)
    assert make_key(None, first) != make_key(None, second)


@LAW
@given(ids)
def test_a_shortened_key_is_no_other_ids_key(sample_id: bytes) -> None:
    key = make_key(None, sample_id + b"." * 60)
    assert is_shortened(key)
    assert make_key(None, key) != key


@pytest.mark.parametrize("sample_id", [b"", b"/", b"/a", b"a/", b"a//b", b"/" * 200, b"a" * 200 + b"//b", b"a/" * 100])
def test_an_id_with_an_empty_path_component_is_refused(sample_id: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        make_key(None, sample_id)
    assert caught.value.code == "key-invalid"


@LAW
@given(labels, ids, st.sampled_from(MEMBER_ORDER))
def test_a_member_name_is_split_as_it_was_made(label: str | None, sample_id: bytes, extension: str) -> None:
    key = make_key(label, sample_id).decode()
    assert split_member_name(member_name(key, extension)) == (key, extension)


@LAW
@given(st.text("ab./%~ \n", max_size=30) | st.text(max_size=30))
def test_names_are_split_as_webdataset_splits_them(name: str) -> None:
    from webdataset.tariterators import base_plus_ext

    theirs = base_plus_ext(name)
    assert split_member_name(name) == (None if theirs == (None, None) else theirs)


@LAW
@given(ids, st.integers(0, 2**53 - 1))
def test_hashes_are_xxh3_with_the_seed(key: bytes, seed: int) -> None:
    assert order_hash(key, seed) == xxhash.xxh3_64_intdigest(key, seed)
    assert split_hash(key, seed) == xxhash.xxh3_64_intdigest(b"split:" + key, seed)


@LAW
@given(st.integers(0, 2**64 - 1), st.integers(1, 10**6))
@example(0, 1)
@example(2**64 - 1, 10**6)
def test_a_shard_number_is_the_share_of_the_hash_space(order: int, shards: int) -> None:
    number = shard_of(order, shards)
    assert 0 <= number < shards
    assert number == (Fraction(order, 2**64) * shards).__floor__()


@LAW
@given(st.lists(st.sampled_from(["a", "B9", "_", "-", "%2E", "%7E", "%25", "%C3", "%FF", "/x"]), max_size=18))
def test_an_unescaped_key_makes_the_same_key_again(tokens: list[str]) -> None:
    key = ("k" + "".join(tokens)).encode()
    assert is_key(key)
    assert make_key(None, unescape_key(key)) == key


@pytest.mark.parametrize(
    "key", ["", "a.b", "a b", "a%2e", "a%", "a%4", "a//b", "/a", "a/", "é", "a~b", "a" * 96, "a\n"]
)
def test_what_no_id_can_give_is_no_key(key: str) -> None:
    assert not is_key(key.encode())


_IDS = st.text("ab_/-", max_size=6) | st.sampled_from(
    ["", "/a", "a/", "a//b", "a.b", "é", "a\nb", "c" * 118, "c" * 119, "c" * 120]
)


@LAW
@given(st.lists(st.tuples(st.none() | st.sampled_from(["a", "b/c", "", "x y"]), _IDS), min_size=1, max_size=4))
@example([("a", "b"), (None, "c")])
@example([(None, "a\nb")])
def test_keys_of_many_ids_at_once_are_those_of_each(pairs: list[tuple[str | None, str]]) -> None:
    names, each_id = zip(*pairs, strict=True)
    try:
        each = [make_key(label, sample_id.encode()) for label, sample_id in pairs]
    except FormatError:
        each = []
    plain = [f"{label}/{sample_id}" if label is not None else sample_id for label, sample_id in pairs]
    is_plain = [key.decode() for key in each] == plain
    assert plain_keys(names, each_id) == (each if is_plain else None)
