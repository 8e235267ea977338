"""The public API: typed throughout, with an example of each name, and documented in one form."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

import wdstools

ROOT = Path(__file__).parents[2]
LISTING = (ROOT / "tests/golden/api.txt").read_text("utf-8")
#: Their options are told in sentences.
READERS = ("loader", "stream", "webdataset")
FUNCTIONS = [
    name
    for name in wdstools.__all__
    if name not in ("image", "torch", "__version__", *READERS)
    and callable(getattr(wdstools, name))
    and name[0].islower()
]
#: What holds a user's own members, or a library's own classes.
OPEN = ("class Batch", "loader(", "source(", "torch.", "image.", "webdataset(")
#: numpy's and Python's own ways of saying it, and the fields of a manifest that only later versions know.
KNOWN = (
    "NDArray[Any]",
    "extra: dict[str, Any]",
    "which: object",
    "other: object",
    "dict[str, object]",
    "Mapping[str, object]",
)


def test_no_public_signature_says_any() -> None:
    blocks = [block for block in LISTING.split("\n\n") if not block.startswith(OPEN)]
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) > 400
    loose = [line for line in lines if re.search(r"\bAny\b|\bobject\b", line)]
    assert [line for line in loose if not any(text in line for text in KNOWN)] == []


def test_every_public_name_is_in_the_examples_that_type_checkers_read() -> None:
    tree = ast.parse((ROOT / "tests/typing/examples.py").read_text("utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wt"
    }
    assert set(wdstools.__all__) - used - {"__version__", "torch"} == set()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_functions_docstring_names_every_parameter(name: str) -> None:
    function: Any = getattr(wdstools, name)
    text = function.__doc__ or ""
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    names = [*code.co_varnames[:count]]
    if code.co_flags & 8:  # it takes **options
        names.append("**" + code.co_varnames[count])
    if len(text.splitlines()) > 1 or len(names) > 1:
        missing = [name for name in names if f"\n        {name}:" not in text and f"\n        {name} (" not in text]
        assert missing == []
    assert "Returns:" in text
