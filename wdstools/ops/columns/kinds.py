"""Infer the type of a column in a table of text or JSON, where only the values themselves tell."""

from __future__ import annotations

import math
import re
from typing import Any

from wdstools.formats.columns import MAX_WIDTH
from wdstools.sources.rows import TooLarge

_INT_RE = re.compile(r"-?(0|[1-9][0-9]*)")
_FLOAT_RE = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|-?(nan|inf|infinity)", re.IGNORECASE)
_BOOLS = {"true": True, "false": False}
_WIDE = 2**63
_NUMBERS = frozenset({"text:int", "text:float", "text:wide", "text:huge", "text:large"})
#: More digits than any integer that a float can represent.
_MAX_DIGITS = 310


class JsonText(str):
    """A JSON string, as opposed to a JSON number or boolean."""

    __slots__ = ()


class Kinds:
    """The types of the values of one column of a table of text or JSON.

    Values are kept exactly as written, or refused: integers that a float would round are not taken as floats, and neither
    are numbers too large for a float.
    """

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def note(self, value: Any) -> None:
        """Take a value into account."""
        if value is None:
            return
        word = _kind_of(value)
        if word not in self._found:
            self._found[word] = repr(str(value) if isinstance(value, JsonText) else value)[:60]

    @property
    def is_empty(self) -> bool:
        """Whether there was no value."""
        return not self._found

    def kind(self) -> str | None:
        """The field that holds all of them; None if none does."""
        words = set(self._found)
        if not words:
            return "string"
        if words <= {"int", "wide", "text:int", "text:wide"}:
            return "int64"
        if words <= {"int", "float", "text:int", "text:float"}:
            return "float64"
        if words <= {"bool", "text:bool"}:
            return "bool"
        if len(words) == 1 and next(iter(words)).startswith("float64["):
            return next(iter(words))
        # texts that look like different types are kept as text
        is_lost = words <= _NUMBERS and not words.isdisjoint(("text:float", "text:large"))
        return "string" if not is_lost and all(word.startswith("text") for word in words) else None

    def why(self) -> str:
        """Which values do not fit together."""
        rounded = next((self._found[word] for word in ("wide", "text:wide", "text:huge") if word in self._found), None)
        large = next((self._found[word] for word in ("large", "text:large") if word in self._found), None)
        if large is not None:
            return f"{large}, which is too large for a float"
        if rounded is not None:
            return f"{rounded}, which a float would round, together with {next(v for v in self._found.values() if v != rounded)}"
        return " and ".join(list(self._found.values())[:2])


def _kind_of(value: Any) -> str:
    if isinstance(value, JsonText):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return _whole(value) if -_WIDE <= value < _WIDE else "other"
    if isinstance(value, float):
        return "large" if isinstance(value, TooLarge) else "float"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, list) and value and len(value) <= MAX_WIDTH:
        numbers = all(_is_listed(item) for item in value)
        return f"float64[{len(value)}]" if numbers else "other"
    return "other"


def _is_listed(item: Any) -> bool:
    """Whether a list of floats can hold a number exactly."""
    if isinstance(item, int) and not isinstance(item, bool):
        return _whole(item) == "int"
    return isinstance(item, float) and not isinstance(item, TooLarge)


def _whole(value: int) -> str:
    """``int`` for an integer that a float holds exactly, ``wide`` for one that it would round."""
    try:
        return "int" if int(float(value)) == value else "wide"
    except OverflowError:
        return "wide"


def _kind_of_text(value: str) -> str:
    if _INT_RE.fullmatch(value):
        if len(value) > _MAX_DIGITS:
            return "text:huge"
        number = int(value)
        return f"text:{_whole(number)}" if -_WIDE <= number < _WIDE else "text:huge"
    if value.lower() in _BOOLS:
        return "text:bool"
    # 007 and +49 are text, 0.07 is a number
    if _FLOAT_RE.fullmatch(value) and not re.match(r"-?0[0-9]", value):
        is_lost = math.isinf(float(value)) and "inf" not in value.lower()
        return "text:large" if is_lost else "text:float"
    return "text"


def value_of(value: Any, kind: str) -> Any:
    """A value as its field holds it."""
    if value is None or kind == "string":
        return value
    if isinstance(value, str):
        return _BOOLS[value.lower()] if kind == "bool" else int(value) if kind == "int64" else float(value)
    return float(value) if kind == "float64" else [float(item) for item in value] if "[" in kind else value
