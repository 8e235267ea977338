"""What lies beside the shards, file by file: exactly what is said of each that is not what was written."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.damaged_dataset import flipped
from tests.support.golden_in_memory import golden, golden_files, held, opened
from tests.support.laws import SHORT_LAW
from wdstools.checks import metadata
from wdstools.checks.metadata import (
    IndexCheckTask,
    check_index,
    check_metadata,
    damaged_text,
    few_bits_apart,
    find_flipped_bit,
    read_list,
    undo_flipped_bit,
)
from wdstools.errors import StoreError
from wdstools.formats.card import CARD_PATH
from wdstools.formats.index import read_index, write_index
from wdstools.formats.manifest import MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH
from wdstools.formats.sums import SUMS_PATH, parse_sums
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

FILES = golden_files()
SUMS = {line.path: line.digest for line in parse_sums(FILES[SUMS_PATH])}
LINES = FILES[SUMS_PATH].splitlines(keepends=True)
SPLIT, ENTRY = golden().manifest.shards[1]
INDEX, SHARD = ENTRY.index_path, ENTRY.path
DENIED = StoreError("not allowed", code="denied")


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _off(digest: str, bits: int) -> str:
    """A digest with so many of its lowest bits changed."""
    return f"{int(digest, 16) ^ (1 << bits) - 1:064x}"


def test_the_list_of_a_whole_dataset_is_its_list() -> None:
    assert read_list(held()) == (SUMS, [])


@pytest.mark.parametrize(
    ("data", "lost", "said"),
    [
        (None, [*SUMS], Finding("missing", SUMS_PATH, "the checksum list is missing", cause="list-missing")),
        (
            b"".join([b"?\n", *LINES[1:]]),
            [LINES[0][66:-1].decode()],
            Finding(
                "sums",
                SUMS_PATH,
                "not a line of a checksum list (SHA256SUMS, line 1)",
                expected="DIGEST  PATH, or ALGORITHM (PATH) = DIGEST",
                got="b'?'",
                cause="sums-damaged",
            ),
        ),
        (
            b"".join([*LINES, b"?\n", b"!\n", b"-\n"]),
            [],
            Finding(
                "sums",
                SUMS_PATH,
                "not a line of a checksum list (SHA256SUMS, line 12, and 2 more)",
                expected="DIGEST  PATH, or ALGORITHM (PATH) = DIGEST",
                got="b'?'",
                cause="sums-damaged",
            ),
        ),
        (
            b"\xff\xfe?",
            [*SUMS],
            Finding(
                "sums",
                SUMS_PATH,
                "not a line of a checksum list (SHA256SUMS)",
                expected="DIGEST  PATH, or ALGORITHM (PATH) = DIGEST",
                got="b'\\xff\\xfe?'",
                cause="sums-damaged",
            ),
        ),
        (
            b"".join(reversed(LINES)),
            [],
            Finding("sums", SUMS_PATH, "the checksum list is not in the form it was written in", cause="list-form"),
        ),
        (  # of two lines for one path nobody knows which is right
            b"".join([*LINES, b"0" * 64 + LINES[0][64:]]),
            [LINES[0][66:-1].decode()],
            Finding("sums", SUMS_PATH, "the checksum list is not in the form it was written in", cause="list-form"),
        ),
    ],
)
def test_a_list_that_is_not_as_it_was_written_says_what_it_still_can(
    data: bytes | None, lost: list[str], said: Finding
) -> None:
    listed, found = read_list(held({SUMS_PATH: data}))
    assert (listed, found) == ({path: digest for path, digest in SUMS.items() if path not in lost}, [said])


def test_a_list_that_cannot_be_read_or_is_refused_says_why() -> None:
    said = Finding("unreadable", SUMS_PATH, "not allowed", got="denied", cause="denied")
    assert read_list(held(fails={SUMS_PATH: DENIED})) == ({}, [said])


def _check(
    changed: dict[str, bytes | None] | None = None,
    listed: dict[str, str] | None = None,
    fails: dict[str, StoreError] | None = None,
) -> list[Finding]:
    return list(check_metadata(opened(held(changed, fails)), SUMS if listed is None else listed))


def _without(*paths: str) -> dict[str, str]:
    return {path: digest for path, digest in SUMS.items() if path not in paths}


def _no_line(path: str) -> Finding:
    return Finding("sums", SUMS_PATH, f"no line for {path}", cause="line-missing", field=path)


def _card(part: str) -> Finding:
    message = f"the {part} does not match the manifest"
    return Finding("card", CARD_PATH, message, cause="card-part-differs", field=part)


CARD = FILES[CARD_PATH]
CARDS = {
    None: [Finding("missing", CARD_PATH, "the dataset card is missing", cause="card-missing")],
    CARD[:9] + b"\xff\xff\xff" + CARD[9:]: [
        Finding("card", CARD_PATH, "the card is not UTF-8", start=9, length=1, cause="card-not-text")
    ],
    CARD.replace(b"train/*", b"train/?"): [_card("YAML key 'configs'")],
    CARD.replace(b"15 samples", b"16 samples"): [_card("block between the wdstools marks")],
    CARD.replace(b"# golden", "# über".encode()): [],
}


@pytest.mark.parametrize("card", CARDS)
def test_what_is_said_of_a_card(card: bytes | None) -> None:
    assert _check({CARD_PATH: card}) == CARDS[card]


def test_what_cannot_be_read_is_said_of_each_file() -> None:
    for path in (MANIFEST_PATH, PROVENANCE_PATH, SKIPPED_PATH, CARD_PATH):
        said = Finding("unreadable", path, "not allowed", got="denied", cause="denied")
        assert _check(fails={path: DENIED}) == [said]


@pytest.mark.parametrize(
    ("path", "kind"), [(MANIFEST_PATH, "manifest"), (PROVENANCE_PATH, "provenance"), (SKIPPED_PATH, "skipped")]
)
def test_what_is_said_of_a_small_file(path: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, listed = FILES[path], SUMS[path]
    gone = Finding("missing", path, "a file is missing", expected=listed, cause="file-missing")
    assert _check({path: None}) == [gone]
    assert _check(listed=_without(path)) == [_no_line(path)]
    # a digest on the list that is damaged, and one that is of something else
    for bits, cause in ((16, "line-digest-damaged"), (17, "bytes-differ")):
        wrong = _off(listed, bits)
        message = {"bytes-differ": "the bytes are not those that were packed"}.get(
            cause, f"the digest of {path} is damaged"
        )
        given_as = (kind, path) if bits == 17 else ("sums", SUMS_PATH)
        digests = (wrong, listed) if bits == 17 else (listed, wrong)
        field = None if bits == 17 else path
        monkeypatch.setattr(metadata, "_SEARCHED_BYTES", 0)
        said = Finding(*given_as, message, expected=digests[0], got=digests[1], cause=cause, field=field)
        assert _check(listed={**SUMS, path: wrong}) == [said]
    monkeypatch.undo()
    at = data.index(b'"reason"' if kind == "skipped" else b'"dataset"') + 10
    (found,) = _check({path: flipped(data, at, 3)})
    assert (found.kind, found.path, found.cause, found.start, found.length) == (kind, path, "one-bit", at, 1)
    assert (found.expected, found.got) == (listed, _sha(flipped(data, at, 3)))


def test_a_card_is_no_evidence_against_a_manifest_that_is_damaged() -> None:
    changed: dict[str, bytes | None] = {CARD_PATH: b"nothing", MANIFEST_PATH: FILES[MANIFEST_PATH] + b"\n"}
    assert [finding.path for finding in _check(changed)] == [MANIFEST_PATH]
    changed[PROVENANCE_PATH] = None
    del changed[MANIFEST_PATH]
    assert [finding.path for finding in _check(changed)] == [PROVENANCE_PATH, CARD_PATH, CARD_PATH]


def test_skips_are_looked_at_where_they_are_or_are_listed() -> None:
    assert _check({SKIPPED_PATH: None}, _without(SKIPPED_PATH)) == []
    assert _check(listed=_without(SKIPPED_PATH)) == [_no_line(SKIPPED_PATH)]


def test_the_lines_of_shards_are_those_of_the_manifest_and_no_others() -> None:
    assert _check(listed=_without(SHARD, INDEX)) == [_no_line(SHARD), _no_line(INDEX)]
    for bits, where in ((16, "one of the two is damaged"), (17, "they are for different shards")):
        wrong = _off(ENTRY.sha256, bits)
        message = f"the line for {SHARD} differs from the manifest's sha256; {where}"
        said = Finding("sums", SUMS_PATH, message, expected=ENTRY.sha256, got=wrong, cause="line-differs", field=SHARD)
        assert _check(listed={**SUMS, SHARD: wrong}) == [said]
    extra = {**SUMS, "z": "0" * 64, "b/c": "0" * 64}
    assert _check(listed=extra) == [
        Finding(
            "sums",
            SUMS_PATH,
            f"a line for {path}, which is not a file of this dataset",
            cause="line-unknown",
            field=path,
        )
        for path in ("b/c", "z")
    ]


def test_so_few_bits_apart_is_the_same_digest_damaged() -> None:
    digest = _sha(b"")
    assert [few_bits_apart(digest, _off(digest, bits)) for bits in (0, 1, 16, 17, 256)] == [True] * 3 + [False] * 2
    assert not few_bits_apart(digest, digest[:-1])


@SHORT_LAW
@given(st.binary(min_size=1, max_size=20), st.integers(0, 19), st.integers(0, 7))
def test_one_flipped_bit_is_found_and_undone_wherever_it_is(data: bytes, at: int, bit: int) -> None:
    at %= len(data)
    damaged = flipped(data, at, bit)
    assert find_flipped_bit(damaged, _sha(data)) == at
    assert undo_flipped_bit(damaged, _sha(data)) == data
    assert undo_flipped_bit(damaged, _sha(b"x" * 30)) is None


def test_a_flipped_bit_is_looked_for_in_small_files_only() -> None:
    small, large = bytes(1 << 16), bytes((1 << 16) + 1)
    assert undo_flipped_bit(flipped(small, 0, 7), _sha(small)) == small
    assert find_flipped_bit(flipped(large, 0, 7), _sha(large)) is None


@pytest.mark.parametrize(
    ("text", "at", "near"),
    [
        (b'{"a":1,\n"b c":\n2}', -2, 'field "b c" on line 3'),
        (b'{"a":1,\n"b c":\n2}', 5, 'field "a" on line 1'),
        (b'{"a":1}', 2, "line 1"),
        (b"some\nwords", -1, "line 2"),
    ],
)
def test_a_flipped_bit_is_told_by_the_field_before_it(text: bytes, at: int, near: str) -> None:
    at %= len(text)
    said = damaged_text("provenance", "p", flipped(text, at, 0), _sha(text))
    assert (said.message, said.start, said.length) == (f"one bit is wrong, near {near}", at, 1)


def _index(
    data: bytes | None = FILES[INDEX], listed: str | None = SUMS[INDEX], shard: bytes | None = FILES[SHARD], **how: Any
) -> list[Finding]:
    dataset = opened(held({INDEX: data, SHARD: shard}, how.get("fails")))
    entry = replace(ENTRY, **how.get("entry", {}))
    return list(check_index(IndexCheckTask(dataset, how.get("split", SPLIT), entry, listed), lambda _: None))


def _other(column: str, change: Callable[[list[Any]], list[Any]]) -> bytes:
    """The index with other values in a column."""
    table = read_index(FILES[INDEX], where="")
    at = table.schema.get_field_index(column)
    values = pa.array(change(table.column(column).to_pylist()), table.schema.field(at).type)
    return write_index(table.set_column(at, table.schema.field(at), values))


WORDS = _other("caption", lambda values: [*values[:2], "other words", *values[3:]])
KEYS = _other("key", lambda values: [*values[:-1], "another"])
PLACES = _other("row", lambda values: values[::-1])
KEY = read_index(FILES[INDEX], where="").column("key")[2].as_py()


def test_an_index_that_is_what_was_packed_has_no_finding() -> None:
    assert _index() == _index(listed=None) == []


def test_an_index_that_is_not_there_or_cannot_be_read_says_so() -> None:
    message = "an index is missing; it can be rebuilt from its shard"
    assert _index(None) == [Finding("missing", INDEX, message, cause="index-missing")]
    denied = Finding("unreadable", INDEX, "not allowed", got="denied", cause="denied")
    assert _index(fails={INDEX: DENIED}) == [denied]
    (none,) = _index(b"no index")
    assert (none.kind, none.path, none.expected, none.got) == ("index", INDEX, SUMS[INDEX], _sha(b"no index"))
    assert none.cause == "index-damaged"


def test_a_line_that_is_damaged_is_told_from_an_index_that_is() -> None:
    wrong = _off(SUMS[INDEX], 16)
    message = f"the digest of {INDEX} is damaged"
    said = Finding(
        "sums", SUMS_PATH, message, expected=SUMS[INDEX], got=wrong, cause="line-digest-damaged", field=INDEX
    )
    assert _index(listed=wrong) == [said]
    (other,) = _index(KEYS, _off(_sha(KEYS), 3))
    assert (other.kind, other.field) == ("index", "key")


def _unlike(name: str, data: bytes) -> list[tuple[str, str, str | None, str | None]]:
    message = f"the {name} do not match the manifest"
    return [("index", message, getattr(ENTRY, name), f"{name}-differ")] if data else []


@pytest.mark.parametrize(("data", "name"), [(WORDS, "values"), (KEYS, "rows")])
def test_an_index_that_its_line_vouches_for_is_held_against_the_manifest(data: bytes, name: str) -> None:
    for listed in (None, _sha(data)):
        found = _index(data, listed)
        assert [(one.kind, one.message, one.expected, one.cause) for one in found] == _unlike(name, data)
        assert found[0].got not in (None, getattr(ENTRY, name))


def test_columns_that_no_digest_covers_follow_from_the_place() -> None:
    for data, split, column in ((PLACES, SPLIT, "row"), (FILES[INDEX], "other", "split")):
        message = f"column {column} does not match the shard's place"
        said = Finding("index", INDEX, message, cause="column-differs", field=column)
        assert _index(data, None, split=split) == [said]


def test_an_index_whose_bytes_are_others_is_explained_by_its_shard() -> None:
    same = "the bytes are not those that were packed"
    said = Finding("index", INDEX, same, expected=SUMS[INDEX], got=_sha(WORDS), cause="bytes-differ")
    caption = {"message": "column caption is damaged", "key": KEY, "cause": "column-differs", "field": "caption"}
    assert _index(WORDS) == [replace(said, **caption)]
    assert _index(WORDS, shard=None) == [said]
    sink = pa.BufferOutputStream()
    pq.write_table(read_index(FILES[INDEX], where=""), sink, compression="none")
    again = bytes(sink.getvalue())
    assert _index(again) == [replace(said, message=f"{same}, but the rows are", got=_sha(again))]


def test_a_number_of_samples_that_is_not_that_of_the_rows_is_of_the_manifest() -> None:
    (said,) = _index(entry={"samples": 7})
    message = f"field samples of {SHARD} does not match its index"
    assert said == Finding(
        "manifest", MANIFEST_PATH, message, expected="6", got="7", cause="field-wrong", field="samples"
    )
