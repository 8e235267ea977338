"""Every fault of the matrix, in the order of the table."""

from __future__ import annotations

from tests.faults.matrix.file_faults import FILE_FAULTS
from tests.faults.matrix.shard_faults import SHARD_FAULTS

FAULTS = [
    fault for group in dict.fromkeys(f.group for f in SHARD_FAULTS + FILE_FAULTS)
    for fault in SHARD_FAULTS + FILE_FAULTS if fault.group == group
]  # fmt: skip
