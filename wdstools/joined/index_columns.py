"""The arrays of a joined index, in memory or over a mapped file, and how an index's table is stored in them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import FormatError
from wdstools.formats.arrow import fixed_bytes, flat, list_lengths, one_chunk, text_bytes, to_list, to_numpy, valid
from wdstools.formats.digest import xxh3_64
from wdstools.formats.index import VALUE_COLUMNS
from wdstools.joined.layout import CAPTIONS, LOOSE_MEMBER, NULL, NUMBERS, VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.dataset import Dataset
    from wdstools.joined.layout import Layout

#: The columns of an index that are joined; not ``source``, as nothing proves it.
INDEX_COLUMNS = ("key", "offset", "length", "xxh3_128", "sha256", "members", *VALUE_COLUMNS)


class NotInlineError(Exception):
    """A row does not have exactly the dataset's members."""


class Names:
    """Numbered texts, such as labels; -1 is none. Thread-safe."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = list(names)
        self._numbers: dict[str | None, int] = {name: number for number, name in enumerate(self.names)}
        self._numbers[None] = -1
        self._lock = threading.Lock()

    def number(self, values: list[Any]) -> NDArray[np.int32]:
        """The numbers of some texts; new texts are added. None is -1."""
        numbers = self._numbers
        for name in sorted({*values} - numbers.keys()):
            with self._lock:
                if name not in numbers:
                    self.names.append(name)
                    numbers[name] = len(self.names) - 1
        return np.fromiter(map(numbers.__getitem__, values), np.int32, len(values))


def names_of(dataset: Dataset) -> dict[str, Names]:
    """The initial names of a dataset: its labels and members have the numbers that the manifest gives them."""
    manifest = dataset.manifest
    return {"labels": Names(manifest.labels), "formats": Names(), "extensions": Names(manifest.members)}


@dataclass(slots=True)
class Texts:
    """The parts of variable length of one shard's rows: loose members, keys, captions."""

    loose: NDArray[Any]
    keys: bytes | memoryview
    captions: bytes | memoryview


