"""The bytes of samples, each member checked against its digest as it is taken."""

from __future__ import annotations

from functools import partial
from itertools import accumulate, pairwise, repeat
from typing import TYPE_CHECKING, TypeVar

from wdstools.errors import StoreError
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.reader.prefetched import FetchedRanges
from wdstools.reader.sample import Sample, member_by_member
from wdstools.reader.window import Horizon
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from wdstools.reader.ranges import Ranges
    from wdstools.reader.rows import Extents, RowTable

Item = TypeVar("Item")
Doubtful = TypeVar("Doubtful", "Sample", "Sample | None")
_CAUSES = {"truncated": "payload-cut", "payload": "payload-differs", "image": "image-damaged"}


class DamagedSampleError(Exception):
    """A sample that differs from what was packed; ``finding`` says where."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


class Payloads:
    """Takes the members of samples from a split's shards. Thread-safe."""

    def __init__(self, table: RowTable, ranges: Ranges) -> None:
        self.table = table
        self.ranges = ranges
        #: What bytes are read from: ``ranges``, or a wrapper that measures them.
        self.reading = ranges

    def take(self, extents: Extents, row: int) -> dict[str, memoryview]:
        """The members of one row, checked. Raises DamagedSampleError, or StoreError if it cannot be read.

        A member that differs from what was packed is read again, and then from the dataset's mirrors, before it counts as damaged.
        """
        data = self.row(extents, row)
        found = {}
        for extension, (offsets, sizes, _) in extents.members.items():
            if sizes[row] >= 0:
                found[extension] = data[offsets[row] : offsets[row] + sizes[row]]
        return found

    def row(self, extents: Extents, row: int) -> memoryview:
        """The bytes of one row, its members as packed. Raises as ``take``."""
        data = self._read(extents, row)
        table = self.table
        unchecked = not table.entries[extents.shard[row]].xxh3_128  # adopted without digests
        group = extents.groups[table.digest_bytes * row :][: table.digest_bytes]
        if table.strict:
            return data if table.digest_of(data) == group else self._whole_again(extents, row, group)
        if unchecked and len(data) < extents.length[row]:
            raise DamagedSampleError(self._cut_short(extents, row, data))
        if unchecked or (any(group) and table.digest_of(data) == group):
            return data
        members = (
            (extension, offsets[row], sizes[row], digests[row])
            for extension, (offsets, sizes, digests) in extents.members.items()
            if sizes[row] >= 0
        )
        return member_by_member(data, members, partial(self._mended, extents, row))

    def samples(
        self, extents: Extents, doubtful: Callable[[Extents, int], Doubtful]
    ) -> Iterator[Iterable[Sample | Doubtful]]:
        """All rows in order, a few at a time, checked; ``doubtful`` returns those that are not intact at first sight."""
        for first, stop, together in extents.pieces(self.ranges.block_bytes, self.ranges.at_once):
            parts = self.whole(extents, first, stop, together=together)
            if parts is None:
                for row in range(first, stop):
                    yield (doubtful(extents, row),)
            else:
                yield map(Sample, parts, repeat(extents), range(first, stop))

    def whole(self, extents: Extents, first: int, stop: int, *, together: bool) -> Sequence[bytes | memoryview] | None:
        """The bytes of some rows, if digests prove all of them; else None, and ``row`` must check each."""
        table = self.table
        groups = extents.groups[table.digest_bytes * first : table.digest_bytes * stop]
        by_group = table.by_group and any(groups)
        if not by_group and (table.strict or not table.has_digests):
            return None  # these rows are read one by one anyway
        rows = slice(first, stop)
        parts: Sequence[bytes | memoryview]
        if together:
            edges = list(accumulate(extents.length[rows], initial=0))
            data = memoryview(self.reading.read_block(extents.shard[first], extents.start[first], edges[-1]))
            parts = [data[start:end] for start, end in pairwise(edges)]
        else:
            parts = self.reading.read_each(extents.shard[rows], extents.start[rows], extents.length[rows])
        if by_group:
            return parts if b"".join(map(table.digest_of, parts)) == groups else None
        return parts if _have_members(parts, extents, rows, exact=not table.by_group) else None

    def _read(self, extents: Extents, row: int) -> memoryview:
        shard, start, length = extents.shard[row], extents.start[row], extents.length[row]
        try:
            return memoryview(self.reading.read(shard, start, length))
        except StoreError:
            if self.table.dataset.mirrors:
                for data in self.table.dataset.read_again(self.table.entries[shard].path, start, length):
                    if len(data) == length:
                        return memoryview(data)
            raise

    def _whole_again(self, extents: Extents, row: int, group: bytes) -> memoryview:
        """A row that SHA-256 does not prove, from any place that still has it as packed."""
        path, start, length = self.table.entries[extents.shard[row]].path, extents.start[row], extents.length[row]
        for data in self.table.dataset.read_again(path, start, length):
            if self.table.digest_of(data) == group:
                return memoryview(data)
        message, expected = "a sample differs from what was packed", f"sha256:{group.hex()}"
        finding = Finding(
            "payload",
            path,
            message,
            key=extents.keys[row],
            start=start,
            length=length,
            expected=expected,
            cause="payload-differs",
        )
        raise DamagedSampleError(finding)

    def _mended(self, extents: Extents, row: int, extension: str, view: memoryview) -> bytes:
        """A member that differs from what was packed, from any place that still has it as packed."""
        offsets, sizes, digests = extents.members[extension]
        path = self.table.entries[extents.shard[row]].path
        for data in self.table.dataset.read_again(path, extents.start[row] + offsets[row], sizes[row]):
            if xxh3_64_intdigest(data) == digests[row]:
                return data
        raise DamagedSampleError(self._damage(extents, row, extension, view))

    def _cut_short(self, extents: Extents, row: int, data: memoryview) -> Finding:
        """The finding for a shard that ends before the sample does."""
        path, length = self.table.entries[extents.shard[row]].path, extents.length[row]
        return Finding(
            "truncated",
            path,
            "the shard ends in the middle of a sample",
            key=extents.keys[row],
            start=extents.start[row],
            length=length,
            expected=f"{length} bytes",
            got=f"{len(data)} bytes",
            cause="payload-cut",
        )

    def _damage(self, extents: Extents, row: int, extension: str, view: memoryview) -> Finding:
        _, sizes, digests = extents.members[extension]
        short = len(view) < sizes[row]
        return self.finding(
            extents,
            row,
            extension,
            "truncated" if short else "payload",
            "a sample is damaged",
            (f"xxh3:{digests[row]:016x}", f"{len(view)} bytes" if short else f"xxh3:{xxh3_64_intdigest(view):016x}"),
        )

    def finding(
        self, extents: Extents, row: int, member: str, kind: str, message: str, values: tuple[str | None, str]
    ) -> Finding:
        """A finding about one member; ``values`` are the expected and the actual value."""
        offsets, sizes, _ = extents.members[member]
        return Finding(
            kind,
            self.table.entries[extents.shard[row]].path,
            message,
            key=extents.keys[row],
            member=member,
            start=extents.start[row] + offsets[row],
            length=sizes[row],
            expected=values[0],
            got=values[1],
            cause=_CAUSES[kind],
        )


