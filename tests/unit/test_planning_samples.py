"""Keys of samples: made of label, split and id, or given; those of one key, and those that can have none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.properties.test_placement_laws import listing_of
from wdstools.formats.sample import make_key, order_hash
from wdstools.planning import samples as planned
from wdstools.planning.samples import drop_repeated, shared_by_splits, with_keys
from wdstools.planning.table import Samples
from wdstools.results import Skip
from wdstools.sources.base import SamplesBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.sources.base import Listing

#: Split, label, folder, stem, and a key where the source gives one.
Row = tuple[str | None, str | None, str | None, str, str | None]


def _listing(rows: Sequence[Row], **parts: Any) -> Listing:
    builder = SamplesBuilder()
    for split, label, folder, stem, key in rows:
        shared = {"split": split, "label": label, "id_dir": folder, "image_dir": split}
        builder.add(shared, {"stem": [stem], "image_suffix": [".jpg"], "key": [key]})
    return replace(listing_of([]), samples=builder.table(), **{"label_in_key": False, **parts})


ROWS: list[Row] = [
    ("train", "oslo", None, "1", None),
    ("val", None, "a/b", "2", None),
    (None, "new york", None, "é", None),
    ("train", "oslo", None, "3", "given"),
    (None, None, None, "4", "given.2"),
]


@pytest.mark.parametrize(
    ("label_in_key", "split_in_key", "keys"),
    [
        (False, False, ["1", "a/b/2", "%C3%A9", "given", "given.2"]),
        (True, False, ["oslo/1", "a/b/2", "new%20york/%C3%A9", "given", "given.2"]),
        (False, True, ["train/1", "val/a/b/2", "train/%C3%A9", "train/given", "train/given.2"]),
        (
            True, True, ["train/oslo/1", "val/a/b/2", "train/new%20york/%C3%A9", "train/given", "train/given.2"]
        ),
    ],
)  # fmt: skip
def test_keys_are_made_of_what_is_asked_for(label_in_key: bool, split_in_key: bool, keys: list[str]) -> None:
    for rows in (ROWS, ROWS[:3], ROWS[3:], ROWS[:2], ROWS[::-1]):
        listing = _listing(rows, label_in_key=label_in_key, split_in_key=split_in_key)
        found = with_keys(listing, 5)
        wanted = [keys[ROWS.index(row)].encode() for row in rows]
        assert found.samples.texts("key") == wanted
        assert found.samples.numbers("order_hash").tolist() == [order_hash(key, 5) for key in wanted]
        assert (found.skips, found.split_in_key, found.notes) == ([], split_in_key, ())


def test_ids_that_can_have_no_key_are_skipped_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Row] = [("train", None, None, stem, None) for stem in ("1", "a//b", "2", "/c")]
    for part_rows in (1 << 16, 1, 3):
        monkeypatch.setattr("wdstools.planning.table._PART_ROWS", part_rows)
        found = with_keys(_listing(rows), 0)
        assert found.samples.texts("key") == [b"1", b"2"]
        assert found.skips == [Skip("key-invalid", "a//b", detail="b'a//b'"), Skip("key-invalid", "/c", detail="b'/c'")]


@pytest.mark.parametrize("given", [True, False])
def test_keys_are_as_short_as_the_members_ask_for(given: bool) -> None:
    long = "x" * 90
    listing = _listing([("train", None, None, long, long if given else None)])
    assert with_keys(listing, 0, 89).samples.texts("key") == [make_key(None, long.encode(), 89)]
    assert with_keys(listing, 0, 90).samples.texts("key") == [long.encode()]


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        ([("train", "1"), ("val", "2")], None),
        ([("train", "1"), ("val", "1")], "1"),
        ([("train", "1"), ("train", "1"), ("val", "2")], None),
        ([("train", "1"), (None, "1")], "1"),
        ([(None, "1"), (None, "1")], None),
        ([("train", "1")], None),
        ([("a", "1"), ("b", "1"), ("b", "2"), ("c", "3")], "1"),
    ],
)
def test_a_name_that_samples_of_two_splits_have_puts_the_split_before_every_key(
    names: list[tuple[str | None, str]], shared: str | None
) -> None:
    listing = _listing([(split, None, None, stem, None) for split, stem in names], split_in_key=None)
    found = with_keys(listing, 0)
    assert shared_by_splits(with_keys(replace(listing, split_in_key=False), 0).samples) == shared
    assert found.split_in_key is (shared is not None)
    if shared is None:
        assert (found.samples.texts("key"), found.notes) == ([stem.encode() for _, stem in names], ())
    else:
        assert found.samples.texts("key") == [f"{split or 'train'}/{stem}".encode() for split, stem in names]
        note = f"keys begin with their split, because several splits have samples of the same name, like {shared}"
        assert found.notes == (note,)
    for given in (True, False):
        settled = with_keys(replace(listing, split_in_key=given), 0)
        assert (settled.split_in_key, settled.notes) == (given, ())


def test_names_of_one_hash_are_not_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planned, "order_hash", lambda *_: 7)
    names = [("a", "1"), ("b", "2"), ("a", "3"), ("b", "1")]
    listing = _listing([(split, None, None, stem, None) for split, stem in names], split_in_key=None)
    assert with_keys(_listing([(s, None, None, n, None) for s, n in names[:3]], split_in_key=None), 0).notes == ()
    kept, skips = drop_repeated(with_keys(replace(listing, split_in_key=False), 0).samples)
    assert kept.texts("key") == [b"1", b"2", b"3"]
    assert skips == [Skip("key-duplicate", "b/1.jpg", "b", "1")]


def test_where_no_key_repeats_samples_stay_as_they_were_listed() -> None:
    samples = with_keys(_listing([("train", None, None, str(number), None) for number in range(9)]), 0).samples
    kept, skips = drop_repeated(samples)
    assert (kept.texts("stem"), skips) == ([str(number) for number in range(9)], [])
    assert Samples(samples.table.slice(0, 0)).texts("stem") == []
