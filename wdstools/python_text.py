"""Text that is written as Python writes it, of people and of files: read in silence, and never run."""

from __future__ import annotations

import ast
import warnings
from typing import Any


def expression(text: str) -> ast.Expression:
    """The tree of an expression; raises what ``ast.parse`` raises. What Python only warns of is for who wrote a program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text, mode="eval")


def literal(text: str) -> Any:
    """The value of a literal; raises what ``ast.literal_eval`` raises."""
    return ast.literal_eval(expression(text.lstrip(" \t")))
