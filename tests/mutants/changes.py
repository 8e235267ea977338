"""The small changes: at one place of a module's syntax tree, to something that a programmer could have written."""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Change:
    """One change of a module; ``text`` describes it as ``before -> after``, ``within`` names the enclosing function.

    ``nth`` tells apart equal changes there. ``statement`` is the number of the statement that has to be reached for it
    to matter (see ``statements``), or None if it runs when the module is loaded.
    """

    place: int
    line: int
    within: str
    text: str
    statement: int | None
    nth: int = 1

    @property
    def name(self) -> str:
        """A name that does not change when lines move."""
        return f"{self.within}: {self.text}" + (f" ({self.nth})" if self.nth > 1 else "")

    def tree(self, source: str) -> ast.Module:
        """The module's tree with this change, and every other node at its old position."""
        tree = ast.parse(source)
        target, _ = list(_places(tree, "module"))[self.place]
        (after,) = _instead(target)
        _Replace(target, ast.copy_location(after, target)).visit(tree)
        return ast.fix_missing_locations(tree)

    def made(self, source: str) -> str:
        """The module's text with this change."""
        return ast.unparse(self.tree(source))


def changes(source: str) -> list[Change]:
    """Every change of a module that may be made, in the order of its lines."""
    tree = ast.parse(source)
    numbers = {node: number for number, node in enumerate(statements(tree))}
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}

    def reached(node: ast.AST, after: ast.AST) -> int | None:
        if isinstance(node, ast.If) and node in numbers and isinstance(after, ast.If):
            node = node.body[0]
        while node not in numbers and node in above:
            node = above[node]
        return numbers.get(node)

    left_out = set(_left_out(tree))
    same: Counter[tuple[str, str]] = Counter()
    found = []
    for place, (node, within) in enumerate(_places(tree, "module")):
        for after in _instead(node) if node not in left_out else ():
            text = f"{_said(node)} -> {_said(after)}"
            same[within, text] += 1
            line = getattr(node, "lineno", 0)
            found.append(Change(place, line, within, text, reached(node, after), same[within, text]))
    return found


def _left_out(tree: ast.AST) -> Iterator[ast.AST]:
    """What no test can notice, whatever the code does: how much of a text an error shows, and what never happens."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="zip"), keywords=[ast.keyword(arg="strict", value=value)]):
                yield value  # the lengths are the same
            case ast.Call(func=ast.Attribute(attr="reshape"), args=args):
                less = [arg for arg in args if isinstance(arg, ast.UnaryOp) and isinstance(arg.op, ast.USub)]
                yield from (arg.operand for arg in less)  # any number below zero says the same there
            case ast.Raise(exc=ast.Name(id="AssertionError")):
                yield node
            case ast.Call(func=ast.Attribute(attr="astype"), keywords=[ast.keyword(arg="copy", value=value)]):
                yield value  # the values are the same
            case ast.Raise() | ast.keyword(arg="got" | "expected" | "hint"):
                bounds = (inner for inner in ast.walk(node) if isinstance(inner, ast.Slice))
                yield from (end for each in bounds for end in ast.iter_child_nodes(each))
            case _:
                pass


def statements(tree: ast.Module) -> list[ast.AST]:
    """The statements inside functions; the position in this list is their number."""
    functions = [node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)]
    inside = (node for function in functions for node in ast.walk(function) if node is not function)
    return [node for node in dict.fromkeys(inside) if isinstance(node, ast.stmt)]


def _said(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:90]}..."


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, after: ast.AST) -> None:
        self._target, self._after = target, after

    def visit(self, node: ast.AST) -> ast.AST:
        return self._after if node is self._target else super().visit(node)


def _places(node: ast.AST, within: str) -> Iterator[tuple[ast.AST, str]]:
    """What is executed, and where: no annotations, docstrings or imports, and nothing that only a type checker sees."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment", "decorator_list", "msg"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Import | ast.ImportFrom):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            inner = child.name if isinstance(child, ast.FunctionDef | ast.ClassDef) else within
            yield child, inner
            yield from _places(child, inner)


def _instead(node: ast.AST) -> list[ast.AST]:
    """What could replace a node."""
    match node:
        case ast.Compare(ops=[one]) if type(one) in _COMPARED:
            after: ast.AST = ast.Compare(node.left, [_COMPARED[type(one)]()], node.comparators)
        case ast.BinOp() if type(node.op) in _COUNTED:
            after = ast.BinOp(node.left, _COUNTED[type(node.op)](), node.right)
        case ast.BoolOp():
            after = ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        case ast.UnaryOp(op=ast.Not()):
            after = node.operand
        case ast.Constant(value=int() as value):
            after = ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.IfExp():
            after = ast.IfExp(node.test, node.orelse, node.body)
        case ast.If():
            after = ast.If(ast.Constant(False), node.body, node.orelse)
        case ast.Raise() | ast.Expr(value=ast.Call() | ast.Yield()):
            after = ast.Pass()
        case _:
            return []
    return [after]
