"""The columns of very many samples, in files without a name: what a listing holds is mapped, not owned."""

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
    """Tables one behind the other, each as it came; they may have different columns."""

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
        """One of them."""
        start, size = self._places[number]
        with translated(tempfile.gettempdir()):
            data = os.pread(self._file.fileno(), size, start)
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()

    def close(self) -> None:
        """Let go of them."""
        self._file.close()


def mapped(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables of one form as one, whose memory is a file without a name; it goes with the last who refers to it."""
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
