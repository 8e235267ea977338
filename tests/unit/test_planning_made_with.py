"""How a dataset was made, as its provenance tells: what is not of its kind counts as not said, and nothing of it is believed."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.laws import SHORT_LAW
from tests.support.refusal import or_refused
from wdstools.errors import FormatError
from wdstools.images.encoding import Encoding
from wdstools.planning.made_with import MadeWith
from wdstools.planning.samples import SPLIT_IN_KEY
from wdstools.planning.splits import SplitRule
from wdstools.sources.recipe import recipe_names
from wdstools.sources.shards import layout_of

_NAMES = st.sampled_from(
    ["options", "recipe", "template", "splits", "one", "ratios", "lists", "encoding", "base", "side"]
)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "train", "1/0", "shards", "templates", "header"]),
    lambda deeper: st.lists(deeper, max_size=2) | st.dictionaries(_NAMES, deeper, max_size=4),
    max_leaves=12,
)


@SHORT_LAW
@given(st.dictionaries(_NAMES, _JSON))
def test_whatever_provenance_says_is_a_choice_or_refused(provenance: dict[str, Any]) -> None:
    made = MadeWith.told_by(provenance)
    assert made.known is bool(made.options)
    assert isinstance(made.splits, SplitRule)
    assert isinstance(made.image_template, str)
    assert isinstance(made.layout(("jpg", "txt")), dict)
    assert (made.by_lists, made.split_in_key) in {(a, b) for a in (True, False) for b in (True, False)}
    with or_refused("provenance-damaged"):
        assert made.images().max_pixels > 0


def test_what_was_chosen_is_told() -> None:
    options = {
        "check": "decode",
        "max_pixels": 500,
        "trailing": "cut",
        "encoding": {"mode": "crop", "side": 300},
        "splits": {"one": None, "ratios": {"train": "9/10", "val": 0.1}, "lists": None},
    }
    made = MadeWith.told_by(
        {"options": options, "recipe": "templates", "template": {"image": "{id}.jpg", "caption": ""}}
    )
    assert made.known
    rules = made.images()
    assert (rules.check, rules.max_pixels, rules.trailing) == ("decode", 500, "cut")
    assert rules.encoding == Encoding(mode="crop", side=300)
    assert made.splits == SplitRule(ratios={"train": Fraction(9, 10), "val": Fraction(1, 10)})
    assert not made.by_lists
    assert made.layout(()) == {"image": "{id}.jpg", "caption": None}
    of_lists = MadeWith.told_by({"options": {"splits": {"one": "test", "lists": {"train": "0" * 64}}}})
    assert (of_lists.splits, of_lists.by_lists) == (SplitRule(one="test"), True)
    nothing = MadeWith.told_by({})
    assert (nothing.known, nothing.splits, nothing.encoding) == (False, SplitRule(), None)
    assert nothing.images(check="decode", max_pixels=7) == nothing.images(check="decode", max_pixels=7)
    assert (nothing.images().check, nothing.images(max_pixels=7).max_pixels) == ("header", 7)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ({"base": "images", "image": "{id}.jpg"}, "images/{id}.jpg"),
        ({"base": "", "image": "{id}.jpg"}, "{id}.jpg"),
        ({"image": "{id}.jpg"}, "{id}.jpg"),
        ({"base": "images"}, ""),
        ({}, ""),
    ],
)
def test_where_images_lay_is_below_their_folder(template: dict[str, str], found: str) -> None:
    assert MadeWith(template=template).image_template == found


@pytest.mark.parametrize("value", [0, -1, True, "5", None, 1.5])
def test_a_number_that_is_none_is_the_usual_one(value: object) -> None:
    made = MadeWith(options={"n": value})
    assert (made.number("n", 9), made.number_or_none("n")) == (9, None)
    assert MadeWith(options={"n": 1}).number("n", 9) == 1
    assert MadeWith(options={"n": 2}).number_or_none("n") == 2


@pytest.mark.parametrize(
    "ratios", [{"a": -1, "b": 2}, {"a": 0}, {"a": "x"}, {"a": "1/0"}, {"a": "1e9999999999"}, {"a": 10**15 + 1}, [], 5]
)
def test_ratios_that_divide_nothing_are_none(ratios: object) -> None:
    assert MadeWith(options={"splits": {"one": "a", "ratios": ratios}}).splits.ratios is None


def test_the_layout_is_that_of_the_recipe() -> None:
    for name in recipe_names():
        assert MadeWith(recipe=name, template={"image": "x"}).layout(()) == {"recipe": name}
    assert MadeWith(recipe="nobody's", template={"image": "x"}).layout(()) == {}
    template = {"image": "x", "members": "all"}
    assert MadeWith(recipe="shards", template=template).layout(("json",)) == layout_of(template, ("json",))
    whole = asdict(Encoding(side=5))
    assert MadeWith(options={"encoding": whole}).encoding == Encoding(side=5)


def test_only_options_of_reading_that_are_kept_come_back() -> None:
    template = {"--captions": "txt", "--key_column": "k", "--seed": 5, "captions": "x", "key": "{split}/{id}"}
    made = MadeWith(recipe="cub", template=template)
    assert made.kept == {"captions": "txt", "key_column": "k"}
    assert not made.split_in_key
    assert MadeWith(template={"key": SPLIT_IN_KEY}).split_in_key


@pytest.mark.parametrize("said", ["other", "", 5, None, ["decode"]])
def test_a_word_that_is_no_choice_is_the_usual_one(said: object) -> None:
    assert MadeWith(options={"check": said}).images().check == "header"


@pytest.mark.parametrize(
    "said",
    [5, [], {"side": "x"}, {"other": 1}, {"mode": 5}, {"side": True}, {"mode": "crop", "side": -1}, {"side": 1.5}],
)
def test_an_encoding_that_cannot_be_told_is_refused(said: object) -> None:
    with pytest.raises(FormatError) as caught:
        _ = MadeWith(options={"encoding": said}).encoding
    assert caught.value.code == "provenance-damaged"
    assert MadeWith(options={"encoding": {}}).encoding == Encoding()
