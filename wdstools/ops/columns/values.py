"""What user functions return for samples, as values of columns: each is converted or refused as soon as it is returned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from wdstools.errors import UsageError
from wdstools.formats.column_files import schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.formats.columns import ColumnField
    from wdstools.reader.sample import Sample


class Values:
    """The values of one shard's samples, field by field. What a function returned is not kept: its tensors may be large."""

    def __init__(self, fields: Sequence[ColumnField]) -> None:
        self._fields = {field.name: field for field in fields}
        self._held: dict[str, list[Any]] = {field.name: [] for field in fields}

    def take(self, given: Any, sample: Sample) -> None:
        """Convert what a function returned for a sample; raises UsageError (``columns-unsupported``)."""
        given = self._checked(given, sample)
        for name in self._held:
            self._add(name, given.get(name), sample)

    def take_batch(self, given: Any, samples: Sequence[Sample]) -> None:
        """Convert what a function returned for some samples; raises UsageError (``columns-unsupported``)."""
        given = self._checked(given, samples[0])
        for name in self._held:
            some = given.get(name)
            for value, sample in zip(_each(some, name, samples), samples, strict=True):
                self._add(name, value, sample)

    def table(self, keys: Sequence[str]) -> pa.Table:
        """``key`` and the fields."""
        fields = list(self._fields.values())
        arrays = [pa.array(keys, pa.string()), *(pa.array(self._held[field.name], field.arrow) for field in fields)]
        return pa.Table.from_arrays(arrays, schema=schema_of(fields))

    def _checked(self, given: Any, sample: Sample) -> Mapping[str, Any]:
        if given is None:
            return {}
        if not isinstance(given, Mapping) or not set(given) <= self._held.keys():
            raise UsageError(
                "the function did not return the columns that were asked for",
                code="columns-unsupported",
                where=f"sample {sample.key}",
                expected=f"a dictionary with {', '.join(self._held)}",
                got=", ".join(map(str, given)) if isinstance(given, Mapping) else repr(given)[:100],
            )
        return given

    def _add(self, name: str, value: Any, sample: Sample) -> None:
        field = self._fields[name]
        try:
            self._held[name].append(_plain(value, field))
        except (ValueError, TypeError, OverflowError) as error:
            raise UsageError(
                "the function returned a value that does not fit its column",
                code="columns-unsupported",
                where=f"{name}, sample {sample.key}",
                expected=field.kind,
                got=f"{str(value)[:60]!r} ({error})"[:200],
            ) from error


def covered(table: pa.Table) -> int:
    """How many rows have a value in any field."""
    there = np.zeros(table.num_rows, np.bool_)
    for name in table.column_names[1:]:
        column = table.column(name)
        if not column.null_count:
            return int(table.num_rows)
        there |= np.asarray(column.is_valid().to_pylist(), np.bool_)
    return int(there.sum())


def _each(some: Any, name: str, samples: Sequence[Sample]) -> Sequence[Any]:
    """A value for each of some samples."""
    if some is None:
        return [None] * len(samples)
    try:
        values = None if isinstance(some, str | bytes | Mapping) else list(some)
    except TypeError:
        values = None
    if values is None or len(values) != len(samples):
        raise UsageError(
            "the function did not return one value for each sample",
            code="columns-unsupported",
            where=f"{name}, sample {samples[0].key}",
            expected=f"{len(samples)} values",
            got=repr(some)[:100] if values is None else str(len(values)),
        )
    return values


def _plain(value: Any, field: ColumnField) -> Any:
    """One value as its field holds it: arrays and tensors of one element become numbers."""
    if value is None:
        return None
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    kind = field.kind
    if kind == "string":
        if not isinstance(value, str):
            raise TypeError("not text")
        value.encode()
        return value
    array = np.asarray(value)
    if width := field.width:
        if array.dtype.kind not in "fiu" or array.size != width:
            raise ValueError(f"not {width} numbers")
        return array.reshape(-1).astype(np.float32 if kind.startswith("float32") else np.float64)
    wanted = {"bool": "b", "int64": "iu"}.get(kind, "fiu")
    if array.dtype.kind not in wanted or array.size != 1:
        raise ValueError(f"not a value of {kind}")
    found = array.reshape(-1)[0].item()
    if kind == "int64" and not -(2**63) <= found < 2**63:
        raise OverflowError("out of range")
    return found
