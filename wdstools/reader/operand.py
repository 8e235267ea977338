"""The operands of a condition: a column, or the length of its texts, and a value of the column's type."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import to_array

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of the index that a condition may use, with the type of their values.
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
#: What values of a type are called.
CALLED = {str: "text", int: "whole numbers"}
Mask = Any
Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Operand:
    """What is compared: a column, or with ``length`` the number of characters of its texts."""

    name: str
    length: bool = False

    @property
    def text(self) -> str:
        """Its name in a condition."""
        return f"len({self.name})" if self.length else self.name

    @property
    def kind(self) -> type | None:
        """The type of its values; None for an added column, whose dataset knows it."""
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
            raise refused(f"len({self.name})", f"the values of {self.name} are {held_by(column.type)}, not text")
        import pyarrow.compute as pc

        return pc.utf8_length(column)


def literal(node: ast.expr, operand: Operand) -> Value:
    """The value that an operand is compared with; raises UsageError for what the column cannot hold."""
    column, kind = operand.name, operand.kind
    try:
        value = ast.literal_eval(node)
    except ValueError:
        text = ast.unparse(node)
        quotes = f"write text in quotes: {column} == {text!r}" if kind in (str, None) else ""
        if isinstance(node, ast.Name) and (text in COLUMNS or kind is None):
            quotes = f"compare columns with values, not with each other{f'; {quotes}' if quotes else ''}"
        raise refused(text, "this is not a value", hint=quotes) from None
    if value is None:
        raise refused("None", f"None is not a value: write {operand.text} is None, or {operand.text} is not None")
    if kind is None and type(value) not in (str, int, float, bool):
        raise refused(
            ast.unparse(node), "this is not a value that a column can have", expected="text, a number, True or False"
        )
    if kind is not None and type(value) is not kind:
        raise refused(ast.unparse(node), f"the values of {operand.text} are {CALLED[kind]}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise refused(f"{value:x}"[:40], "the value is out of range")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise refused(ascii(value), "no text contains half a character (a lone surrogate)")
    found: Value = value
    return found


def scalar_of(operand: Operand, column: pa.ChunkedArray, value: Value) -> pa.Scalar:
    """A value as a scalar of the column's type."""
    import pyarrow as pa

    check_fits(value, column, operand)
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
        raise refused(str(value), "the value is out of range") from None


def check_fits(value: Value, column: pa.ChunkedArray, operand: Operand) -> None:
    """Raise UsageError if an added column cannot have this value."""
    import pyarrow as pa

    if operand.kind is not None:
        return
    kind, name = column.type, operand.name
    if pa.types.is_nested(kind):
        raise refused(name, "a list can only be compared with None", expected=f"{name} is None, or {name} is not None")
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    fits = type(value) in (int, float) if numeric else type(value) is (bool if pa.types.is_boolean(kind) else str)
    if not fits:
        raise refused(repr(value)[:100], f"the values of {name} are {held_by(kind)}")


def held_by(kind: pa.DataType) -> str:
    """What values of an Arrow type are called."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return "True and False"
    if pa.types.is_nested(kind):
        return "lists"
    if pa.types.is_floating(kind):
        return "numbers"
    return "whole numbers" if pa.types.is_integer(kind) else "text"


def is_in(operand: Operand, column: pa.ChunkedArray, values: list[Value]) -> Mask:
    """Which rows of a column have one of some values."""
    import pyarrow as pa

    for value in values:
        check_fits(value, column, operand)
    if pa.types.is_floating(column.type):
        return call("is_in", column, value_set=pa.array([float(value) for value in values], column.type))
    if pa.types.is_integer(column.type):
        # a column of integers has no fractions
        values = [int(value) for value in values if float(value).is_integer()] if operand.kind is None else values
    return call("is_in", column, value_set=_array(values, column))


def _array(values: list[Value], column: pa.ChunkedArray) -> pa.Array:
    try:
        return to_array(values, column.type)
    except (ValueError, OverflowError):
        raise refused(str(values), "a value is out of range") from None


def call(function: str, *arguments: Any, **options: Any) -> Mask:
    """Call a compute function of Arrow; null gives False."""
    import pyarrow.compute as pc

    return pc.fill_null(getattr(pc, function)(*arguments, **options), False)


def no_such_column(name: str, added: list[str]) -> UsageError:
    """The error for a condition on a column that does not exist; ``added`` are the names of added columns."""
    return refused(name, "no such column", expected=", ".join((*COLUMNS, *added)))


def refused(got: str, reason: str, *, expected: str = "", hint: str = "") -> UsageError:
    """The error for a condition that cannot be understood."""
    return UsageError(
        f"a condition is not understood: {reason}",
        code="where-not-understood",
        where=option("where"),
        expected=expected or "column, comparison, value, such as label == 'newyork' and width >= 300",
        got=got[:200],
        hint=hint,
    )
