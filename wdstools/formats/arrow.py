"""From Python values to Arrow arrays and back, through buffers.

``pa.array`` and ``to_numpy`` import pandas if it is installed (0.3 s in every worker), and ``to_pylist`` takes a
microsecond per value. Law: ``to_list(to_array(values, kind)) == list(values)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def to_array(values: Sequence[Any] | NDArray[Any], kind: pa.DataType) -> pa.Array:
    """An array of integers, booleans, text, bytes, or a dictionary of text (int32 codes); None is null."""
    if pa.types.is_dictionary(kind):
        return _dictionary(values)
    count = len(values)
    validity = None
    if not isinstance(values, np.ndarray) and None in values:
        validity = _bits(np.fromiter((value is not None for value in values), bool, count))
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, count, [validity, _bits(np.asarray(values, bool))])
    if pa.types.is_integer(kind):
        numbers = values if validity is None else [0 if value is None else value for value in values]
        data = np.ascontiguousarray(np.asarray(numbers, kind.to_pandas_dtype()))
        return pa.Array.from_buffers(kind, count, [validity, pa.py_buffer(data)])
    return _text(list(values), kind, validity)


def _text(values: Sequence[Any], kind: pa.DataType, validity: pa.Buffer | None) -> pa.Array:
    if pa.types.is_fixed_size_binary(kind):
        data = b"".join(bytes(kind.byte_width) if value is None else value for value in values)
        return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(data)])
    if validity is not None:
        empty = "" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else b""
        values = [empty if value is None else value for value in values]
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        data = b"".join(values)
    else:
        text = "".join(values)
        data = text.encode()
        if len(data) != len(text):  # beyond ASCII a text has more bytes than characters
            values = [value.encode() for value in values]
    wide = pa.types.is_large_string(kind) or pa.types.is_large_binary(kind)
    offsets = np.zeros(len(values) + 1, np.int64 if wide else np.int32)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(offsets), pa.py_buffer(data)])


def _dictionary(values: Sequence[str | None] | NDArray[Any]) -> pa.Array:
    names = sorted(set(values) - {None})
    number: dict[str | None, int] = {name: code for code, name in enumerate(names)}
    number[None] = -1
    return coded(np.fromiter(map(number.__getitem__, values), np.int32, len(values)), names)


def coded(codes: NDArray[np.int32], names: Sequence[str | None]) -> pa.DictionaryArray:
    """A dictionary of text from the number of each value's name; a negative number is null."""
    there = codes >= 0
    buffers = [None if there.all() else _bits(there), pa.py_buffer(np.where(there, codes, 0))]
    return pa.DictionaryArray.from_arrays(
        pa.Array.from_buffers(pa.int32(), len(codes), buffers), to_array(names, pa.string())
    )


def text_over(starts: NDArray[Any], data: bytes | memoryview, there: NDArray[np.bool_]) -> pa.Array:
    """Texts concatenated in ``data``, each from its start; null where not ``there``. The data is copied."""
    ends = np.append(starts, len(data)).astype(np.int32)
    whole = pa.py_buffer(bytes(data))
    return pa.Array.from_buffers(
        pa.string(), len(starts), [None if there.all() else _bits(there), pa.py_buffer(ends), whole]
    )


