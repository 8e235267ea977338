"""How large samples are in a shard, estimated from the sizes of some of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wdstools.errors import StoreError
from wdstools.formats.arrow import taken, to_ipc, to_numpy
from wdstools.formats.tar import BLOCK
from wdstools.sources.base import DamagedEntryError
from wdstools.writer.rows import rows_of, stats_of

if TYPE_CHECKING:
    import pyarrow as pa

    from wdstools.sources.base import SourceOpener

LOOKED_AT = 512


def sample_bytes(samples: pa.Table, opener: SourceOpener, members: tuple[str, ...]) -> int:
    """The bytes that a sample takes in a tar on average, judging by the files of the same few hundred each time."""
    order = np.argsort(to_numpy(samples.column("order_hash")), kind="stable")[:LOOKED_AT]
    few = taken(samples, order)
    total, counted = 0, 0
    reader = opener.open()
    try:
        for row in rows_of(to_ipc(few.drop_columns(["order_hash"])), "", "", members):
            try:
                files = stats_of(reader, row, members)[::2]
            except (StoreError, DamagedEntryError):
                continue
            inline = [len((text or "").encode()) for text in (row.caption, row.json)]
            total += sum(-(-size // BLOCK) * BLOCK for size in (*files, *inline)) + BLOCK * len(members)
            counted += 1
    finally:
        reader.close()
    return max(1, total // max(1, counted))
