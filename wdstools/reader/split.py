"""The samples of a dataset, as sequences and by key."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, overload

from wdstools.errors import WdsError
from wdstools.formats.sample import is_key, order_hash, shard_of
from wdstools.reader.runs import ROWS, Runs
from wdstools.reader.sample import Sample
from wdstools.reader.shard import ShardReader, home_of
from wdstools.reader.stream import stream
from wdstools.stores.local import LocalStore
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import ShardEntry


class Split(Sequence[Sample]):
    """The samples of one split, in shard order: ``split[123_456]``, ``len(split)``, ``for sample in split``.

    Indexes are read on first use. Every member is checked; damage raises
    IntegrityError.
    """

    def __init__(self, dataset: Dataset, name: str) -> None:
        self.name = name
        self._dataset = dataset
        self._shards = dataset.manifest.splits[name]
        self._ends = list(accumulate(shard.samples for shard in self._shards))
        self._starts = [0, *self._ends[:-1]]
        self._count = self._ends[-1] if self._ends else 0
        self._readers: list[ShardReader | None] = [None] * len(self._shards)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        shards = counted(len(self._shards), "shard")
        return f"Split({self.name!r} of {self._dataset.name!r}: {counted(self._count, 'sample')} in {shards})"

    @overload
    def __getitem__(self, number: int) -> Sample: ...
    @overload
    def __getitem__(self, number: slice) -> list[Sample]: ...
    def __getitem__(self, number: int | slice) -> Sample | list[Sample]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        if number < 0:
            number += self._count
        if not 0 <= number < self._count:
            raise IndexError(f"sample {number} is out of range: split {self.name} has {self._count}")
        shard = bisect_right(self._ends, number)
        reader = self._readers[shard]
        if reader is None:
            reader = self._reader(shard)
        return reader.sample(number - self._starts[shard])

    def _reader(self, shard: int) -> ShardReader:
        reader = self._readers[shard]
        if reader is None:
            reader = self._readers[shard] = reader_of(self._dataset, self._shards[shard])
        return reader

    def __iter__(self) -> Iterator[Sample]:
        far = not isinstance(self._dataset.shards, LocalStore)
        if self._count and far and all(entry.encoding == "tar" for entry in self._shards):
            # all samples, whatever the rank of this process; it reads ahead
            yield from stream(self._dataset, self.name, shuffle=None, rank=0, world_size=1)
            return
        runs = None
        try:
            for shards, plain in self._neighbours():
                if plain:
                    runs = runs or Runs(self._dataset, self.name)
                    yield from runs.samples(shards, self._doubtful)
                else:
                    for shard in shards:
                        yield from self._reader(shard)
        finally:
            if runs is not None:
                runs.close()

    def _neighbours(self) -> Iterator[tuple[range, bool]]:
        """Shards that are read together, small ones joined, and whether they are plain, local and have digests."""
        first, rows = 0, 0
        for shard, entry in enumerate(self._shards):
            try:
                home = home_of(self._dataset, entry)
            except WdsError:  # first return the shards before this one
                if first < shard:
                    yield range(first, shard), True
                raise
            if home is self._dataset.shards and entry.encoding == "tar" and entry.xxh3_128:
                rows += entry.samples
                if rows < ROWS:
                    continue
                yield range(first, shard + 1), True
            else:
                if first < shard:
                    yield range(first, shard), True
                yield range(shard, shard + 1), False
            first, rows = shard + 1, 0
        if first < len(self._shards):
            yield range(first, len(self._shards)), True

    def _doubtful(self, shard: int, row: int) -> Sample:
        """A sample that is not as packed at first sight; raises IntegrityError if it is damaged in every copy."""
        return self._reader(shard).sample(row)

    def keys(self) -> Iterator[str]:
        """Every key, in order."""
        for shard in self._shards:
            yield from reader_of(self._dataset, shard).keys


def reader_of(dataset: Dataset, entry: ShardEntry) -> ShardReader:
    """The dataset's reader of a shard, opened once."""
    reader = dataset.readers.get(entry.path)
    if reader is None:
        reader = dataset.readers[entry.path] = ShardReader(dataset, entry)
    assert isinstance(reader, ShardReader)
    return reader


def get_split_or_sample(dataset: Dataset, which: str) -> Split | Sample:
    """A split by its name, or a sample by its key; raises KeyError if it is neither."""
    if which in dataset.manifest.splits:
        return Split(dataset, which)
    return find_sample(dataset, which)


def find_sample(dataset: Dataset, key: str) -> Sample:
    """The sample with a key; raises KeyError if there is none."""
    for entry in _shards_for(dataset, key):
        reader = reader_of(dataset, entry)
        try:
            return reader.sample(reader.row_of(key))
        except KeyError:
            continue
    raise KeyError(key)


def _shards_for(dataset: Dataset, key: str) -> Iterator[ShardEntry]:
    """The shards that may contain a key: in a canonical dataset its hash tells, one shard per split."""
    manifest = dataset.manifest
    try:
        name = key.encode()
    except UnicodeEncodeError:  # half a character: no sample has such a key
        return
    for shards in manifest.splits.values():
        if manifest.profile != "canonical":
            yield from shards
        elif shards and is_key(name):
            yield shards[shard_of(order_hash(name, manifest.seed), len(shards))]
