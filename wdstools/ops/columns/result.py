"""The plans and results of the columns commands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wdstools.ops.made import Made
from wdstools.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ColumnsResult(Made):
    """A set of columns that was added, or removed: ``fields`` maps each field to its type.

    ``covered`` of the dataset's ``samples`` have a row in the table or, for computed columns, a value in the set.
    ``absent`` counts rows whose key no sample has, and ``absent_keys`` are the first of these keys. ``deleted`` are files
    that were removed. ``change`` is ``added``, ``replaced`` (an existing set), ``updated`` (values of one) or ``removed``.
    """

    path: str
    root: str
    name: str
    fields: Mapping[str, str] = field(default_factory=dict)
    samples: int = 0
    covered: int = 0
    absent: int = 0
    absent_keys: tuple[str, ...] = ()
    bytes: int = 0
    deleted: tuple[str, ...] = ()
    change: str = "added"


@dataclass(frozen=True, slots=True)
class ColumnsInfo:
    """A set of columns of a dataset. ``values`` counts, for each field, the samples that have a value in it.

    ``state`` is ``ok``, ``stale`` (made for another version of the dataset), ``damaged``, or
    ``begun`` (in a bucket: some files wait there, but the set is not finished). It is known without reading any values.
    """

    name: str
    state: str
    root: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    samples: int = 0
    bytes: int = 0
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ColumnsPlan(Plan[ColumnsResult]):
    """A change of a dataset's columns, and what is known about it in advance."""

    name: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    samples: int = 0
    covered: int = 0
    repeated: int = 0
    absent: int = 0
    absent_keys: tuple[str, ...] = ()
