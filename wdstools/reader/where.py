"""A condition on samples: a small part of Python's expressions, parsed by Python and evaluated on whole columns by Arrow.

    label == 'newyork'          width >= 300 and format != 'png'          'sunset' in caption
    cls in (0, 3)               not (label == 'london' or caption == '')  source is None
    score > 0.5 and not nsfw    len(caption) >= 20                        recaption is not None

It names columns of the index, and fields that were added to the dataset. A comparison with a value that is not there is
false. Not-a-number is a value: as in numpy only ``!=`` holds of it. A number is compared as the column's type holds it.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import to_array

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.columns.sets import Field

#: Columns of the index that a condition may name, with the type of their values.
COLUMNS = {
    "key": str,
    "label": str,
    "cls": int,
    "split": str,
    "width": int,
    "height": int,
    "format": str,
    "caption": str,
    "source": str,
    "length": int,
}
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
Mask = Any
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on samples. ``text`` is what was written: two conditions with one text are equal."""

    text: str

    def __post_init__(self) -> None:
        _parse(self.text)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it names."""
        tree = ast.parse(self.text.strip(), mode="eval")
        return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) - {"len"}

    @property
    def added(self) -> frozenset[str]:
        """Those of them that no index has: fields that were added."""
        return self.columns.difference(COLUMNS)

    def mask(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows of a table it holds for; raises UsageError (``where-not-understood``) for a column that it lacks."""
        return _to_numpy(_parse(self.text)(table), table.num_rows)


def parse_where(text: str) -> Where:
    """A condition on the columns of the index, and on those that were added to a dataset.

    Args:
        text: As ``label == 'london' and width >= 300``.

    Returns:
        The condition, for a ``Selection``.

    Raises:
        UsageError: It cannot be understood (``where-not-understood``); the error says what is wrong.
    """
    return Where(text)


@dataclass(frozen=True, slots=True)
class _Operand:
    """What is compared: a column, or with ``length`` how many characters its texts have."""

    name: str
    length: bool = False

    @property
    def kind(self) -> type | None:
        """The type of its values, None for a field that was added: its dataset knows."""
        return int if self.length else COLUMNS.get(self.name)

    def of(self, table: pa.Table) -> pa.ChunkedArray:
        """Its values."""
        import pyarrow as pa

        if self.name not in table.schema.names:
            raise no_such_column(self.name, [name for name in table.schema.names if name not in COLUMNS])
        column = table.column(self.name)
        if not self.length:
            return column
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            raise refused(f"len({self.name})", f"column {self.name} holds no text")
        import pyarrow.compute as pc

        return pc.utf8_length(column)


def empty_table(fields: Mapping[str, Field]) -> pa.Table:
    """No rows, of an index's columns and of fields that were added: a condition that fits them fits every shard."""
    import pyarrow as pa

    from wdstools.formats.columns import ColumnField
    from wdstools.formats.index import SCHEMA

    own = [SCHEMA.field(name) for name in COLUMNS]
    added = [pa.field(name, ColumnField(name, field.kind).arrow) for name, field in fields.items()]
    return pa.schema([*own, *added]).empty_table()


def no_such_column(name: str, added: list[str]) -> UsageError:
    """The error for a condition on a column that there is not; ``added`` are fields that were added."""
    return refused(name, "no such column", expected=", ".join((*COLUMNS, *added)))


