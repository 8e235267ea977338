"""Put the samples of one shard into its tar: each is read, checked, laid out and hashed, or skipped whole."""

from __future__ import annotations

import json
import time
from array import array
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from wdstools.errors import SkippedError, SourceChangedError, UsageError, option
from wdstools.formats.image_types import TYPE_OF_EXTENSION
from wdstools.formats.index import build_index
from wdstools.formats.sample import image_member
from wdstools.formats.sniff import SNIFF_BYTES, what_is
from wdstools.images.check import DamagedImageError, ImageInfo
from wdstools.images.rules import ImageMaker
from wdstools.images.whole import KEEP
from wdstools.results import Skip
from wdstools.sources.base import MAX_FILE_BYTES, DamagedEntryError, NeedSpaceError
from wdstools.sources.rows import as_json
from wdstools.sources.several import distinct, parse_more
from wdstools.sources.sidecar import caption_in_json, is_json, plain_json
from wdstools.writer.buffer import TarBuffer
from wdstools.writer.rows import further_members, sources_digest, stats_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from wdstools.executors.base import Tick
    from wdstools.images.rules import ImageRules
    from wdstools.sources.base import Listing, SourceOpener, SourceReader
    from wdstools.writer.buffer import BlockSink
    from wdstools.writer.rows import Row

MAX_CAPTION_BYTES = 1 << 20
#: A single PUT takes at most 5 GB, in any store, and only then does the store keep a digest of the whole object.
MAX_SHARD_BYTES = 5_000_000_000
_TICK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What is the same for all shards of a pack. ``started_ns`` is when the pack began, by the system's clock.

    ``authenticated`` adds the SHA-256 of each sample to the index. ``side`` is the side of an image that the recipe
    expects, in pixels; 0 if it expects none. ``captions`` says whether metadata must hold a caption (``required``);
    ``several`` whether further captions in files are listed in ``json`` (``all``) or become lines of the caption
    (``join``); ``caption_key`` is the name of the caption in metadata.
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
        """The settings for the samples of a listing, in a pack that begins now."""
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


#: Pointers to a file elsewhere, and pages that a server sent in place of a file.
_POINTERS = ("git-lfs", "git-annex")
_PAGES = ("html", "xml", "json")
#: The first bytes of these; no image begins with one of them.
_TEXT_STARTS = frozenset(b"v./<{ \t\r\n\xef")


class _RefusedError(Exception):
    """The sample cannot be packed."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@cache
def _claimed_type(suffix: str) -> str:
    """The image type that a file's extension claims."""
    return TYPE_OF_EXTENSION[suffix[1:].lower()]


