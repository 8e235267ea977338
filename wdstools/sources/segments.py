"""The columns of very many samples, in unnamed files that are mapped, so that a listing does not hold them in memory."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import pyarrow as pa

from wdstools import memory
from wdstools.formats.arrow import to_ipc
from wdstools.stores.local import translated

if TYPE_CHECKING:
    from collections.abc import Iterable


class Segments:
    """A sequence of tables in a file, each as added; they may have different columns."""

    def __init__(self) -> None:
        with translated(tempfile.gettempdir()):
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed by ``close``
        self._places: list[tuple[int, int]] = []
        self._end = 0

    def add(self, table: pa.Table) -> None:
        """Append a table."""
        data = to_ipc(table)
        with translated(tempfile.gettempdir()):
            self._file.write(data)
            self._file.flush()
        self._places.append((self._end, len(data)))
        self._end += len(data)

    def __len__(self) -> int:
        return len(self._places)

    def table(self, number: int) -> pa.Table:
        """One of the tables."""
        start, size = self._places[number]
        with translated(tempfile.gettempdir()):
            data = os.pread(self._file.fileno(), size, start)
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def mapped(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables with the same columns as one, mapped from an unnamed file that lives as long as anything refers to it."""
    with translated(tempfile.gettempdir()), tempfile.TemporaryFile() as file:
        writer = None
        for table in tables:
            if writer is None:
                writer = pa.ipc.new_stream(file, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
        file.flush()
        data = memory.mapped(file.fileno())
    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
