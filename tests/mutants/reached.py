"""Which statements a test reaches, in all its processes, including those that are killed.

Each module is rewritten with a mark before every statement of a function. A mark sets one byte of a file that all
processes have mapped.
"""

from __future__ import annotations

import ast
import mmap
from typing import TYPE_CHECKING, Self, cast

from tests.mutants.changes import statements

if TYPE_CHECKING:
    from pathlib import Path

#: The module, at the top of the tree, from which the rewritten modules import the marks.
HELPER = "_mutants_reached.py"
_HELPER = """
import mmap
try:
    with open({path!r}, "r+b") as file:
        reached = mmap.mmap(file.fileno(), 0)
except OSError:  # in a test that takes the file away
    reached = bytearray({size})
"""


class _Marked(ast.NodeTransformer):
    def __init__(self, numbers: dict[ast.AST, int]) -> None:
        self._numbers = numbers

    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and any(child in self._numbers for child in value):
                setattr(node, name, [each for at, child in enumerate(value) for each in self._with_mark(child, at)])
        return node

    def _with_mark(self, child: ast.AST, at: int) -> list[ast.AST]:
        is_text = at == 0 and isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if child not in self._numbers or is_text:
            return [child]
        return [*ast.parse(f"_reached_[{self._numbers[child]}] = 1").body, child]


def marked(source: str, first: int) -> tuple[str, int]:
    """A module with a mark before every statement of its functions, numbered from ``first``; and the number of marks."""
    tree = ast.parse(source)
    numbers = {node: first + number for number, node in enumerate(statements(tree))}
    tree = cast("ast.Module", _Marked(numbers).visit(tree))
    start = 1 if ast.get_docstring(tree) is not None else 0
    while (
        isinstance(tree.body[start], ast.ImportFrom) and cast("ast.ImportFrom", tree.body[start]).module == "__future__"
    ):
        start += 1
    tree.body.insert(start, ast.parse("from _mutants_reached import reached as _reached_").body[0])
    return ast.unparse(ast.fix_missing_locations(tree)), len(numbers)


class Marks:
    """The file of marks, seen from where the tests are run."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    @classmethod
    def over(cls, tree: Path, modules: list[str], path: Path) -> dict[str, int]:
        """Rewrite the modules of a tree with marks; returns the first number of each."""
        first, at = {}, 0
        for module in modules:
            first[module] = at
            text, count = marked((tree / module).read_text(), at)
            (tree / module).write_text(text)
            at += count
        path.write_bytes(bytes(at + 1))
        path.chmod(0o666)
        (tree / HELPER).write_text(_HELPER.format(path=str(path), size=at + 1))
        return first

    def taken(self) -> set[int]:
        """The numbers of the statements reached since the last call."""
        seen = bytes(self._map)
        self._map[:] = bytes(len(seen))
        return {number for number, is_set in enumerate(seen) if is_set}

    def put(self, numbers: set[int]) -> None:
        """Mark these as reached."""
        for number in numbers:
            self._map[number] = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._map.close()
