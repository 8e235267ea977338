"""Leaves out a class that few samples have; otherwise all samples without one would have to be skipped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.arrow import coded, one_chunk, valid
from wdstools.results import Skip
from wdstools.units import counted

if TYPE_CHECKING:
    import pyarrow as pa


def count_of_classes(samples: pa.Table) -> int:
    """How many samples have a class, as a name or a number."""
    there = valid(one_chunk(samples.column("label")))
    if "cls" in samples.column_names:
        there = there | valid(one_chunk(samples.column("cls")))
    return int(np.count_nonzero(there))


def without_class(samples: pa.Table) -> pa.Table:
    """The samples, with their classes removed."""
    samples = samples.drop_columns([name for name in ("cls", "cls_entry") if name in samples.column_names])
    none = coded(np.full(samples.num_rows, -1, np.int32), [])
    return samples.set_column(samples.column_names.index("label"), "label", none)


def class_left_out(count: int, why: str) -> Skip:
    """The skip for a class that is left out."""
    return Skip("member-left-out", "*.cls", detail=f"in {counted(count, 'sample')}: {why}")
