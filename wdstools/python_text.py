"""Text that is written as Python writes it, of people and of files: read in silence, and never run."""

from __future__ import annotations

import ast
import re
from typing import Any

from wdstools.quiet import quiet

#: Python warns of an unknown escape, and of a number that a word follows at once.
_MAY_WARN = re.compile(r"\\|[0-9]\.?[^\W\d]")


def expression(text: str) -> ast.Expression:
    """The tree of an expression; raises what ``ast.parse`` raises. What Python only warns of is for who wrote a program."""
    if not _MAY_WARN.search(text):
        return ast.parse(text, mode="eval")
    with quiet:
        return ast.parse(text, mode="eval")


def literal(text: str) -> Any:
    """The value of a literal; raises what ``ast.literal_eval`` raises."""
    return ast.literal_eval(expression(text.lstrip(" \t")))
