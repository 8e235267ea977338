"""Arrays as Arrow hands them out: parts of others, and those of nothing, which may have no memory at all."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from wdstools.formats.arrow import (
    each_once,
    fixed_bytes,
    flat,
    list_lengths,
    text_bytes,
    text_lengths,
    to_list,
    to_numpy,
    valid,
)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_a_part_of_texts_is_those_of_the_part(kind: pa.DataType) -> None:
    whole = pa.array([b"a", b"", "é".encode(), None, b"dddd", b"e"]).cast(kind)
    for start in range(7):
        for stop in range(start, 7):
            part = whole.slice(start, stop - start)
            values = [value.encode() if isinstance(value, str) else value for value in part.to_pylist()]
            lengths, data = text_bytes(part)
            assert lengths.tolist() == text_lengths(part).tolist() == [len(value or b"") for value in values]
            assert data == b"".join(value or b"" for value in values)
            assert to_list(part) == part.to_pylist()


def test_a_part_of_values_of_a_fixed_size_has_zeros_for_nulls() -> None:
    whole = pa.array([b"aa", None, b"bb", b"cc", None], pa.binary(2))
    assert fixed_bytes(whole) == b"aa\0\0bbcc\0\0"
    assert fixed_bytes(whole.slice(1, 3)) == b"\0\0bbcc"
    assert fixed_bytes(whole.slice(2, 2)) == b"bbcc"


def test_a_part_of_lists_has_the_values_of_the_part() -> None:
    whole = pa.array([[1], [2, 3], [], [4]], pa.list_(pa.int32()))
    assert flat(whole.slice(1, 2)).to_pylist() == [2, 3]
    assert list_lengths(whole.slice(1, 3)).tolist() == [2, 0, 1]
    assert flat(whole.slice(2, 0)).to_pylist() == []


def test_an_array_of_nothing_needs_no_memory() -> None:
    nothing = pa.py_buffer(b"")
    texts = pa.Array.from_buffers(pa.string(), 0, [None, nothing, nothing])
    assert (text_bytes(texts)[1], text_lengths(texts).tolist(), to_list(texts)) == (b"", [], [])
    assert fixed_bytes(pa.Array.from_buffers(pa.binary(4), 0, [None, None])) == b""
    numbers = pa.array([], pa.int32())
    assert flat(pa.Array.from_buffers(pa.list_(pa.int32()), 0, [None, None], children=[numbers])).to_pylist() == []
    assert to_numpy(pa.Array.from_buffers(pa.int64(), 0, [None, None])).tolist() == []
    assert valid(pa.Array.from_buffers(pa.int64(), 0, [None, None])).tolist() == []
    assert np.shape(to_numpy(pa.chunked_array([], pa.int64()))) == (0,)


@pytest.mark.parametrize("values", [[], [3], [3, 3], [2, 1, 2, 3, 1, 1], [1, 2, 3]])
def test_each_value_is_there_once_in_order(values: list[int]) -> None:
    assert each_once(np.array(values, np.int64)).tolist() == sorted(set(values))
