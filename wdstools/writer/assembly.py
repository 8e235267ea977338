"""Putting the samples of one shard into its tar: each one read, checked, laid out and hashed, or skipped whole."""

from __future__ import annotations

import json
import time
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wdstools.errors import SkippedError, SourceChangedError, UsageError, option
from wdstools.formats.arrow import from_ipc
from wdstools.formats.digest import xxh3_128_hexdigest
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.formats.index import build_index
from wdstools.formats.sample import MEMBER_ORDER, image_member
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.images.check import DamagedImageError, ImageInfo
from wdstools.images.rules import ImageMaker
from wdstools.images.whole import KEEP
from wdstools.results import Skip
from wdstools.sources.base import (
    MAX_FILE_BYTES,
    DamagedEntryError,
    NeedSpaceError,
    entry_part,
    image_paths,
    join_path,
    path_part,
    side_paths,
    text_columns,
)
from wdstools.sources.rows import as_json
from wdstools.sources.several import MORE_CAPTIONS, distinct, parse_more
from wdstools.sources.sidecar import caption_in_json, is_json, plain_json
from wdstools.writer.buffer import TarBuffer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.images.rules import ImageRules
    from wdstools.sources.base import Listing, SourceOpener, SourceReader
    from wdstools.writer.buffer import BlockSink

MAX_CAPTION_BYTES = 1 << 20
#: One PUT moves an object of at most 5 GB to any store, which then keeps a digest of the whole.
MAX_SHARD_BYTES = 5_000_000_000
_TICK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What is the same for all shards of a pack. ``started_ns`` is when the pack began, by the system's clock.

    ``authenticated`` adds the SHA-256 of each sample to the index. ``side`` is that which the recipe expects of an
    image, in pixels; 0 if it expects none. ``captions`` says whether metadata must hold a caption (``required``);
    ``several`` whether further captions in files are listed in ``json`` (``all``) or become lines of the caption
    (``join``); ``caption_key`` what metadata calls the caption.
    """

    opener: SourceOpener
    members: tuple[str, ...]
    labels: tuple[str, ...]
    image_template: str
    images: ImageRules
    fail: bool
    started_ns: int
    authenticated: bool = False
    side: int = 0
    captions: str = "optional"
    several: str = "all"
    caption_key: str | None = None

    @classmethod
    def of(
        cls, listing: Listing, images: ImageRules, members: tuple[str, ...], *, authenticated: bool
    ) -> ShardSettings:
        """Those for the samples of a listing, by the rules of a pack that begins now."""
        template, base = listing.template.get("image", ""), listing.template.get("base", "")
        return cls(
            opener=listing.opener,
            members=members,
            labels=listing.labels,
            image_template=f"{base}/{template}" if base and template else template,
            images=images,
            fail=False,
            started_ns=time.time_ns(),
            authenticated=authenticated,
            side=0 if images.encoding and images.encoding.side else listing.side,
            captions=listing.captions,
            several=listing.several,
            caption_key=listing.caption_key,
        )


#: What stands for a file elsewhere, and what a server gave in place of one.
_POINTERS = ("git-lfs", "git-annex")
_PAGES = ("html", "xml", "json")
#: Bytes with which these begin; images begin with others.
_TEXT_STARTS = frozenset(b"v./<{ \t\r\n\xef")


class _RefusedError(Exception):
    """A sample that is not packed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Row(NamedTuple):
    """One sample of the plan; ``derived`` tells that the template and the key give the image's path back."""

    key: bytes
    label: str | None
    image: str
    image_suffix: str
    image_entry: bytes | None
    caption_path: str | None
    caption_entry: bytes | None
    caption: str | None
    cls: int | None
    json: str | None
    json_path: str | None
    json_entry: bytes | None
    derived: bool
    #: Where each further member is: a path (None: the image's archive), and what an archive says.
    further: tuple[tuple[str | None, bytes | None], ...] = ()
    #: Further captions, as ``sources/several`` renders them; None where no sample has any.
    more_captions: str | None = None