class Assembly:
    """Puts the samples of one shard into the buffer and remembers what the index needs."""

    def __init__(self, settings: ShardSettings, split: str, reader: SourceReader, sink: BlockSink) -> None:
        self.settings = settings
        self.split = split
        self.reader = reader
        self.buffer = TarBuffer(sink, authenticated=settings.authenticated)
        self.skips: list[Skip] = []
        self.odd_captions = 0  # captions with a byte order mark or NUL in them, kept as they are
        self.trailing = 0  # images with bytes after their end, kept as they are
        self.stray = 0  # images with bytes between their parts, kept as they are
        self.frames = 0  # converted images with further frames or pages, which are left out
        self._stats = array("q")  # size and time of each file
        self._maker = ImageMaker(settings.images)
        self._reencodes = settings.images.encoding is not None
        self._extension = image_member(settings.members)
        self._has_caption, self._has_cls, self._has_json = (name in settings.members for name in ("txt", "cls", "json"))
        self._cls_of = {label: number for number, label in enumerate(settings.labels)}
        self._names = {extension: b"." + extension.encode() for extension in settings.members}
        self._further = further_members(settings.members)
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
                del self._stats[mark:]  # count all its files, including those after the refused one
                self._stats.extend(stats_of(self.reader, row, self.settings.members))
            done += 1
            if done == _TICK_SAMPLES:
                self._refuse_size()
                tick(done)
                done = 0
        self._refuse_size()
        tick(done)

    def _refuse_size(self) -> None:
        if self.buffer.offset <= MAX_SHARD_BYTES:
            return
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
        """Add the members of a sample in their order in the tar."""
        info = self._add_image(row) if self._extension else None
        caption = self._add_caption(row) if self._has_caption else None
        label, cls = None, None
        if self._has_cls:
            label, cls = row.label, row.cls if row.cls is not None else self._cls_of[row.label or ""]
            self._seal(row, "cls", self.buffer.put(b"%d" % cls))
        if self._has_json:
            self._add_json(row, caption)
        if self._further:
            for extension, place in zip(self._further, row.further, strict=True):
                self._add_further(row, extension, place)
        seen = _NO_IMAGE if info is None else self._seen(info)
        source = None if row.derived else row.image
        self._records.append((row.key, label, cls, *seen, caption, source))

    def _seen(self, info: ImageInfo) -> tuple[int, int, str]:
        """What the index says about a packed image; its other peculiarities are counted."""
        if info.trailing and self.settings.images.trailing == KEEP:
            self.trailing += 1
        if info.stray:
            self.stray += 1
        if info.frames:
            self.frames += 1
        return info.width, info.height, info.type

    def _add_image(self, row: Row) -> ImageInfo:
        start, end = self._read(row.image, row.image_entry)
        memory = self.buffer.memory
        if self._reencodes and not self._maker.keeps(bytes(memory[start : start + 16])):
            self._refuse_pointer(start, end)
            data, info = self._maker.reencode(bytes(memory[start:end]))
            end = self.buffer.put(data)
        else:
            claimed = _claimed_type(row.image_suffix)
            if claimed != self._extension and not self._reencodes and end > start:
                self._refuse_pointer(start, end)
                raise _RefusedError(f"image-not-{self._extension}", f"the name says {claimed}")
            try:
                info, cut = self._maker.check(memory, start, end, self._extension)
            except DamagedImageError:
                self._refuse_pointer(start, end)
                raise
            end -= cut
        self._seal(row, self._extension, end)
        return info

    def _refuse_pointer(self, start: int, end: int) -> None:
        """Refuse what stands in for the file, naming it: a pointer, a web page, or a server's answer."""
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
        """Put a caption that is not a file of its own, within the same limit; returns where it ends in the buffer."""
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
        """All captions of a sample, without surrounding line breaks."""
        more = parse_more(row.more_captions)
        texts = [first, *(text if isinstance(text, str) else self._read_text(*text)[0] for text in more)]
        return [text for text in distinct([text.removeprefix("\ufeff").strip("\r\n") for text in texts]) if text]

    def _add_caption_of_json(self, row: Row, path: str) -> str:
        """The caption in a file of metadata."""
        start, end = self._read(path, row.caption_entry)
        try:
            text = caption_in_json(bytes(self.buffer.memory[start:end]), path, self.settings.caption_key)
            data = (text or "").encode()
        except ValueError as error:  # invalid JSON, or text that cannot be UTF-8
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
        """Add a member as it is; empty if the sample has none."""
        path, entry = place
        if path is None and entry is None:
            self._seal(row, extension, self.buffer.put(b""))
            return
        _, end = self._read(path or row.image, entry)
        self._seal(row, extension, end)

    def _read(
        self, path: str, entry: bytes | None, limit: int = MAX_FILE_BYTES, code: str = "file-too-large"
    ) -> tuple[int, int]:
        """Read a file to where the next payload goes; returns its start and end in the buffer."""
        try:
            start, size, mtime_ns = self.buffer.read(self.reader, path, entry, limit)
        except NeedSpaceError as need:
            raise _RefusedError(code, f"{need.size:,} bytes, the limit is {limit:,}") from None
        if size > limit:
            raise _RefusedError(code, f"{size:,} bytes, the limit is {limit:,}")
        if mtime_ns > self.settings.started_ns:
            self._read_again(path, entry, start, start + size, mtime_ns)
        self._stats.extend((size, mtime_ns))
        return start, start + size

    def _read_again(self, path: str, entry: bytes | None, start: int, end: int, mtime_ns: int) -> None:
        """Accept a file newer than the pack itself only if it does not change (a file server's clock may be ahead)."""
        first = bytes(self.buffer.memory[start:end])
        start, size, again_ns = self.buffer.read(self.reader, path, entry, MAX_FILE_BYTES)
        if again_ns != mtime_ns or first != self.buffer.memory[start : start + size]:
            raise SourceChangedError(
                "the file changed while it was read",
                where=path,
                hint="stop whatever writes to the source, then run the same command again",
            )

    def _seal(self, row: Row, extension: str, end: int) -> None:
        self.buffer.add(row.key + self._names[extension], end)

    def table(self) -> Any:
        """The shard's index."""
        columns = zip(*self._records, strict=True) if self._records else ((),) * len(_INDEX_COLUMNS)
        given: dict[str, Any] = dict(zip(_INDEX_COLUMNS, columns, strict=True))
        given["split"] = [self.split] * len(self._records)
        given["key"] = [key.decode() for key in given["key"]]
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
        """How many images do not have the size that the recipe expects."""
        side = self.settings.side
        return sum(record[_WIDTH : _WIDTH + 2] != (side, side) for record in self._records) if side else 0

    def image_digests(self) -> NDArray[np.uint64]:
        """XXH3-64 of each image; none in a dataset without images."""
        if not self._extension:
            return np.zeros(0, np.uint64)
        return self.buffer.placed.members[:: len(self.settings.members), 2].copy()


_INDEX_COLUMNS = ("key", "label", "cls", "width", "height", "format", "caption", "source")  # fmt: skip
_NO_IMAGE = (None, None, None)
_WIDTH = _INDEX_COLUMNS.index("width")
