"""Which samples: splits, keys, and a condition on the columns of the index.

A condition is a small part of Python's expressions, parsed by Python and evaluated on whole columns by Arrow:

    label == 'newyork'          width >= 300 and format != 'png'          'sunset' in caption
    cls in (0, 3)               not (label == 'london' or caption == '')  source is None

A comparison with a value that is not there is false.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, cast

import numpy as np

from wdstools.errors import UsageError, option
from wdstools.formats.arrow import to_array, to_list
from wdstools.options.declare import settle
from wdstools.options.read import SelectChoices
from wdstools.reader.keys import parse_keys
from wdstools.results import Proved
from wdstools.stores.local import read_file

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset

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


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on the index. ``text`` is what was written: two conditions with one text are equal."""

    text: str

    def __post_init__(self) -> None:
        _parse(self.text)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it names."""
        tree = ast.parse(self.text.strip(), mode="eval")
        return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))

    def mask(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows of an index it holds for."""
        return _to_numpy(_parse(self.text)(table), table.num_rows)


def parse_where(text: str) -> Where:
    """A condition on the columns of the index.

    Args:
        text: As ``label == 'london' and width >= 300``.

    Returns:
        The condition, for a ``Selection``.

    Raises:
        UsageError: It cannot be understood (``where-not-understood``); the error says what is wrong.
    """
    return Where(text)


