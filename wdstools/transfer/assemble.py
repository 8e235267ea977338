"""Assemble one shard from what is here already and what has to be fetched, checking each sample before it counts.

A sample's record group is taken from the partial file of an interrupted run, from old local shards, or from the remote
store, in this order. Wherever it comes from, it must have the digest in the index, and the manifest proves the index.
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
    """Where a shard's bytes came from: ``kept`` in the partial file, ``seeded`` from old shards, or fetched.

    ``again`` counts groups that had to be fetched again.
    """

    kept: int = 0
    seeded: int = 0
    fetched: int = 0
    requests: int = 0
    again: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a shard comes from: an object of a store; requests take at most ``limit`` bytes, with holes up to ``gap``."""

    store: RemoteStore
    path: str
    gap: int = GAP_BYTES
    limit: int = REQUEST_BYTES
    seeds: Seeds | None = None


@dataclass(slots=True)
class Assembler:
    """Fills one partial file in the order of its bytes, hashing as it goes."""

    shape: Shape
    origin: Origin
    file: PartFile
    tick: Tick
    moved: Moved = field(default_factory=Moved)
    _digester: ShardDigester = field(default_factory=ShardDigester)
    _hashed: int = 0

    def run(self) -> ShardDigests:
        """Fill the file, trailer included; returns the digests of the whole shard.

        Raises IntegrityError (``remote-damaged``) for a sample that does not match the index however often it is
        fetched; what was good until then stays in the partial file.
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
        """For each group, whether it is in the file, from an earlier run or just now from an old shard."""
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
        """What a request brings, as runs of whole groups: first and last group, position of the bytes, bytes.

        Groups are used in place in their block; only one that spans blocks is put together.
        """
        base, first, carry = request.start, 0, b""
        for arrived in self.origin.store.stream(self.origin.path, request.start, request.bytes):
            self.moved.fetched += len(arrived)
            block = arrived
            if carry:  # the beginning of a group from an earlier block, at base
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
                "an object is shorter than its index says",
                code="remote-damaged",
                where=f"{self.origin.store.url}/{self.origin.path}",
                expected=f"at least {request.end} bytes",
                got=f"{base + len(carry)} bytes",
                hint=f"wdstools verify {quote(self.origin.store.url)}",
            )

    def _take(self, rows: list[int], data: memoryview) -> None:
        """Check adjacent groups, and write them."""
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
        """Fetch a group that arrived damaged once more, by itself."""
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
            "a sample is damaged at its source",
            code="remote-damaged",
            where=f"{origin.store.url}/{origin.path}, sample {shape.keys[row]}, bytes {shape.source[row]}..{end}",
            hint=f"wdstools verify {quote(origin.store.url)}    names everything damaged there; then pull from another copy, "
            "or repair that one; intact samples are kept, and the same command continues",
        )

    def _catch_up(self, end: int) -> None:
        """Hash the file from where hashing stopped to ``end``."""
        while self._hashed < end:
            block = self.file.read(self._hashed, min(_BLOCK, end - self._hashed))
            if not block:
                raise StoreError("a file became shorter while it was being written", where=self.file.path)
            self._digester.update(block)
            self._hashed += len(block)
