"""columns: add values to the samples of a dataset after it was packed, list and remove them, compute them."""

from wdstools.ops.columns.add import add_columns, plan_add_columns
from wdstools.ops.columns.compute import map_columns
from wdstools.ops.columns.listed import list_columns
from wdstools.ops.columns.remove import plan_remove_columns, remove_columns
from wdstools.ops.columns.result import ColumnsInfo, ColumnsPlan, ColumnsResult

__all__ = [
    "ColumnsInfo",
    "ColumnsPlan",
    "ColumnsResult",
    "add_columns",
    "list_columns",
    "map_columns",
    "plan_add_columns",
    "plan_remove_columns",
    "remove_columns",
]