class Assembly:
    """Puts the samples of one shard into the buffer and remembers what the index needs."""

    def __init__(self, settings: ShardSettings, split: str, reader: SourceReader, sink: BlockSink) -> None:
        self.settings = settings
        self.split = split
        self.reader = reader
        self.buffer = TarBuffer(sink, authenticated=settings.authenticated)
        self.skips: list[Skip] = []
        self.odd_captions = 0  # captions with a byte order mark or NUL in them, kept as they are
        self.trailing = 0  # images with bytes behind their end, kept as they are
        self.stray = 0  # images with bytes between their parts, kept as they are
        self.frames = 0  # images that were converted and have other frames or pages, which are left out
        self._stats = array("q")  # size and time of each file
        self._maker = ImageMaker(self.settings.images)
        self._extension = image_member(self.settings.members)
        self._cls_of = {label: number for number, label in enumerate(self.settings.labels)}
        self._names = {extension: b"." + extension.encode() for extension in self.settings.members}
        self._further = further_members(self.settings.members)
        self._records: list[tuple[Any, ...]] = []  # _INDEX_COLUMNS of each sample

    def run(self, rows: Iterable[Row], tick: Tick) -> None:
        """Add every sample."""
        done = 0
        for row in rows:
            self.buffer.begin()
            mark = len(self._stats)
            try:
                self._add(row)
            except (_RefusedError, DamagedImageError, DamagedEntryError) as refusal:
                self.buffer.take_back()
                reason, detail = refusal.args
                self._skip(row, reason, detail)
                del self._stats[mark:]  # all of its files count, those behind the one that was refused too
                self._stats.extend(stats_of(self.reader, row, self.settings.members))
            if self.buffer.offset > MAX_SHARD_BYTES:
                self._refuse_size()
            done += 1
            if done == _TICK_SAMPLES:
                tick(done)
                done = 0
        tick(done)

    def _refuse_size(self) -> None:
        packed = len(self._records)
        raise UsageError(
            "a shard would be larger than 5 GB",
            code="shard-too-large",
            where=f"{packed:,} samples",
            hint=f"use {option('shard_samples', max(1, packed // 2))} or fewer, or more {option('shards')}",
        )

    def _skip(self, row: Row, reason: str, detail: str) -> None:
        if self.settings.fail:
            raise SkippedError(
                f"a sample cannot be packed: {detail}",
                code=reason,
                where=row.image,
                hint=f"mend or remove it, or pack with {option('on_error', 'skip')}",
            )
        self.skips.append(Skip(reason, row.image, self.split, row.key.decode(), detail))

    def _add(self, row: Row) -> None:
        info = self._add_image(row) if self._extension else None
        caption: str | None = None
        cls: int | None = None
        for extension in self.settings.members:
            if extension == "txt":
                caption = self._add_caption(row)
            elif extension == "cls":
                cls = row.cls if row.cls is not None else self._cls_of[row.label or ""]
                self._seal(row, "cls", self.buffer.put(b"%d" % cls))
            elif extension == "json":
                self._add_json(row, caption)
        for extension, place in zip(self._further, row.further, strict=True):
            self._add_further(row, extension, place)
        source = None if row.derived else row.image
        seen: tuple[int | None, int | None, str | None] = (None, None, None)
        if info is not None:
            seen = (info.width, info.height, info.type)
            self.trailing += bool(info.trailing) and self.settings.images.trailing == KEEP
            self.stray += bool(info.stray)
            self.frames += info.frames
        label = row.label if "cls" in self.settings.members else None  # it is what a shard tells by its cls
        self._records.append((self.split, row.key.decode(), label, cls, *seen, caption, source))

    def _add_image(self, row: Row) -> ImageInfo:
        start, end = self._read(row.image, row.image_entry)
        self._refuse_pointer(start, end)
        memory = self.buffer.memory
        if self._maker.keeps(bytes(memory[start : start + 16])):
            claimed = TYPE_OF_EXTENSION[row.image_suffix[1:].lower()]
            if self._maker.rules.encoding is None and claimed != self._extension and end > start:
                raise _RefusedError(f"image-not-{self._extension}", f"the name says {claimed}")
            info, cut = self._maker.check(memory, start, end, self._extension)
            end -= cut
        else:
            data, info = self._maker.reencode(bytes(memory[start:end]))
            end = self.buffer.put(data)
        self._seal(row, self._extension, end)
        return info

    def _refuse_pointer(self, start: int, end: int) -> None:
        """What stands in the place of a file is named as what it is: a pointer, a web page, an answer of a server."""
        if start == end or self.buffer.memory[start] not in _TEXT_STARTS:
            return
        found = what_is(bytes(self.buffer.memory[start : min(end, start + SNIFF_BYTES)]))
        if found is not None and found.code in _POINTERS:
            raise _RefusedError("file-not-fetched", f"{found.what}: {found.hint}")
        if found is not None and found.code in _PAGES:
            raise _RefusedError(f"image-not-{self._extension}", f"{found.what}: {found.hint}")

    def _add_caption(self, row: Row) -> str:
        if row.caption_path is None:
            text = row.caption or ""
            self._seal(row, "txt", self._put_caption(text.encode()))
            return text
        if is_json(row.caption_path):
            return self._add_caption_of_json(row, row.caption_path)
        text, end = self._read_text(row.caption_path, row.caption_entry)
        if row.more_captions and self.settings.several == "join":
            text = "\n".join(self._captions(row, text)) or text
            end = self._put_caption(text.encode())
        self._seal(row, "txt", end)
        return text

    def _put_caption(self, data: bytes) -> int:
        """A caption that is no file of its own, by the limit of those that are; where it ends in the buffer."""
        if len(data) > MAX_CAPTION_BYTES:
            raise _RefusedError("caption-too-large", f"{len(data):,} bytes, the limit is {MAX_CAPTION_BYTES:,}")
        return self.buffer.put(data)

    def _read_text(self, path: str, entry: bytes | None) -> tuple[str, int]:
        """The text of a file, and where it ends in the buffer."""
        start, end = self._read(path, entry, MAX_CAPTION_BYTES, "caption-too-large")
        try:
            text = str(self.buffer.memory[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise _RefusedError("caption-not-utf8", f"{path}: {error.reason} at byte {error.start}") from None
        if text.startswith("version https://git-lfs"):
            self._refuse_pointer(start, end)
        self.odd_captions += "\0" in text or text.startswith("\ufeff")
        return text, end

    def _captions(self, row: Row, first: str) -> list[str]:
        """All captions of a sample, without the ends of lines around them."""
        more = parse_more(row.more_captions)
        texts = [first, *(text if isinstance(text, str) else self._read_text(*text)[0] for text in more)]
        return [text for text in distinct([text.removeprefix("\ufeff").strip("\r\n") for text in texts]) if text]

    def _add_caption_of_json(self, row: Row, path: str) -> str:
        """The caption in a file of metadata."""
        start, end = self._read(path, row.caption_entry)
        try:
            text = caption_in_json(bytes(self.buffer.memory[start:end]), path, self.settings.caption_key)
            data = (text or "").encode()
        except ValueError as error:  # that it is no JSON, or that its text is no UTF-8
            raise _RefusedError("json-invalid", f"{path}: {error}") from None
        if text is None and self.settings.captions == "required":
            raise _RefusedError("caption-missing", f"none in {path}")
        self._seal(row, "txt", self._put_caption(data))
        return text or ""

    def _add_json(self, row: Row, caption: str | None) -> None:
        if row.json_path is None and row.json_entry is None:
            text = row.json or "{}"
            if row.more_captions is not None and self.settings.several == "all":
                said = json.loads(text)
                if row.more_captions or "captions" not in said:
                    text = as_json(said | {"captions": self._captions(row, caption or "")})
            self._seal(row, "json", self.buffer.put(text.encode()))
            return
        path = row.json_path or row.image
        start, end = self._read(path, row.json_entry)
        data = bytes(self.buffer.memory[start:end])
        try:
            plain = plain_json(data, path if row.json_path else "x.json")  # a shard's json is never compressed
        except ValueError as error:
            raise _RefusedError("json-invalid", f"{row.json_path or 'json'}: {error}") from None
        end = end if plain == data else self.buffer.put(plain)
        self._seal(row, "json", end)

    def _add_further(self, row: Row, extension: str, place: tuple[str | None, bytes | None]) -> None:
        """A member that is packed as it is; empty where the sample has none."""
        path, entry = place
        if path is None and entry is None:
            self._seal(row, extension, self.buffer.put(b""))
            return
        _, end = self._read(path or row.image, entry)
        self._seal(row, extension, end)

    def _read(
        self, path: str, entry: bytes | None, limit: int = MAX_FILE_BYTES, code: str = "file-too-large"
    ) -> tuple[int, int]:
        try:
            start, end, mtime_ns = self.buffer.read(self.reader, path, entry, limit)
        except NeedSpaceError as need:
            raise _RefusedError(code, f"{need.size:,} bytes, the limit is {limit:,}") from None
        if end - start > limit:
            raise _RefusedError(code, f"{end - start:,} bytes, the limit is {limit:,}")
        if mtime_ns > self.settings.started_ns:
            self._read_again(path, entry, start, end, mtime_ns)
        self._stats.append(end - start)
        self._stats.append(mtime_ns)
        return start, end

    def _read_again(self, path: str, entry: bytes | None, start: int, end: int, mtime_ns: int) -> None:
        """A file newer than the pack itself: accept it only if it stands still (a file server's clock may be ahead)."""
        first = bytes(self.buffer.memory[start:end])
        start, end, again_ns = self.buffer.read(self.reader, path, entry, MAX_FILE_BYTES)
        if again_ns != mtime_ns or first != self.buffer.memory[start:end]:
            raise SourceChangedError(
                "the file changed while it was read",
                where=path,
                hint="stop what writes to the source, then run the same command again",
            )

    def _seal(self, row: Row, extension: str, end: int) -> None:
        self.buffer.add(row.key + self._names[extension], end)

    def table(self) -> Any:
        """The shard's index."""
        columns = zip(*self._records, strict=True) if self._records else ((),) * len(_INDEX_COLUMNS)
        given: dict[str, Any] = dict(zip(_INDEX_COLUMNS, columns, strict=True))
        placed = self.buffer.placed
        given |= {"offset": placed.offsets, "length": placed.lengths, "xxh3_128": placed.xxh3_128}
        if self.settings.authenticated:
            given["sha256"] = placed.sha256
        numbers = placed.members
        count = len(self.settings.members)
        members: dict[str, Any] = {
            "ext": self.settings.members * len(self._records),
            "offset": numbers[:, 0],
            "size": numbers[:, 1],
            "xxh3_64": numbers[:, 2],
            "count": np.full(len(self._records), count),
        }
        return build_index(given, members)

    def sources(self) -> str:
        """A digest of size and modification time of every file of every sample, skipped ones too."""
        return sources_digest(self._stats)

    def other_sizes(self) -> int:
        """How many images are not of the side that the recipe expects."""
        side = self.settings.side
        return sum(record[_WIDTH : _WIDTH + 2] != (side, side) for record in self._records) if side else 0

    def image_digests(self) -> NDArray[np.uint64]:
        """XXH3-64 of each image; none in a dataset without images."""
        if not self._extension:
            return np.zeros(0, np.uint64)
        return self.buffer.placed.members[:: len(self.settings.members), 2].copy()


_INDEX_COLUMNS = ("split", "key", "label", "cls", "width", "height", "format", "caption", "source")  # fmt: skip
_WIDTH = _INDEX_COLUMNS.index("width")


def further_members(members: tuple[str, ...]) -> tuple[str, ...]:
    """Those members that are packed as they are."""
    return tuple(member for member in members if member not in MEMBER_ORDER)


def rows_of(samples: bytes, split: str, template: str, members: tuple[str, ...]) -> Iterator[Row]:
    """The samples of a shard, from Arrow IPC bytes."""
    table = from_ipc(samples)
    keys, labels, ids, stems, suffixes = text_columns(table, ("key", "label", "id_dir", "stem", "image_suffix"))
    images = image_paths(table)
    inline = text_columns(table, ("caption_entry", "caption", "cls", "json"))
    return map(
        Row._make,
        zip(
            keys, labels, images, suffixes, *text_columns(table, ("image_entry",)),
            _caption_paths(table, images), *inline, side_paths(table, "json"), *text_columns(table, ("json_entry",)),
            _derived(template.replace("{split}", split), (keys, labels, ids, stems, suffixes), images),
            _further(table, further_members(members)), _more_captions(table),
            strict=True,
        ),
    )  # fmt: skip


def _more_captions(table: Any) -> list[str | None]:
    """The further captions of each sample, "" where others have some."""
    values: list[str | None] = text_columns(table, (MORE_CAPTIONS,))[0]
    return [value or "" for value in values] if MORE_CAPTIONS in table.column_names else values


def _further(table: Any, members: tuple[str, ...]) -> list[tuple[tuple[str | None, bytes | None], ...]]:
    """Where the further members of each sample are."""
    if not members:
        return [()] * table.num_rows
    places = [
        list(zip(*text_columns(table, (path_part(member), entry_part(member))), strict=True)) for member in members
    ]
    return list(zip(*places, strict=True))


def _caption_paths(table: Any, images: list[str]) -> list[str | None]:
    """Where each caption is read from; None where it is given inline, the image's path where only an entry says."""
    entries = text_columns(table, ("caption_entry",))[0]
    return [
        path if path is not None else image if entry is not None else None
        for path, entry, image in zip(side_paths(table, "caption"), entries, images, strict=True)
    ]


def _derived(template: str, parts: tuple[list[Any], ...], images: list[str]) -> list[bool]:
    before, _, after = template.partition("{id}")
    place = {label: before.replace("{label}", label or "") for label in set(parts[1])}
    return [
        b"%" not in key
        and b"~" not in key
        and suffix == after
        and image == place[label] + join_path(folder, stem) + suffix
        and key.decode() in (join_path(folder, stem), f"{label}/{join_path(folder, stem)}")
        for key, label, folder, stem, suffix, image in zip(*parts, images, strict=True)
    ]


def sources_digest(stats: array[int]) -> str:
    """XXH3-128 of sizes and modification times, in the order in which the files are read."""
    return xxh3_128_hexdigest(stats.tobytes())


def stats_of(reader: SourceReader, row: Row, members: tuple[str, ...]) -> list[int]:
    """Size and modification time of each file of a sample, by a look at them alone."""
    return [number for path, entry in files_of(row, members) for number in reader.stat(path, entry)]


def files_of(row: Row, members: tuple[str, ...]) -> Iterator[tuple[str, bytes | None]]:
    """Path and entry of each file of a sample, in the order in which they are read."""
    yield row.image, row.image_entry
    if row.caption_path is not None and "txt" in members:
        yield row.caption_path, row.caption_entry
    for more in parse_more(row.more_captions) if row.more_captions else ():
        if not isinstance(more, str):
            yield more.path, more.entry
    if (row.json_path is not None or row.json_entry is not None) and "json" in members:
        yield row.json_path or row.image, row.json_entry
    for path, entry in row.further:
        if path is not None or entry is not None:
            yield path or row.image, entry
