"""Samples as a page shows them: an entry of the gallery, everything about one sample, and its members."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any

from wdstools.address import display
from wdstools.errors import FormatError, IntegrityError, NotFoundError, WdsError
from wdstools.formats.arrow import to_array, to_list
from wdstools.formats.digest import xxh3_64_intdigest
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.reader.shard import ShardReader
from wdstools.results import proof
from wdstools.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wdstools.ops.view.catalogue import Catalogue
    from wdstools.reader.sample import Sample

_GALLERY_CHARACTERS = 240
_READERS = 16
#: How many samples are cached: a page asks for a sample's picture, texts and state one after the other.
_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Address:
    """The dataset as named on the command line, for the commands that the page shows."""

    dataset: str
    at: str | None = None

    def command(self, verb: str, *rest: str) -> str:
        """A command with the dataset as it was named; secrets are not shown."""
        where = ["--at", display(self.at)] if self.at else []
        return " ".join(map(quote, ("wdstools", verb, display(self.dataset), *rest, *where)))


class Samples:
    """Reads samples of a catalogue. Thread-safe."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._readers: OrderedDict[tuple[int, bool], ShardReader] = OrderedDict()
        self._last: OrderedDict[int, Sample] = OrderedDict()
        self._lock = threading.Lock()
        self._in_order = threading.Lock()

    def lines(self, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
        """What the gallery shows for each sample; if its index cannot be read, the reason."""
        of_shard: dict[int, list[int]] = {}
        numbers = list(numbers)
        for number in numbers:
            place = self._catalogue.place(number)
            of_shard.setdefault(place.shard, []).append(place.row)
        made: dict[int, dict[str, Any]] = {}
        for shard, rows in of_shard.items():
            first = int(self._catalogue.starts[shard])
            try:
                made |= self._of_shard(shard, rows)
            except WdsError as error:
                made |= {
                    first + row: {"number": first + row, "error": error.message, "code": error.code} for row in rows
                }
        for number in numbers:
            yield made[number]

    def _of_shard(self, shard: int, rows: list[int]) -> dict[int, dict[str, Any]]:
        import pyarrow as pa

        split, first = self._catalogue.shards[shard][0], int(self._catalogue.starts[shard])
        names = ("key", "label", "width", "height", "bytes", "caption")
        table = self._catalogue.table(shard).select(names).take(to_array(rows, pa.int64()))
        columns = zip(rows, *(to_list(table.column(name)) for name in names), strict=True)
        return {
            first + row: {
                "number": first + row,
                "split": split,
                "key": key,
                "label": label,
                "width": width,
                "height": height,
                "bytes": total,
                "caption": None if caption is None else caption[:_GALLERY_CHARACTERS],
            }
            for row, key, label, width, height, total, caption in columns
        }

    def details(self, number: int, address: Address) -> dict[str, Any]:
        """Everything that the index and the manifest say about a sample, and commands for it."""
        place = self._catalogue.place(number)
        split, entry = self._catalogue.shards[place.shard]
        row = self._catalogue.index(place.shard).slice(place.row, 1).to_pylist()[0]
        dataset = self._catalogue.dataset
        members = [
            {"ext": one["ext"], "offset": one["offset"], "bytes": one["size"], "xxh3_64": f"{one['xxh3_64']:016x}"}
            for one in row["members"]
        ]
        names = ("key", "label", "cls", "width", "height", "format", "caption", "source", "offset", "length")
        digests = {name: row[name].hex() for name in ("xxh3_128", "sha256") if row[name] is not None}
        return {
            "number": number,
            "split": split,
            **{name: row[name] for name in names},
            "members": members,
            "bytes": sum(one["bytes"] for one in members),
            "picture": self.picture_extension(one["ext"] for one in members),
            **digests,
            "shard": {
                "path": entry.path,
                "url": display(f"{dataset.shards.url.rstrip('/')}/{entry.path}"),
                "row": place.row,
                "samples": entry.samples,
                "bytes": entry.bytes,
                "sha256": entry.sha256,
                "encoding": entry.encoding,
            },
            "commands": self._commands(row["key"], [one["ext"] for one in members], address),
        }

    def _commands(self, key: str, members: list[str], address: Address) -> list[dict[str, str]]:
        """Commands for the sample, as lines to copy."""
        dataset = self._catalogue.dataset
        name = key.rpartition("/")[2]
        picture = self.picture_extension(members)
        first = picture or members[0]
        what = "the picture" if picture else f".{first}"
        one = ("--where", f"key == {key!r}")
        saved = quote(f"{name}.{first}")
        made = [
            ("cat", f"write {what} to a file", f"{address.command('cat', f'{key}.{first}')} > {saved}"),
            ("extract", "write all members to a folder", address.command("extract", "DIR", *one)),
            ("verify", "check the whole dataset", address.command("verify")),
        ]
        here = isinstance(dataset.metadata, LocalStore) and address.at is None
        if here and dataset.manifest.profile == "canonical":
            made += [
                ("repair", "repair damage from a copy", f"{address.command('repair')} --from COPY"),
                ("remove", "remove the sample", address.command("remove", *one, "--in-place")),
            ]
        return [{"verb": verb, "what": what, "text": text} for verb, what, text in made]

    @staticmethod
    def picture_extension(members: Iterable[str]) -> str | None:
        """The member that is the sample's picture; None if it has none."""
        return next((name for name in members if name.lower() in TYPE_OF_EXTENSION), None)

    def read(self, number: int) -> Sample:
        """A sample, with every byte verified; the last few are cached."""
        with self._lock:
            known = self._last.get(number)
        if known is not None:
            return known
        place = self._catalogue.place(number)
        reader = self._reader(place.shard)
        if reader.entry.encoding == "tar":
            sample = reader.sample(place.row)
        else:
            with self._in_order:  # only one thread at a time unpacks a compressed shard
                sample = reader.sample(place.row)
        with self._lock:
            self._last[number] = sample
            while len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)
        return sample

    def member(self, number: int, extension: str) -> bytes:
        """A member of a sample, verified; raises NotFoundError (``member-missing``), IntegrityError (``sample-damaged``)."""
        try:
            return self.read(number)[extension]
        except KeyError:
            raise NotFoundError("no such member", code="member-missing", where=extension[:100]) from None
        except FormatError as error:
            # the shard is truncated or has grown, but members that are whole can still be shown
            data, whole = self._as_it_lies(number, extension)
            if not whole or self._catalogue.dataset.strict:
                raise error from None
            return data

    def picture(self, number: int) -> bytes:
        """The image of a sample, in full size and verified; raises NotFoundError (``image-missing``), and what ``member`` raises."""
        return self.member(number, self._picture_of(number))

    def picture_anyhow(self, number: int) -> bytes:
        """The image, damaged or not: whatever there is of it."""
        try:
            return self.picture(number)
        except (IntegrityError, FormatError):
            return self._as_it_lies(number, self._picture_of(number))[0]

    def state(self, number: int) -> dict[str, Any]:
        """Whether a sample, read now, is what was packed; and if not, what is wrong."""
        try:
            self.read(number)
        except WdsError as error:
            return {"whole": False, **error.to_dict()}
        return {"whole": True, "proof": proof(self._catalogue.dataset.proved_by_samples)["proof"]}

    def _picture_of(self, number: int) -> str:
        members = self._members(number)
        extension = self.picture_extension(members)
        if extension is None:
            raise NotFoundError("this sample has no picture", code="image-missing", where=str(number))
        return extension

    def _members(self, number: int) -> dict[str, tuple[int, int, int]]:
        """Offset, size and XXH3-64 of a sample's members, from the index."""
        place = self._catalogue.place(number)
        row = self._catalogue.index(place.shard).column("members")[place.row].as_py()
        return {one["ext"]: (one["offset"], one["size"], one["xxh3_64"]) for one in row}

    def _as_it_lies(self, number: int, extension: str) -> tuple[bytes, bool]:
        """The bytes at a member's place in the index, whatever they are now, and whether they match its digest."""
        entry = self._catalogue.shards[self._catalogue.place(number).shard][1]
        offset, size, digest = self._members(number)[extension]
        if entry.encoding != "tar":
            return self._reader(self._catalogue.place(number).shard, checked=False).sample(
                self._catalogue.place(number).row
            )[extension], False
        data = bytes(self._catalogue.dataset.shards.get(entry.path, offset, size))
        return data, len(data) == size and xxh3_64_intdigest(data) == digest

    def _reader(self, shard: int, *, checked: bool = True) -> ShardReader:
        with self._lock:
            found = self._readers.get((shard, checked))
            if found is not None:
                self._readers.move_to_end((shard, checked))
                return found
        reader = ShardReader(self._catalogue.dataset, self._catalogue.shards[shard][1], check=checked)
        with self._lock:
            self._readers[shard, checked] = reader
            while len(self._readers) > _READERS:
                self._readers.popitem(last=False)
        return reader
