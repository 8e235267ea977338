"""The edges of small rules: what an index may say of its shard, how long a key may be, which path is a packed shard's."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from tests.properties.test_manifest_laws import SMALL
from tests.support.index_rows import table_of
from wdstools.errors import FormatError, UsageError
from wdstools.formats.index import check_bounds, check_foreign_bounds
from wdstools.formats.manifest import is_packed, needed_format
from wdstools.formats.sample import fit_key, image_member, key_bytes, make_key
from wdstools.reader.order import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable


def _row(key: str, at: int, *members: tuple[str, int]) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    place = at
    for ext, size in members:
        found.append({"ext": ext, "offset": place + 512, "size": size, "xxh3_64": 1})
        place += 512 + size + -size % 512
    row: dict[str, Any] = {
        "split": "train",
        "key": key,
        "label": None,
        "cls": None,
        "sha256": None,
        "width": None,
        "height": None,
    }
    row |= {"format": None, "caption": None, "source": None, "xxh3_128": bytes(16)}
    return {**row, "offset": at, "length": place - at, "members": found}


ROWS = [_row("a", 0, ("jpg", 700), ("txt", 0)), _row("b", 2048 + 512, ("jpg", 512))]
SHARD_BYTES = 2048 + 512 + 1024


def _assert_refused(check: Callable[..., None], rows: list[dict[str, Any]], samples: int, size: int) -> None:
    with pytest.raises(FormatError) as told:
        check(table_of(rows), samples, size, where="x")
    assert (told.value.code, told.value.where) == ("index-damaged", "x")


def _changed(row: int, member: int | None, name: str, value: Any) -> list[dict[str, Any]]:
    rows = copy.deepcopy(ROWS)
    (rows[row] if member is None else rows[row]["members"][member])[name] = value
    return rows


def test_an_index_whose_rows_fill_its_shard_is_sound() -> None:
    rows = [_row("a", 0, ("jpg", 700), ("txt", 0)), _row("b", 2560, ("jpg", 512))]
    assert rows[0]["length"] == 2048
    rows[1] = _row("b", 2048, ("jpg", 512))
    for size in (3072, 10_240):
        check_bounds(table_of(rows), 2, size, where="x")
    check_bounds(table_of([]), 0, 0, where="x")
    _assert_refused(check_bounds, rows, 2, 3071)
    _assert_refused(check_bounds, rows, 1, 3072)
    _assert_refused(check_bounds, rows[:1], 2, 3072)
    _assert_refused(check_bounds, rows[1:], 1, 10_240)
    wrong: list[tuple[int, int | None, str, Any]] = [
        (1, None, "offset", 2047),
        (1, None, "offset", 2560),
        (0, None, "length", 0),
        (0, None, "length", None),
        (0, None, "offset", None),
        (1, None, "length", 0),
        (1, None, "length", 512),
        (1, None, "length", 1023),
        (1, None, "xxh3_128", None),
        (1, None, "members", []),
        (1, 0, "size", 513),
        (1, 0, "size", -1),
        (1, 0, "offset", 2048 + 511),
        (0, 0, "offset", 511),
        (0, 1, "offset", 2049),
    ]
    for at, member, name, value in wrong:
        other = copy.deepcopy(rows)
        (other[at] if member is None else other[at]["members"][member])[name] = value
        _assert_refused(check_bounds, other, 2, 10_240)
    # one behind the other, and each as long as it says
    _assert_refused(check_bounds, [rows[0], {**rows[1], "offset": 0}], 2, 10_240)
    empty = {**rows[1], "length": 0, "members": rows[1]["members"]}
    _assert_refused(check_bounds, [rows[0], empty], 2, 10_240)


def test_the_name_of_a_member_fits_its_field() -> None:
    check_bounds(table_of([_row("k" * 96, 0, ("jpg", 1))]), 1, 1024, where="x")
    _assert_refused(check_bounds, [_row("k" * 97, 0, ("jpg", 1))], 1, 1024)


def test_members_of_a_foreign_shard_lie_inside_it() -> None:
    for size in (SHARD_BYTES, 0):
        check_foreign_bounds(table_of(ROWS), 2, size, where="x")
    last = ROWS[1]["members"][0]["offset"] + 512
    check_foreign_bounds(table_of(ROWS), 2, last, where="x")
    _assert_refused(check_foreign_bounds, ROWS, 2, last - 1)
    _assert_refused(check_foreign_bounds, ROWS, 3, SHARD_BYTES)
    _assert_refused(check_foreign_bounds, _changed(1, None, "members", []), 2, SHARD_BYTES)
    check_foreign_bounds(table_of(_changed(0, 0, "offset", 512)), 2, SHARD_BYTES, where="x")
    check_foreign_bounds(table_of(_changed(0, 0, "size", 0)), 2, SHARD_BYTES, where="x")
    check_foreign_bounds(table_of(_changed(0, 1, "offset", SHARD_BYTES)), 2, SHARD_BYTES, where="x")
    for name, value in [("offset", 511), ("offset", SHARD_BYTES + 1), ("size", -1), ("size", SHARD_BYTES)]:
        _assert_refused(check_foreign_bounds, _changed(0, 0, name, value), 2, SHARD_BYTES)
    _assert_refused(check_foreign_bounds, _changed(0, 0, "size", 2**62), 2, 0)


def test_a_key_leaves_room_for_the_longest_member() -> None:
    assert [key_bytes(members) for members in ([], ["jpg"], ["jpeg"], ["jpg", "mask.png"])] == [95, 95, 95, 91]
    assert fit_key(b"k" * 95, 95) == b"k" * 95
    assert len(fit_key(b"k" * 96, 95)) == 95
    for sample_id in (b"/a", b"a/", b"a//b", b""):
        with pytest.raises(FormatError):
            make_key(None, sample_id)
    assert make_key(None, b"0a/b0") == b"0a/b0"


def test_the_image_of_a_dataset_is_its_first_member() -> None:
    assert [image_member(members) for members in ([], ["jpg", "txt"], ["txt", "jpg"], ["npy"])] == ["", "jpg", "", ""]
    foreign = dataclasses.replace(SMALL, profile="foreign")
    for members, extension in [(("jpeg", "txt"), "jpeg"), (("txt", "jpeg"), ""), ((), "")]:
        assert dataclasses.replace(foreign, members=members).image_extension == extension
    assert dataclasses.replace(SMALL, members=("jpg", "txt")).image_extension == "jpg"


def test_a_dataset_is_of_the_lowest_format_that_holds_it() -> None:
    assert needed_format(["jpg", "txt"], trailing=False) == 1
    assert needed_format(["npy"], trailing=False) == 2
    assert needed_format(["jpg", "npy"], trailing=False) == 2
    assert needed_format(["txt"], trailing=False) == 2
    assert needed_format(["jpg"], trailing=True) == 2
    assert needed_format(["jpg"], trailing=False, before=2) == 2


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("train/train-000000.tar", True),
        (".wdstools/index/train-000000.parquet", True),
        (".wdstools/index/train/train-000000.tar.parquet", False),
        ("train/val-000000.tar", False),
        ("train-000000.tar", False),
        ("train-000000.parquet", False),
        ("train/train-000000.txt", False),
        (".wdstools/index/other.parquet", False),
    ],
)
def test_what_is_packed_is_told_by_its_path(path: str, is_one: bool) -> None:
    assert is_packed(path) is is_one


def test_what_a_replica_may_be_is_said() -> None:
    with pytest.raises(UsageError) as told:
        Sharing(10, batch_size=1, world_size=4, rank=4)
    assert (told.value.expected, told.value.got) == ("0 to 3", "4")
