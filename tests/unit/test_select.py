"""Which samples: conditions on the index, key lists, splits."""

from __future__ import annotations

import contextlib
import math
import warnings
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdstools.errors import FormatError, UsageError
from wdstools.formats.index import build_index
from wdstools.reader.keys import parse_keys
from wdstools.reader.select import Selection, Where, parse_where

ROWS: list[dict[str, Any]] = [
    {"key": "london/1", "label": "london", "cls": 0, "width": 300, "height": 300, "caption": "sunset #london"},
    {"key": "london/2", "label": "london", "cls": 0, "width": 640, "height": 480, "caption": ""},
    {"key": "newyork/1", "label": "newyork", "cls": 1, "width": 300, "height": 300, "caption": "a 'quoted' word"},
    {"key": "plain", "label": None, "cls": None, "width": None, "height": None, "caption": None},
]
NAMES = ("key", "label", "cls", "width", "height", "caption")
TABLE = build_index(
    {name: [row[name] for row in ROWS] for name in NAMES} | {"split": ["train"] * len(ROWS)},
    {"ext": ["jpg"] * 4, "offset": [512] * 4, "size": [1] * 4, "xxh3_64": [7] * 4, "count": [1] * 4},
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("label == 'newyork'", [2]),
        ("'newyork' == label", [2]),
        ("label != 'newyork'", [0, 1]),
        ("not label == 'newyork'", [0, 1, 3]),
        ("label is None", [3]),
        ("label is not None", [0, 1, 2]),
        ("cls in (1, 2)", [2]),
        ("cls not in [1]", [0, 1, 3]),
        ("cls in ()", []),
        ("width >= 301 or height == 300", [0, 1, 2]),
        ("0 < width <= 300 and cls == 0", [0]),
        ("500 > width", [0, 2]),
        ("'sunset' in caption", [0]),
        ("'sunset' not in caption", [1, 2, 3]),
        ("caption == ''", [1]),
        ("\"'quoted'\" in caption", [2]),
        ("width == 99999999999999", []),
        ("split == 'train' and (key == 'plain' or key == 'london/2')", [1, 3]),
    ],
)
def test_a_condition_chooses_the_rows_it_holds_for(text: str, rows: list[int]) -> None:
    assert parse_where(text).mask(TABLE).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    "text",
    [
        "",
        "label",
        "label = 'x'",
        "label == newyork",
        "city == 'newyork'",
        "label == 3",
        "width == 'x'",
        "width == 1.5",
        "width == True",
        "label == b'x'",
        "label is 'x'",
        "__import__('os').system('true') == 1",
        "label == 'a' if width == 1 else label == 'b'",
        "label.upper() == 'X'",
        "1 == 1",
        "width + 1 == 2",
        "3 in width",
        "label in 'abc'",
        "cls in (99999999999999999999,)",
        "width == 99999999999999999999999",
        "(" * 5000 + ")" * 5000,
        "not " * 2000 + "label == 'x'",
        "label == 'x'\0",
        "x" * 20_000,
        "label == 'x'; import os",
    ],
)
def test_what_is_no_condition_is_refused_with_one_clear_error(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text).mask(TABLE)
    assert caught.value.code == "where-not-understood"


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_where(text).mask(TABLE)


def test_a_selection_takes_what_all_its_parts_choose() -> None:
    chosen = Selection(("train",), frozenset({"london/1", "newyork/1", "absent"}), Where("width == 300"))
    assert chosen.mask("train", TABLE).tolist() == [True, False, True, False]
    assert not chosen.mask("val", TABLE).any()
    assert Selection().is_everything
    assert Selection().mask("train", TABLE).all()


def test_a_list_of_keys_is_text_with_one_key_a_line() -> None:
    assert parse_keys(b"a\n\n b/c \r\nd", where="list") == {"a", "b/c", "d"}
    with pytest.raises(FormatError):
        parse_keys(b"\xff\x00a", where="list")


@pytest.mark.parametrize(
    "text",
    [
        "caption < '\\ud800'",
        "'\\udfff' in caption",
        "label in ('a', '\\ud800')",
        "not " * 2000 + "width > 3",
        "width > 0x" + "f" * 9000,
        "width in (0x" + "f" * 3000 + ",)",
        "width > 2**63",
        "width > 9223372036854775808",
        "label == 'a' or (" * 150 + "width > 3" + ")" * 150,
    ],
)
def test_what_would_break_the_evaluation_is_refused_before_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text)
    assert caught.value.code == "where-not-understood"


def test_a_condition_is_nested_as_deep_as_people_write_it() -> None:
    text = "not (" * 60 + "label == 'london'" + ")" * 60
    assert Where(text).mask(TABLE).tolist() == [True, True, False, False]


def test_the_split_is_that_of_the_manifest_whatever_the_column_says() -> None:
    chosen = Selection(where=parse_where("split == 'val'"))
    assert chosen.mask("val", TABLE).all()
    assert not chosen.mask("train", TABLE).any()


