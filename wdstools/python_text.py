"""Python expressions and literals from users and files: parsed without warnings, and never run."""

from __future__ import annotations

import ast
import re
from typing import Any

from wdstools.quiet import quiet

#: Python warns about an unknown escape, and about a number directly followed by a word.
_MAY_WARN = re.compile(r"\\|[0-9]\.?[^\W\d]")


def expression(text: str) -> ast.Expression:
    """The tree of an expression; raises what ``ast.parse`` raises. Python's warnings, meant for programmers, are muted."""
    if not _MAY_WARN.search(text):
        return ast.parse(text, mode="eval")
    with quiet:
        return ast.parse(text, mode="eval")


def literal(text: str) -> Any:
    """The value of a literal; raises what ``ast.literal_eval`` raises."""
    return ast.literal_eval(expression(text.lstrip(" \t")))
