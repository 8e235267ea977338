"""The package's modules as syntax trees, parsed once for all tests that inspect the code."""

from __future__ import annotations

import ast
import functools
import gc
from pathlib import Path
from typing import NamedTuple

import wdstools

PACKAGE = Path(wdstools.__file__).parent


class Module(NamedTuple):
    """``path`` below the package, with ``/``; ``nodes`` are all nodes of the tree."""

    path: str
    tree: ast.Module
    nodes: tuple[ast.AST, ...]


@functools.cache
def modules() -> tuple[Module, ...]:
    """All modules: half a million nodes, which the garbage collector never scans again."""
    gc.collect()
    gc.disable()
    try:
        made = []
        for path in sorted(PACKAGE.rglob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            made.append(Module(path.relative_to(PACKAGE).as_posix(), tree, tuple(ast.walk(tree))))
        gc.freeze()
        return tuple(made)
    finally:
        gc.enable()
