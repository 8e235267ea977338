"""A condition on samples: a small part of Python's expressions, parsed by Python and evaluated on whole columns by Arrow.

    label == 'newyork'          width >= 300 and format != 'png'          'sunset' in caption
    cls in (0, 3)               not (label == 'london' or caption == '')  source is None
    score > 0.5 and not nsfw    len(caption) >= 20                        recaption is not None

It uses columns of the index, and columns added to the dataset. A comparison with a missing value is
false. NaN is a value: as in numpy, only ``!=`` is true for it. Numbers are compared in the type of the column.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.python_text import expression
from wdstools.reader.meant import meant_by
from wdstools.reader.operand import (
    CALLED,
    COLUMNS,
    Mask,
    Operand,
    call,
    check_fits,
    held_by,
    is_in,
    literal,
    refused,
    scalar_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.columns.sets import Field

_MAX_CHARACTERS = 10_000
_MAX_DEPTH = 100
_MIRRORED = {ast.Lt: ast.Gt, ast.Gt: ast.Lt, ast.LtE: ast.GtE, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq}
_FUNCTIONS = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on samples. ``text`` is the condition as written; conditions with equal texts are equal."""

    text: str

    def __post_init__(self) -> None:
        _parse(self.text)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it uses."""
        tree = expression(self.text.strip())
        return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - {"len"}

    @property
    def added(self) -> frozenset[str]:
        """Those of them that are added columns, not columns of an index."""
        return self.columns.difference(COLUMNS)

    def mask(self, table: pa.Table) -> NDArray[np.bool_]:
        """The rows of a table for which it is true; raises UsageError (``where-not-understood``) if the table lacks a column."""
        return _to_numpy(_parse(self.text)(table), table.num_rows)


def parse_where(text: str) -> Where:
    """A condition on the columns of the index, and on columns added to a dataset.

    Args:
        text: The condition, such as ``label == 'london' and width >= 300``.

    Returns:
        The condition, for a ``Selection``.

    Raises:
        UsageError: The condition cannot be understood (``where-not-understood``); the error says why.
    """
    return Where(text)


def empty_table(fields: Mapping[str, Field]) -> pa.Table:
    """An empty table with the columns of an index and added columns: a condition valid for it is valid for every shard."""
    import pyarrow as pa

    from wdstools.formats.columns import ColumnField
    from wdstools.formats.index import SCHEMA

    own = [SCHEMA.field(name) for name in COLUMNS]
    added = [pa.field(name, ColumnField(name, field.kind).arrow) for name, field in fields.items()]
    return pa.schema([*own, *added]).empty_table()


def _parse(text: str) -> Callable[[pa.Table], Mask]:
    if len(text) > _MAX_CHARACTERS:
        raise refused(text[:40] + "...", f"longer than {_MAX_CHARACTERS:,} characters")
    try:
        return _parsed(text)
    except UsageError as error:
        if not _is_sound(meant := meant_by(text)):
            raise
        raise UsageError(
            error.message,
            code=error.code,
            where=option("where"),
            expected=error.expected,
            got=error.got,
            hint=f"did you mean: {meant}",
        ) from None


def _is_sound(text: str) -> bool:
    try:
        _parsed(text)
    except UsageError:
        return False
    return True


def _parsed(text: str) -> Callable[[pa.Table], Mask]:
    try:
        tree = expression(text.strip()).body
        if _depth(tree) > _MAX_DEPTH:
            raise refused(text, f"nested more than {_MAX_DEPTH} levels deep")
        return _condition(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, UsageError):
            raise
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        quotes = "write text in quotes, such as label == 'new york'" if isinstance(error, SyntaxError) else ""
        raise refused(text, why, hint=quotes) from None


def _depth(tree: ast.expr) -> int:
    """How deep a condition is nested, computed without recursion."""
    deepest, pending = 0, [(tree, 1)]
    while pending:
        node, depth = pending.pop()
        deepest = max(deepest, depth)
        pending += [(child, depth + 1) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    return deepest


def _condition(node: ast.expr) -> Callable[[pa.Table], Mask]:
    if isinstance(node, ast.BoolOp):
        parts = [_condition(value) for value in node.values]
        name = "and" if isinstance(node.op, ast.And) else "or"
        return lambda table: _joined(name, [part(table) for part in parts])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        inner = _condition(node.operand)
        return lambda table: call("invert", inner(table))
    if isinstance(node, ast.Compare):
        return _chain(node)
    if isinstance(node, ast.Name) and node.id not in COLUMNS:
        return _truth(Operand(node.id))
    raise refused(ast.unparse(node), "not a comparison")


def _truth(operand: Operand) -> Callable[[pa.Table], Mask]:
    """A column of bools is a condition by itself."""

    def test(table: pa.Table) -> Mask:
        import pyarrow as pa

        column = operand.of(table)
        if not pa.types.is_boolean(column.type):
            raise refused(
                operand.name, f"not a comparison, and the values of {operand.name} are {held_by(column.type)}"
            )
        return call("equal", column, pa.scalar(True))

    return test


def _chain(node: ast.Compare) -> Callable[[pa.Table], Mask]:
    """``0 < width <= 300``: every neighbouring pair is compared."""
    operands = [node.left, *node.comparators]
    tests = [_comparison(a, op, b) for a, op, b in zip(operands, node.ops, operands[1:], strict=False)]
    return lambda table: _joined("and", [test(table) for test in tests])


def _operand(node: ast.expr) -> Operand | None:
    """A column, or the length of its texts; None for anything else."""
    if isinstance(node, ast.Name):
        return Operand(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"):
        return None
    if len(node.args) != 1 or node.keywords or not isinstance(node.args[0], ast.Name):
        raise refused(ast.unparse(node), "len needs the name of a column, such as len(caption)")
    name = node.args[0].id
    if COLUMNS.get(name, str) is not str:
        raise refused(ast.unparse(node), f"the values of {name} are {CALLED[COLUMNS[name]]}, not text")
    return Operand(name, length=True)


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr) -> Callable[[pa.Table], Mask]:
    text = f"{ast.unparse(left)} ... {ast.unparse(right)}"
    operand = _operand(left)
    if operand is not None:
        return _of_column(operand, op, right)
    operand = _operand(right)
    if operand is not None:
        if isinstance(op, ast.In | ast.NotIn):  # 'sunset' in caption
            return _negated_if(isinstance(op, ast.NotIn), _holding(operand, left, text))
        if type(op) in _MIRRORED:
            return _of_column(operand, _MIRRORED[type(op)](), left)
    raise refused(text, "a comparison needs a column and a value")


def _holding(operand: Operand, left: ast.expr, text: str) -> Callable[[pa.Table], Mask]:
    part = literal(left, operand)
    if not isinstance(part, str) or operand.kind not in (str, None):
        raise refused(text, "'in' can only search a column for text")

    def test(table: pa.Table) -> Mask:
        column = operand.of(table)
        check_fits(part, column, operand)
        return call("match_substring", column, pattern=part)

    return test


def _of_column(operand: Operand, op: ast.cmpop, right: ast.expr) -> Callable[[pa.Table], Mask]:
    if isinstance(op, ast.Is | ast.IsNot):
        if not (isinstance(right, ast.Constant) and right.value is None):
            raise refused(ast.unparse(right), "'is' can only be used with None")
        return _negated_if(isinstance(op, ast.IsNot), lambda table: call("is_null", operand.of(table)))
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise refused(ast.unparse(right), "'in' needs a list of values, such as ('a', 'b')")
        values = [literal(value, operand) for value in right.elts]
        return _negated_if(isinstance(op, ast.NotIn), lambda table: is_in(operand, operand.of(table), values))
    value = literal(right, operand)
    function = _FUNCTIONS[type(op)]

    def test(table: pa.Table) -> Mask:
        column = operand.of(table)
        return call(function, column, scalar_of(operand, column, value))

    return test


def _negated_if(negated: bool, test: Callable[[pa.Table], Mask]) -> Callable[[pa.Table], Mask]:
    return (lambda table: call("invert", test(table))) if negated else test


def _joined(name: str, masks: list[Mask]) -> Mask:
    result = masks[0]
    for mask in masks[1:]:
        result = call(f"{name}_", result, mask)
    return result


def _to_numpy(mask: Mask, rows: int) -> NDArray[np.bool_]:
    return np.asarray(mask.to_pylist(), np.bool_).reshape(rows)