@pytest.mark.parametrize(
    "text", ["label == london", "label in (london, 'x')", "label == new york", "label == caption", "width > wide"]
)
def test_a_condition_without_its_quotes_is_refused_in_plain_words(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text)
    said = f"{caught.value} {caught.value.hint}"
    assert "ast." not in said
    assert "malformed" not in said
    assert ("quotes" in said) == text.startswith("label")


ADDED = TABLE.append_column("score", pa.array([0.3, 0.9, math.nan, None], pa.float32()))
ADDED = ADDED.append_column("people", pa.array([0, 2, None, 5], pa.int64())).append_column(
    "nsfw", pa.array([True, False, None, False])
)
ADDED = ADDED.append_column("again", pa.array(["sun", "", None, "d\u00e9j\u00e0"])).append_column(
    "vector", pa.array([[1.0, 2.0], None, [0.0, 0.0], [1.0, 1.0]], pa.list_(pa.float32(), 2))
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("score >= 0.3", [0, 1]),
        ("score == 0.3", [0]),
        ("score > 0", [0, 1]),
        ("score != 0.9", [0, 2]),
        ("not score < 0.5", [1, 2, 3]),
        ("score is None", [3]),
        ("score is not None and not score > -1", [2]),
        ("0.5 < score", [1]),
        ("-1.5 < score <= 0.30000001", [0]),
        ("score in (0.3, 1)", [0]),
        ("people > 1.5", [1, 3]),
        ("people in (2, 5.0, 0.5)", [1, 3]),
        ("nsfw", [0]),
        ("not nsfw", [1, 2, 3]),
        ("nsfw == False", [1, 3]),
        ("nsfw or score > 0.5 and width == 640", [0, 1]),
        ("len(caption) > 13", [0, 2]),
        ("len(again) == 4", [3]),
        ("0 < len(again)", [0, 3]),
        ("len(again) in (0, 3)", [0, 1]),
        ("'j' in again", [3]),
        ("again not in ('sun', 'x')", [1, 2, 3]),
        ("vector is None", [1]),
        ("score > 0.5 and label == 'london'", [1]),
    ],
)
def test_a_condition_may_name_what_was_added(text: str, rows: list[int]) -> None:
    assert parse_where(text).mask(ADDED).nonzero()[0].tolist() == rows


@pytest.mark.parametrize(
    "text",
    [
        *("score", "people", "again", "score == 'x'", "score == True", "again == 3", "nsfw == 1", "nsfw == 'x'"),
        *(
            "vector == 1",
            "vector",
            "len(score) > 1",
            "len(vector) > 1",
            "len(width) > 1",
            "len() > 1",
            "len(again, 1) > 1",
        ),
        *("'x' in score", "3 in again", "people in ('x',)", "score > None", "score == 1e999 or score == (1, 2)"),
        *("len(again) == 'x'", "len(again) > 1.5", "other > 1", "not other", "score > people", "caption", "len == 3"),
    ],
)
def test_what_does_not_fit_what_was_added_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text).mask(ADDED)
    assert caught.value.code == "where-not-understood"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("label = 'a = b'", "label == 'a = b'"),
        ("score => 0.5 && !nsfw", "score >= 0.5 and not nsfw"),
        ("score <> 1 OR people IS NOT NULL", "score != 1 or people is not None"),
        ("score == None", "score is None"),
        ("len(caption) != None", "len(caption) is not None"),
        ("caption == null", "caption is None"),
        ("again LIKE '%a dog%'", "'a dog' in again"),
        ("score BETWEEN 0.1 AND .5", "0.1 <= score <= .5"),
        ("(score > 1) | (people = 2)", "(score > 1) or (people == 2)"),
        ("nsfw == true", "nsfw == True"),
    ],
)
def test_a_condition_in_the_words_of_another_language_is_refused_with_its_own(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text)
    assert caught.value.hint == f"did you mean: {meant}"
    parse_where(meant)


@pytest.mark.parametrize("text", ["label = paris", "score >> 3", "caption like 'p%'", "!", "= ", "label == 'it's'"])
def test_what_cannot_be_read_as_any_condition_gets_no_other_one_for_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_where(text)
    assert "did you mean" not in caught.value.hint


@pytest.mark.parametrize("text", ["width>1or height>1", r"caption == '\d'", "label is 'london'"])
def test_what_python_warns_of_is_no_matter_of_a_condition(text: str) -> None:
    with warnings.catch_warnings(record=True) as told, contextlib.suppress(UsageError):
        warnings.simplefilter("always")
        parse_where(text)
    assert [str(one.message) for one in told] == []


@pytest.mark.parametrize("keys", [["b", "a"], {"a", "b"}, ("a", "b", "a"), {"a": 1, "b": 2}.keys()])
def test_any_collection_of_keys_selects(keys: Any) -> None:
    assert Selection(keys=keys) == Selection(keys=frozenset({"a", "b"}))
    assert Selection(splits=["val"]) == Selection(splits=("val",))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("keys", "london/1"), ("keys", b"x"), ("keys", [1]), ("keys", 7), ("splits", "val"), ("where", "width > 1")],
)
def test_values_of_another_type_are_named(name: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        Selection(**{name: value})  # type: ignore[arg-type]
    assert (caught.value.message, caught.value.where) == ("not a valid value", name)