@dataclass(frozen=True, slots=True)
class Selection:
    """Some samples of a dataset: those of ``splits``, with a key in ``keys``, for which ``where`` holds; None is all."""

    #: A takedown list may be long, and goes to every shard: see ``executors.shared``.
    travels_once: ClassVar[bool] = True

    splits: tuple[str, ...] | None = None
    keys: frozenset[str] | None = None
    where: Where | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return self.splits is None and self.keys is None and self.where is None

    def check(self, dataset: Dataset, *, by_members: bool = False) -> None:
        """Raise UsageError for a split that the dataset does not have, and (``values-unproved``) for a choice by what nothing proves.

        With ``by_members`` the caller reads the members where only these prove what the condition is about.
        """
        if not by_members and self.needs_members(dataset):
            raise UsageError(
                "nothing proves the labels, captions and sizes of this dataset but its samples themselves",
                code="values-unproved",
                where=dataset.metadata.url,
                expected="a dataset whose manifest has values, or a choice by key",
                hint="wdstools pull URL DIR --root DIGEST --where EXPR    reads the samples, and chooses by what it finds in them",
            )
        for split in self.splits or ():
            if split not in dataset.manifest.splits:
                raise UsageError(
                    "no such split", code="split-missing", where=split, expected=", ".join(dataset.manifest.splits)
                )

    @property
    def columns(self) -> frozenset[str]:
        """The columns of an index that ``mask`` looks at; without any, those that count rows."""
        return frozenset({"key"}) | (self.where.columns if self.where is not None else frozenset())

    def mask(self, split: str, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows of the index of one of the split's shards are chosen."""
        rows = table.num_rows
        if self.splits is not None and split not in self.splits:
            return np.zeros(rows, np.bool_)
        chosen = np.ones(rows, np.bool_)
        if self.keys is not None:
            chosen &= np.fromiter(map(self.keys.__contains__, to_list(table.column("key"))), np.bool_, rows)
        if self.where is not None:
            if "split" in self.where.columns:  # the manifest says which split a shard is of: nothing proves this column
                same = to_array([split] * rows, table.schema.field("split").type)
                table = table.set_column(table.schema.get_field_index("split"), "split", same)
            chosen &= self.where.mask(table)
        return chosen

    def needs_members(self, dataset: Dataset) -> bool:
        """Whether nothing but the members proves what the condition is about: of an anchored dataset without ``values``."""
        from wdstools.formats.index import VALUE_COLUMNS

        named = self.where.columns if self.where is not None else frozenset()
        return dataset.anchored and not dataset.manifest.has_values and not named.isdisjoint(VALUE_COLUMNS)

    def proved_by(self, dataset: Dataset) -> Proved:
        """What is proved of a choice of samples: that these are the ones that were asked for, and no other.

        Keys and lengths are proved by ``rows``, labels, captions and sizes by ``values`` or the members; ``source`` by nothing.
        """
        if not dataset.anchored or (self.where is not None and "source" in self.where.columns):
            return Proved.ACCIDENT
        return Proved.FORGER


def select(**choices: Unpack[SelectChoices]) -> Selection:
    """Which samples, from what people write.

    Args:
        **choices: Splits, a file of keys, a condition; see ``SelectChoices``. Without any, all samples.

    Returns:
        The selection, for ``pull``, ``remove`` and ``extract``.

    Raises:
        UsageError: The condition cannot be understood (``where-not-understood``).
        StoreError: The file of keys could not be read.
        FormatError: The file of keys is not text.
    """
    chosen = settle(SelectChoices, choices)
    splits = [chosen["splits"]] if isinstance(chosen["splits"], str) else chosen["splits"]
    path = None if chosen["keys"] is None else os.fspath(chosen["keys"])
    return Selection(
        splits=tuple(splits) if splits else None,
        keys=None if path is None else parse_keys(read_file(path), where=path),
        where=None if chosen["where"] is None else parse_where(chosen["where"]),
    )


def _parse(text: str) -> Callable[[pa.Table], Mask]:
    if len(text) > _MAX_CHARACTERS:
        raise _refused(text[:40] + "...", f"longer than {_MAX_CHARACTERS:,} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if _depth(tree) > _MAX_DEPTH:
            raise _refused(text, f"nested more than {_MAX_DEPTH} deep")
        return _condition(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, UsageError):
            raise
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        quotes = "text stands in quotes, as label == 'new york'" if isinstance(error, SyntaxError) else ""
        raise _refused(text, why, hint=quotes) from error


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
    raise _refused(ast.unparse(node), "not a comparison")


def _chain(node: ast.Compare) -> Callable[[pa.Table], Mask]:
    """``0 < width <= 300``: every neighbouring pair is compared."""
    operands = [node.left, *node.comparators]
    tests = [_comparison(a, op, b) for a, op, b in zip(operands, node.ops, operands[1:], strict=False)]
    return lambda table: _joined("and", [test(table) for test in tests])


def _comparison(left: ast.expr, op: ast.cmpop, right: ast.expr) -> Callable[[pa.Table], Mask]:
    text = f"{ast.unparse(left)} ... {ast.unparse(right)}"
    if isinstance(left, ast.Name):
        return _of_column(_column(left), op, right)
    if isinstance(right, ast.Name):
        column = _column(right)
        if isinstance(op, ast.In | ast.NotIn):  # 'sunset' in caption
            part = _literal(left, column)
            if not isinstance(part, str):
                raise _refused(text, "only text can be looked for in a column")
            return _negated_if(
                isinstance(op, ast.NotIn), lambda table: _call("match_substring", table.column(column), pattern=part)
            )
        if type(op) in _MIRRORED:
            return _of_column(column, _MIRRORED[type(op)](), left)
    raise _refused(text, "a comparison needs a column and a value")


def _of_column(column: str, op: ast.cmpop, right: ast.expr) -> Callable[[pa.Table], Mask]:
    if isinstance(op, ast.Is | ast.IsNot):
        if not (isinstance(right, ast.Constant) and right.value is None):
            raise _refused(ast.unparse(right), "'is' compares with None only")
        return _negated_if(isinstance(op, ast.IsNot), lambda table: _call("is_null", table.column(column)))
    if isinstance(op, ast.In | ast.NotIn):
        if not isinstance(right, ast.Tuple | ast.List | ast.Set):
            raise _refused(ast.unparse(right), "'in' needs a list of values, as ('a', 'b')")
        values = [_literal(value, column) for value in right.elts]
        return _negated_if(isinstance(op, ast.NotIn), lambda table: _is_in(table.column(column), values))
    value = _literal(right, column)
    function = _FUNCTIONS[type(op)]
    return lambda table: _call(function, table.column(column), _scalar(table.column(column), value))


def _column(node: ast.Name) -> str:
    if node.id not in COLUMNS:
        raise _refused(node.id, "no such column", expected=", ".join(COLUMNS))
    return node.id


def _literal(node: ast.expr, column: str) -> str | int:
    try:
        value = ast.literal_eval(node)
    except ValueError as error:
        text = ast.unparse(node)
        quotes = f"text stands in quotes: {column} == {text!r}" if COLUMNS[column] is str else ""
        if isinstance(node, ast.Name) and text in COLUMNS:
            quotes = f"columns are compared with values, not with each other{f'; {quotes}' if quotes else ''}"
        raise _refused(text, "this is no value", hint=quotes) from error
    if type(value) is not COLUMNS[column]:
        raise _refused(ast.unparse(node), f"column {column} holds {COLUMNS[column].__name__}, not this")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _refused(f"{value:x}"[:40], "a value out of range")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise _refused(ascii(value), "half a character (a lone surrogate) is in no text")
    return cast("str | int", value)


def _negated_if(negated: bool, test: Callable[[pa.Table], Mask]) -> Callable[[pa.Table], Mask]:
    return (lambda table: _call("invert", test(table))) if negated else test


def _scalar(column: pa.ChunkedArray, value: str | int) -> pa.Scalar:
    import pyarrow as pa

    wide = pa.int64() if isinstance(value, int) else column.type
    try:
        return pa.scalar(value, wide)
    except (pa.ArrowInvalid, OverflowError) as error:
        raise _refused(str(value), "a value out of range") from error


def _is_in(column: pa.ChunkedArray, values: list[str | int]) -> Mask:
    if not values:
        return _call("is_in", column, value_set=_array([], column))
    return _call("is_in", column, value_set=_array(values, column))


def _array(values: list[str | int], column: pa.ChunkedArray) -> pa.Array:
    try:
        return to_array(values, column.type)
    except (ValueError, OverflowError) as error:
        raise _refused(str(values), "a value out of range") from error


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


def _refused(got: str, reason: str, *, expected: str = "", hint: str = "") -> UsageError:
    return UsageError(
        f"a condition is not understood: {reason}",
        code="where-not-understood",
        where=option("where"),
        expected=expected or "column, comparison, value, as label == 'newyork' and width >= 300",
        got=got[:200],
        hint=hint,
    )