def _have_members(parts: Sequence[bytes | memoryview], extents: Extents, rows: slice, *, exact: bool) -> bool:
    """Whether the bytes of some rows have the requested members as packed; ``exact``: and nothing around them."""
    for offsets, sizes, digests in extents.members.values():
        if exact and sizes[rows] == extents.length[rows]:
            if list(map(xxh3_64_intdigest, parts)) != digests[rows]:
                return False
            continue
        for part, offset, size, digest in zip(parts, offsets[rows], sizes[rows], digests[rows], strict=True):
            if size >= 0 and xxh3_64_intdigest(memoryview(part)[offset : offset + size]) != digest:
                return False
    return True


def prepared(
    payloads: Payloads,
    items: Iterator[Item],
    rows_of: Callable[[Item], NDArray[np.int64]],
    horizon: int,
    pool: Executor | None = None,
    size_of: Callable[[Item], int] | None = None,
) -> Iterator[Item]:
    """The items, each once the indexes of its rows are open; with remote shards, looks at least ``horizon`` rows ahead.

    ``size_of`` is how many rows an item has in all, if some of them are elsewhere.
    """
    table, ranges = payloads.table, payloads.ranges
    if isinstance(ranges, FetchedRanges):
        yield from Horizon(table, ranges, horizon).through(items, rows_of, size_of)
        return
    for item in items:
        missing = table.missing(rows_of(item))
        for _ in (pool.map if pool is not None and len(missing) > 1 else map)(table.open, missing):
            pass
        yield item