class Columns:
    """The fixed columns by name, the names of labels, formats and extensions, and each shard's texts."""

    def __init__(self, layout: Layout, arrays: dict[str, NDArray[Any]], names: dict[str, Names]) -> None:
        self.layout = layout
        self.arrays = arrays
        self.places = arrays["places"]
        self.labels, self.formats, self.extensions = names["labels"], names["formats"], names["extensions"]
        self.texts: list[Texts | None] = [None] * layout.shards

    @classmethod
    def in_memory(cls, layout: Layout, dataset: Dataset) -> Columns:
        """Empty columns to fill; memory is allocated only as rows are filled in."""
        arrays = {name: np.empty(layout.rows, kind) for name, (kind, _) in layout.columns.items()}
        return cls(layout, arrays, names_of(dataset))

    def text_of(self, shard: int) -> Texts:
        """The texts of an open shard."""
        found = self.texts[shard]
        assert found is not None
        return found

    def keys_at(self, shards: NDArray[np.int64], starts: NDArray[Any], sizes: NDArray[Any]) -> list[str]:
        """Keys, by shard, and offset and size in its keys."""
        return _cut({shard: self.text_of(shard).keys for shard in np.unique(shards).tolist()}, shards, starts, sizes)

    def captions_at(self, shards: NDArray[np.int64], starts: NDArray[Any], sizes: NDArray[Any]) -> list[str]:
        """Captions, by shard, and offset and size in its captions."""
        return _cut(
            {shard: self.text_of(shard).captions for shard in np.unique(shards).tolist()}, shards, starts, sizes
        )

    def fill(self, shard: int, rows: slice, table: pa.Table, *, values: bool = True) -> None:
        """Fill in the rows of one index; ``values``: with labels, classes, sizes, formats and captions.

        Raises NotInlineError, and FormatError (``index-damaged``).
        """
        place = self.places[rows]
        for name, column in (("start", "offset"), ("length", "length")):
            place[name] = to_numpy(table.column(column), null=-1)
        for name in ("xxh3_128", "sha256") if self.layout.authenticated else ("xxh3_128",):
            digests = np.frombuffer(fixed_bytes(table.column(name)), "<u8")
            place[name] = digests.reshape(place[name].shape)
        loose = self._members(place, table)
        keys = _place_texts(table, "key", place["key_start"], place["key_size"])
        captions = b""
        if values:
            at = {name: column[rows] for name, column in self.arrays.items() if name != "places"}
            at["label"][:] = self.labels.number(to_list(table.column("label")))
            at["format"][:] = self.formats.number(to_list(table.column("format")))
            for name in NUMBERS:
                _place_numbers(table, name, at[name])
            captions = _place_texts(table, "caption", at["caption_start"], at["caption_size"])
        self.texts[shard] = Texts(loose, keys, captions)

    def _members(self, place: NDArray[Any], table: pa.Table) -> NDArray[Any]:
        """Put members into the records, or return them as loose ones."""
        members = one_chunk(table.column("members"))
        values = flat(members)
        counts = list_lengths(members)
        columns = {name: to_numpy(values.field(name)) for name in ("offset", "size", "xxh3_64")}
        if self.layout.inline:
            wanted = self.extensions.names[: self.layout.members]
            lengths, raw = text_bytes(values.field("ext"))
            if raw != "".join(wanted).encode() * len(place) or len(lengths) != len(place) * len(wanted):
                raise NotInlineError
            shape = (len(place), len(wanted))
            if (counts != len(wanted)).any() or (
                lengths.reshape(shape) != [len(name.encode()) for name in wanted]
            ).any():
                raise NotInlineError
            for name, column in columns.items():
                place["members"][name] = column.reshape(shape)
            return np.zeros(0, LOOSE_MEMBER)
        place["loose_count"] = counts
        place["loose"] = np.cumsum(counts) - counts
        loose = np.zeros(len(values), LOOSE_MEMBER)
        loose["ext"] = self.extensions.number(to_list(values.field("ext")))
        for name, column in columns.items():
            loose[name] = column
        return loose

    def digests(self, shard: int, rows: slice, *, captions: bool = True) -> tuple[int, ...]:
        """XXH3-64 of a shard's places, of its values, and, if wanted, of its captions."""
        loose, keys, told = self._raw_texts(shard, captions=captions)
        places, values = xxh3_64(self._raw("places", rows)), xxh3_64()
        places.update(loose)
        places.update(keys)
        for name in VALUES:
            values.update(self._raw(name, rows))
        if not captions:
            return places.intdigest(), values.intdigest()
        digest = xxh3_64()
        for name in CAPTIONS:
            digest.update(self._raw(name, rows))
        digest.update(told)
        return places.intdigest(), values.intdigest(), digest.intdigest()

    def _raw(self, name: str, rows: slice) -> bytes | memoryview:
        """The bytes of consecutive rows of a column."""
        array = self.arrays[name][rows]
        return array.view(np.uint8).data if len(array) else b""

    def _raw_texts(self, shard: int, *, captions: bool) -> tuple[bytes | memoryview, ...]:
        """The bytes of a shard's loose members, keys, and, if wanted, captions."""
        texts = self.text_of(shard)
        return (
            texts.loose.view(np.uint8).data if len(texts.loose) else b"",
            texts.keys,
            texts.captions if captions else b"",
        )

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.void]:
        """A copy of the records of some rows."""
        return self.places.take(rows)

    def values_at(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """A copy of a value column for some rows."""
        return self.arrays[name].take(rows)


def _cut(
    texts: dict[int, bytes | memoryview], shards: NDArray[np.int64], starts: NDArray[Any], sizes: NDArray[Any]
) -> list[str]:
    firsts, ends = starts.tolist(), (starts.astype(np.int64) + sizes).tolist()
    if len(texts) == 1 and ends[:-1] == firsts[1:]:
        return cut_neighbours(bytes(next(iter(texts.values()))[firsts[0] : ends[-1]]), firsts, ends)
    spans = zip(shards.tolist(), firsts, ends, strict=True)
    return [str(texts[shard][first:end], "utf-8") for shard, first, end in spans]


def cut_neighbours(whole: bytes, firsts: list[int], ends: list[int]) -> list[str]:
    """Contiguous texts, decoded together; ``whole`` begins at the first."""
    base = firsts[0]
    if not whole.isascii():
        return [whole[first - base : end - base].decode() for first, end in zip(firsts, ends, strict=True)]
    text = whole.decode()
    return [text[first - base : end - base] for first, end in zip(firsts, ends, strict=True)]


def _place_texts(table: pa.Table, name: str, starts: NDArray[Any], sizes: NDArray[Any]) -> bytes:
    column = one_chunk(table.column(name))
    lengths, raw = text_bytes(column)
    starts[:] = np.cumsum(lengths) - lengths
    sizes[:] = lengths
    if column.null_count:
        sizes[~valid(column)] = -1
    return raw


def _place_numbers(table: pa.Table, name: str, target: NDArray[Any]) -> None:
    column = one_chunk(table.column(name))
    if column.null_count < len(column) and (to_numpy(column) == NULL).any():
        raise FormatError(
            "an index has the number that is reserved for missing values", code="index-damaged", where=name
        )
    target[:] = to_numpy(column, null=NULL)