def numbers_over(values: NDArray[Any], there: NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Integers; null where not ``there``."""
    data = np.ascontiguousarray(values.astype(kind.to_pandas_dtype(), copy=False))
    return pa.Array.from_buffers(kind, len(data), [None if there.all() else _bits(there), pa.py_buffer(data)])


def _bits(flags: NDArray[np.bool_]) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def valid(array: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Which values are not null."""
    array = one_chunk(array)
    bitmap = array.buffers()[0]
    if bitmap is None or array.null_count == 0:
        return np.ones(len(array), bool)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(bool)


def to_numpy(array: pa.Array | pa.ChunkedArray, null: int = 0) -> NDArray[Any]:
    """Integers as a numpy array, nulls replaced by ``null``."""
    array = one_chunk(array)
    if not len(array):
        return np.zeros(0, array.type.to_pandas_dtype())
    data = np.frombuffer(array.buffers()[1], array.type.to_pandas_dtype())[array.offset : array.offset + len(array)]
    return data if array.null_count == 0 else np.where(valid(array), data, null)


def to_list(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Values as Python objects, nulls as None; integers, text, bytes and dictionaries of text."""
    array = one_chunk(array)
    if pa.types.is_dictionary(array.type):
        names = [*to_list(array.dictionary), None]
        return [names[code] for code in to_numpy(array.indices, null=-1).tolist()]
    if pa.types.is_integer(array.type):
        values = to_numpy(array).tolist()
    elif pa.types.is_fixed_size_binary(array.type) or pa.types.is_boolean(array.type) or pa.types.is_nested(array.type):
        return list(array.to_pylist())
    else:
        values = _texts(array)
    if array.null_count:
        values = [value if there else None for value, there in zip(values, valid(array).tolist(), strict=True)]
    return list(values)


def text_bytes(array: pa.Array) -> tuple[NDArray[np.int64], bytes]:
    """The length in bytes of each text, and all of them concatenated; a null has length 0."""
    if not len(array):
        return np.zeros(0, np.int64), b""
    ends, data = _ends(array), array.buffers()[2]
    raw = b"" if data is None else data.slice(int(ends[0]), int(ends[-1] - ends[0])).to_pybytes()
    return ends[1:] - ends[:-1], raw


def text_lengths(array: pa.Array) -> NDArray[np.int64]:
    """The length in bytes of each text, without touching the texts."""
    return np.diff(_ends(array)) if len(array) else np.zeros(0, np.int64)


def _ends(array: pa.Array) -> NDArray[np.int64]:
    """The start of the first text, then the end of each."""
    wide = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    ends = np.frombuffer(array.buffers()[1], np.int64 if wide else np.int32).astype(np.int64, copy=False)
    return ends[array.offset : array.offset + len(array) + 1]


def fixed_bytes(array: pa.Array | pa.ChunkedArray) -> bytes:
    """Values of a fixed size, concatenated; a null as zeros."""
    array = one_chunk(array)
    width = array.type.byte_width
    if not len(array):
        return b""
    data = np.frombuffer(array.buffers()[1], np.uint8).reshape(-1, width)[array.offset : array.offset + len(array)]
    return bytes(data.tobytes() if not array.null_count else np.where(valid(array)[:, None], data, 0).tobytes())


def _texts(array: pa.Array) -> list[Any]:
    lengths, raw = text_bytes(array)
    spans = itertools.pairwise([0, *np.cumsum(lengths).tolist()])
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return [raw[start:end] for start, end in spans]
    if raw.isascii():
        text = raw.decode("ascii")
        return [text[start:end] for start, end in spans]
    return [raw[start:end].decode() for start, end in spans]


def release_memory() -> None:
    """Return freed memory to the system: Arrow's and, if the C library can do it (glibc), that of Python and numpy."""
    pa.default_memory_pool().release_unused()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def reader_over(data: bytes | memoryview) -> pa.BufferReader:
    """Bytes for Arrow to read, in Arrow's own memory.

    If they were a Python object, an Arrow thread might be the last to release it, which needs the interpreter: while
    that is shutting down, the process would be aborted.
    """
    buffer = pa.allocate_buffer(len(data))
    memoryview(buffer).cast("B")[:] = data
    return pa.BufferReader(buffer)


def one_chunk(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    return array.combine_chunks() if array.num_chunks else pa.nulls(0, array.type)


def flat(lists: pa.ListArray) -> pa.Array:
    """The values of all lists, concatenated; no list may be null.

    Arrow's ``flatten`` does the same but imports pyarrow.compute: 30 ms in every process.
    """
    if not len(lists):
        return lists.values.slice(0, 0)
    first, last = lists.offsets[0].as_py(), lists.offsets[-1].as_py()
    return lists.values.slice(first, last - first)


def list_lengths(lists: pa.ListArray) -> NDArray[np.int32]:
    """The number of values in each list; see ``flat``."""
    return np.diff(to_numpy(lists.offsets))


def taken(table: pa.Table, rows: Sequence[int] | NDArray[np.int64]) -> pa.Table:
    """Some rows of a table, in the given order. ``Table.take`` imports pyarrow.compute; see ``flat``."""
    return _call("take", table, to_array(rows, pa.int64()))


def kept(table: pa.Table, mask: Sequence[bool] | NDArray[np.bool_]) -> pa.Table:
    """The rows of a table for which a mask is true. ``Table.filter`` imports pyarrow.compute; see ``flat``."""
    return _call("filter", table, to_array(mask, pa.bool_()))


def each_once(values: NDArray[Any]) -> NDArray[Any]:
    """Each value once, sorted, like ``np.unique``, which imports numpy.ma."""
    values = np.sort(values)
    first: NDArray[Any] = values[np.append(np.ones(len(values[:1]), bool), values[1:] != values[:-1])]
    return first


def _call(function: str, *given: Any) -> Any:
    try:
        from pyarrow._compute import call_function
    except ImportError:  # in case pyarrow has moved it
        from pyarrow.compute import call_function
    return call_function(function, list(given))


def to_ipc(table: pa.Table) -> bytes:
    """A table as Arrow IPC bytes; of a slice, only its own rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def from_ipc(data: bytes) -> pa.Table:
    """A table from Arrow IPC bytes."""
    with pa.ipc.open_stream(data) as stream:
        return stream.read_all()
