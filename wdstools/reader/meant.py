"""Rewrites a condition in the style of SQL, C or pandas to the syntax of ``where``."""

from __future__ import annotations

import re

_QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_VALUE = rf"(?:{_QUOTED}|[^\s()]+)"
#: Whole phrases to rewrite; quoted text in and around them stays as it is.
_PHRASES = (
    (re.compile(rf"(\w+)\s+BETWEEN\s+({_VALUE})\s+AND\s+({_VALUE})", re.IGNORECASE), r"\2 <= \1 <= \3"),
    (re.compile(r"(\w+)\s+NOT\s+I?LIKE\s+'%([^%'\\]+)%'", re.IGNORECASE), r"'\2' not in \1"),
    (re.compile(r"(\w+)\s+I?LIKE\s+'%([^%'\\]+)%'", re.IGNORECASE), r"'\2' in \1"),
)
_MARK_RE = re.compile(
    rf"({_QUOTED})|\s*(=>|=<|<>|&&|\|\||[<>=!]=|[=!&|])\s*|\b(AND|OR|NOT|IN|IS|NULL|TRUE|FALSE)\b", re.IGNORECASE
)
_MARKS = {"=>": ">=", "=<": "<=", "<>": "!=", "&&": "and", "||": "or", "&": "and", "|": "or", "=": "=="}
_WORDS = {"null": "None", "true": "True", "false": "False"}
_NONE_RE = re.compile(rf"({_QUOTED})|(==|!=)\s*None\b")


def meant_by(text: str) -> str:
    """A condition in the syntax of ``where``; unchanged if nothing in it is from another language."""
    for phrase, written in _PHRASES:
        text = phrase.sub(written, text)
    return _NONE_RE.sub(_none, _MARK_RE.sub(_own, text)).strip()


def _own(found: re.Match[str]) -> str:
    quoted, mark, word = found.groups()
    if quoted is not None:
        return quoted
    if mark is None:
        return _WORDS.get(word.lower(), word.lower())
    return "not " if mark == "!" else f" {_MARKS.get(mark, mark)} "


def _none(found: re.Match[str]) -> str:
    return found[1] or ("is None" if found[2] == "==" else "is not None")
