"""Captions are compared after one normalisation, which settles at once."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wdstools.formats.captions import Caption, hashtags, normalise


@given(st.text())
@example("\u0390\u1fd3\u03aa\u0301")
@example("\u1e9e\ufb01\u2126")
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Caf\u00e9", "cafe\u0301"),
        ("STRASSE", "stra\u00dfe"),
        ("\uff26\uff55\uff4c\uff4c", "full"),
        (" a \t b\n\nc ", "a b c"),
        ("\u03a3\u03c2", "\u03c3\u03c3"),
        ("", " \u00a0\u3000\n"),
    ],
)
def test_what_looks_the_same_is_the_same(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert Caption.of(one) == Caption.of(other)


@pytest.mark.parametrize("other", ["a cat", "a cat!", "a  cat #dog", "\u0430 cat"])
def test_what_says_something_else_is_another(other: str) -> None:
    assert Caption.of("a dog").digest != Caption.of(other).digest


def test_sets_of_three_hashtags_count_in_any_order() -> None:
    assert hashtags("#b text #A #a #\u00c9t\u00e9") == "#a #b #\u00e9t\u00e9"
    assert Caption.of("#a #b #c x").hashtags == Caption.of("other #C#b #a").hashtags != 0
    assert Caption.of("#a #b #b #a").hashtags == 0


def test_empty_and_over_long_captions_are_told() -> None:
    assert Caption.of(None) == Caption.of("") == Caption(0, 0, over_long=False)
    assert Caption.of(" \n").digest == 0
    assert not Caption.of("x" * 2200).over_long
    assert Caption.of("x" * 2201).over_long