def _parse(text: str) -> Callable[[pa.Table], Mask]:
    if len(text) > _MAX_CHARACTERS:
        raise refused(text[:40] + "...", f"longer than {_MAX_CHARACTERS:,} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if _depth(tree) > _MAX_DEPTH:
            raise refused(text, f"nested more than {_MAX_DEPTH} deep")
        return _condition(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, UsageError):
            raise
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        quotes = "text stands in quotes, as label == 'new york'" if isinstance(error, SyntaxError) else ""
        raise refused(text, why, hint=quotes) from None


def _depth(tree: ast.expr) -> int:
    """How deep a condition is nested, without going down into it by calls."""
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
        return lambda table: _call("invert", inner(table))
    if isinstance(node, ast.Compare):
        return _chain(node)
    if isinstance(node, ast.Name) and node.id not in COLUMNS:
        return _truth(_Operand(node.id))
    raise refused(ast.unparse(node), "not a comparison")


def _truth(operand: _Operand) -> Callable[[pa.Table], Mask]:
    """A field of truth stands for itself."""

    def test(table: pa.Table) -> Mask:
        import pyarrow as pa

        column = operand.of(table)
        if not pa.types.is_boolean(column.type):
            raise refused(operand.name, f"not a comparison, and column {operand.name} holds no truth")
        return _call("equal", column, pa.scalar(True))

    return test


def _chain(node: ast.Compare) -> Callable[[pa.Table], Mask]:
    """``0 < width <= 300``: every neighbouring pair is compared."""
    operands = [node.left, *node.comparators]
    tests = [_comparison(a, op, b) for a, op, b in zip(operands, node.ops, operands[1:], strict=False)]
    return lambda table: _joined("and", [test(table) for test in tests])


def _operand(node: ast.expr) -> _Operand | None:
    """A column, or the length of one; None for anything else."""
    if isinstance(node, ast.Name):
        return _Operand(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len"):
        return None
    if len(node.args) != 1 or node.keywords or not isinstance(node.args[0], ast.Name):
        raise refused(ast.unparse(node), "len needs the name of a column, as len(caption)")
    name = node.args[0].id
    if COLUMNS.get(name, str) is not str:
        raise refused(ast.unparse(node), f"column {name} holds no text")
    return _Operand(name, length=True)


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


def _holding(operand: _Operand, left: ast.expr, text: str) -> Callable[[pa.Table], Mask]:
    part = _literal(left, operand)
    if not isinstance(part, str) or operand.kind not in (str, None):
        raise refused(text, "only text can be looked for in a column")

    def test(table: pa.Table) -> Mask:
        column = operand.of(table)
        _check_fits(part, column, operand)
        return _call("match_substring", column, pattern=part)

    return test


def _of_column(operand: _Operand, op: ast.cmpop, right: ast.expr) -> Callable[[pa.Table], Mask]:
    if isinstance(op, ast.Is | ast.IsNot):
        if not (isinstance(right, ast.Constant) and right.value is None):
            raise refused(ast.unparse(right), "'is' compares with None only")
        return _negated_if(isinstance(op, ast.IsNot), lambda table: _call("is_null", operand.of(table)))
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise refused(ast.unparse(right), "'in' needs a list of values, as ('a', 'b')")
        values = [_literal(value, operand) for value in right.elts]
        return _negated_if(isinstance(op, ast.NotIn), lambda table: _is_in(operand, operand.of(table), values))
    value = _literal(right, operand)
    function = _FUNCTIONS[type(op)]

    def test(table: pa.Table) -> Mask:
        column = operand.of(table)
        return _call(function, column, _scalar(operand, column, value))

    return test


def _literal(node: ast.expr, operand: _Operand) -> Value:
    column, kind = operand.name, operand.kind
    try:
        value = ast.literal_eval(node)
    except ValueError:
        text = ast.unparse(node)
        quotes = f"text stands in quotes: {column} == {text!r}" if kind in (str, None) else ""
        if isinstance(node, ast.Name) and text in COLUMNS:
            quotes = f"columns are compared with values, not with each other{f'; {quotes}' if quotes else ''}"
        raise refused(text, "this is not a value", hint=quotes) from None
    if kind is None and type(value) not in (str, int, float, bool):
        raise refused(ast.unparse(node), "this is not a value of a column", expected="text, a number, True or False")
    if kind is not None and type(value) is not kind:
        raise refused(ast.unparse(node), f"column {column} holds {kind.__name__}, not this")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise refused(f"{value:x}"[:40], "a value out of range")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise refused(ascii(value), "half a character (a lone surrogate) is in no text")
    found: Value = value
    return found


def _negated_if(negated: bool, test: Callable[[pa.Table], Mask]) -> Callable[[pa.Table], Mask]:
    return (lambda table: _call("invert", test(table))) if negated else test


def _scalar(operand: _Operand, column: pa.ChunkedArray, value: Value) -> pa.Scalar:
    import pyarrow as pa

    _check_fits(value, column, operand)
    kind = column.type
    if operand.kind is int or (isinstance(value, int) and pa.types.is_integer(kind)):
        kind = pa.int64()
    elif pa.types.is_integer(kind):
        kind = pa.float64()
    elif pa.types.is_floating(kind):
        value = float(value)
    try:
        return pa.scalar(value, kind)
    except (pa.ArrowInvalid, OverflowError):
        raise refused(str(value), "a value out of range") from None


def _check_fits(value: Value, column: pa.ChunkedArray, operand: _Operand) -> None:
    """Refuse to compare a field that was added with what it does not hold."""
    import pyarrow as pa

    if operand.kind is not None:
        return
    kind, name = column.type, operand.name
    if pa.types.is_nested(kind):
        raise refused(name, "a list is compared with None only", expected=f"{name} is None, or {name} is not None")
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    fits = type(value) in (int, float) if numeric else type(value) is (bool if pa.types.is_boolean(kind) else str)
    if not fits:
        raise refused(repr(value)[:100], f"column {name} holds {kind}, not this")


def _is_in(operand: _Operand, column: pa.ChunkedArray, values: list[Value]) -> Mask:
    import pyarrow as pa

    for value in values:
        _check_fits(value, column, operand)
    if pa.types.is_floating(column.type):
        return _call("is_in", column, value_set=pa.array([float(value) for value in values], column.type))
    if pa.types.is_integer(column.type):
        # a fraction is in no column of whole numbers
        values = [int(value) for value in values if float(value).is_integer()] if operand.kind is None else values
    return _call("is_in", column, value_set=_array(values, column))


def _array(values: list[Value], column: pa.ChunkedArray) -> pa.Array:
    try:
        return to_array(values, column.type)
    except (ValueError, OverflowError):
        raise refused(str(values), "a value out of range") from None


def _call(function: str, *arguments: Any, **options: Any) -> Mask:
    """A compute function of Arrow; what is not there gives False."""
    import pyarrow.compute as pc

    return pc.fill_null(getattr(pc, function)(*arguments, **options), False)


def _joined(name: str, masks: list[Mask]) -> Mask:
    result = masks[0]
    for mask in masks[1:]:
        result = _call(f"{name}_", result, mask)
    return result


def _to_numpy(mask: Mask, rows: int) -> NDArray[np.bool_]:
    return np.asarray(mask.to_pylist(), np.bool_).reshape(rows)


def refused(got: str, reason: str, *, expected: str = "", hint: str = "") -> UsageError:
    """The error for what is no condition."""
    return UsageError(
        f"a condition is not understood: {reason}",
        code="where-not-understood",
        where=option("where"),
        expected=expected or "column, comparison, value, as label == 'newyork' and width >= 300",
        got=got[:200],
        hint=hint,
    )
