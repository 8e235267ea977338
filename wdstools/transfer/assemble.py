"""Assembling one shard from what is there already and what has to be fetched, each sample checked before it counts.

A group of bytes is taken, in this order, from the part file of an interrupted run, from old local shards, and from
afar; wherever it comes from, it must have the digest that the index gives, and the manifest proves the index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import IntegrityError, StoreError
from wdstools.formats.digest import ShardDigester, ShardDigests
from wdstools.transfer.ranges import GAP_BYTES, REQUEST_BYTES, Request, coalesce, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wdstools.executors.base import Tick
    from wdstools.stores.base import RemoteStore
    from wdstools.stores.partial_file import PartFile
    from wdstools.transfer.seeds import Seeds
    from wdstools.transfer.shape import Shape

_BLOCK = 1 << 20
_ATTEMPTS = 3


@dataclass(slots=True)
class Moved:
    """How a shard came together, in bytes: found in the part, copied from old shards, fetched; ``again`` counts groups."""

    kept: int = 0
    seeded: int = 0
    fetched: int = 0
    requests: int = 0
    again: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a shard comes from: an object of a store, requests of at most ``limit`` bytes, holes up to ``gap``."""

    store: RemoteStore
    path: str
    gap: int = GAP_BYTES
    limit: int = REQUEST_BYTES
    seeds: Seeds | None = None


@dataclass(slots=True)
class Assembler:
    """Fills one part file in the order of its bytes, hashing as it goes."""

    shape: Shape
    origin: Origin
    file: PartFile
    tick: Tick
    moved: Moved = field(default_factory=Moved)
    _digester: ShardDigester = field(default_factory=ShardDigester)
    _hashed: int = 0

    def run(self) -> ShardDigests:
        """Fill the file up to its trailer; gives the digests of the whole.

        Raises IntegrityError (``remote-damaged``) for a sample that is not what the index says however often it is
        asked for; what was good until then stays in the part.
        """
        shape = self.shape
        missing = [row for row, there in enumerate(self._there()) if not there]
        source, length = [shape.source[row] for row in missing], [shape.length[row] for row in missing]
        for request in coalesce(source, length, gap=self.origin.gap, limit=self.origin.limit):
            self._fetch(request, missing)
        self._catch_up(shape.end)
        trailer = memoryview(bytes(shape.size - shape.end))
        self.file.write(shape.end, trailer)
        self._digester.update(trailer)
        return self._digester.digests()

    def _there(self) -> Iterator[bool]:
        """For each group whether it is in the file, from an earlier run or now from an old shard."""
        shape, size = self.shape, self.file.size()
        for row, (start, length) in enumerate(zip(shape.target, shape.length, strict=True)):
            if start + length <= size and shape.holds(row, self.file.read(start, length)):
                self.moved.kept += length
            elif (group := self._seed(row)) is not None:
                self.file.write(start, memoryview(group))
                self.moved.seeded += length
            else:
                yield False
                continue
            self.tick(length)
            yield True

    def _seed(self, row: int) -> bytes | None:
        if self.origin.seeds is None:
            return None
        for group in self.origin.seeds.find(self.shape.digest(row), self.shape.length[row]):
            if self.shape.holds(row, group):
                return group
        return None

    def _fetch(self, request: Request, missing: list[int]) -> None:
        shape = self.shape
        self.moved.requests += 1
        rows = missing[request.first : request.last]
        starts, lengths = [shape.source[row] for row in rows], [shape.length[row] for row in rows]
        for first, last, base, data in self._arrivals(request, starts, lengths):
            for one, other in runs(starts, lengths, first, last):
                self._take(rows[one:other], data[starts[one] - base : starts[other - 1] + lengths[other - 1] - base])

    def _arrivals(
        self, request: Request, starts: list[int], lengths: list[int]
    ) -> Iterator[tuple[int, int, int, memoryview]]:
        """What a request brings, in stretches of whole groups: first and last group, position of the bytes, bytes.

        Groups are taken where they lie in a block; only one that two blocks share is put together.
        """
        base, first, carry = request.start, 0, b""
        for arrived in self.origin.store.stream(self.origin.path, request.start, request.bytes):
            self.moved.fetched += len(arrived)
            block = arrived
            if carry:  # the bytes of a group that began in an earlier block, from base on
                rest = lengths[first] - len(carry)
                carry = b"".join((carry, block[:rest]))
                if len(carry) < lengths[first]:
                    continue
                yield first, first + 1, base, memoryview(carry)
                block, base, first, carry = block[rest:], base + lengths[first], first + 1, b""
            last, have = first, base + len(block)
            while last < len(starts) and starts[last] + lengths[last] <= have:
                last += 1
            if last > first:
                yield first, last, base, block
            first = last
            if first < len(starts) and starts[first] < have:
                carry, base = bytes(block[starts[first] - base :]), starts[first]
            else:
                base = have
        if first < len(starts):
            raise StoreError(
                "an object ended before its time",
                code="remote-damaged",
                where=f"{self.origin.store.url}/{self.origin.path}",
                expected=f"{request.end} bytes at least",
                got=f"{base + len(carry)} bytes",
                hint=f"wdstools verify {quote(self.origin.store.url)}",
            )

    def _take(self, rows: list[int], data: memoryview) -> None:
        """Check groups that lie one behind the other, and write them."""
        shape, at = self.shape, 0
        for row in rows:
            group = data[at : at + shape.length[row]]
            if not shape.holds(row, group):
                mended = bytearray(data)
                mended[at : at + shape.length[row]] = self._again(row)
                data = memoryview(mended)
            at += shape.length[row]
        start = shape.target[rows[0]]
        self._catch_up(start)
        self.file.write(start, data)
        self._digester.update(data)
        self._hashed = start + len(data)
        self.tick(len(data))

    def _again(self, row: int) -> bytes:
        """A group that arrived damaged, asked for alone."""
        shape, origin = self.shape, self.origin
        for _ in range(_ATTEMPTS - 1):
            self.moved.again += 1
            self.moved.requests += 1
            group = origin.store.fetch(origin.path, shape.source[row], shape.length[row])
            self.moved.fetched += len(group)
            if shape.holds(row, group):
                return group
        end = shape.source[row] + shape.length[row]
        raise IntegrityError(
            "a sample is damaged where it comes from",
            code="remote-damaged",
            where=f"{origin.store.url}/{origin.path}, sample {shape.keys[row]}, bytes {shape.source[row]}..{end}",
            hint=f"wdstools verify {quote(origin.store.url)}    names all that is damaged there; then pull from another copy, "
            "or repair that one; what is whole is kept, and the same command goes on",
        )

    def _catch_up(self, end: int) -> None:
        """Hash what lies in the file between what has been hashed and ``end``."""
        while self._hashed < end:
            block = self.file.read(self._hashed, min(_BLOCK, end - self._hashed))
            if not block:
                raise StoreError("a file became shorter while it was written", where=self.file.path)
            self._digester.update(block)
            self._hashed += len(block)
