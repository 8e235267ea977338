"""Makes batches: takes samples' bytes, decodes them into the batch's arrays, and puts the pieces together."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wdstools.errors import UsageError
from wdstools.images.check import TYPE_OF_EXTENSION, DamagedImageError
from wdstools.memory import page_aligned
from wdstools.reader.batch import Batch
from wdstools.reader.buffers import Buffers
from wdstools.reader.decode import FITS, Decoder, sizes_differ
from wdstools.reader.payloads import DamagedSampleError
from wdstools.results import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.reader.cursor import Course
    from wdstools.reader.payloads import Payloads
    from wdstools.reader.rows import Extents, RowTable

_MAX_SIDE = 65_500


@dataclass(frozen=True, slots=True)
class Decoding:
    """How images come: ``decode`` rgb, gray or bytes; ``image_size`` (height, width) or None for their common size."""

    decode: str = "rgb"
    image_size: tuple[int, int] | None = None
    fit: str = "stretch"
    transform: Callable[[NDArray[np.uint8], np.random.Generator], NDArray[Any]] | None = None
    allocate: Callable[[int], Any] = page_aligned

    def __post_init__(self) -> None:
        if self.decode not in ("rgb", "gray", "bytes"):
            raise UsageError("no such decoding", where="decode", expected="rgb, gray or bytes", got=str(self.decode))
        if self.fit not in FITS:
            raise UsageError("no such fit", where="fit", expected=", ".join(FITS), got=str(self.fit))
        if self.image_size is not None and not all(1 <= side <= _MAX_SIDE for side in self.image_size):
            raise UsageError("out of range", where="image_size", expected=f"1 to {_MAX_SIDE}", got=str(self.image_size))
        if self.decode == "bytes" and (self.image_size is not None or self.transform is not None):
            raise UsageError("bytes are not decoded", where="decode", expected="rgb or gray for images of a size")
        if self.fit == "list" and self.image_size is not None:
            raise UsageError("a list holds images of their own sizes", where="image_size", expected="none with a list")

    @property
    def is_list(self) -> bool:
        """Whether images come as a list."""
        return self.decode == "bytes" or self.fit == "list"

    def members(self, members: tuple[str, ...]) -> tuple[str, ...]:
        """Those of a dataset's members that a batch is made of; raises UsageError if there is no image."""
        images = tuple(member for member in members if member in TYPE_OF_EXTENSION)
        if not images:
            raise UsageError(
                "this dataset has no images", code="no-images", got=", ".join(members), hint="wdstools.stream reads it"
            )
        return images + tuple(member for member in ("txt", "cls") if member in members)


@dataclass(slots=True)
class Chunk:
    """A few rows of a batch. ``images`` if they come as a list; ``findings`` are (row, damage)."""

    keys: list[str]
    captions: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)
    findings: list[tuple[int, Finding]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Parts:
    image: memoryview
    caption: str
    label: int


class _Named:
    """Adds the sample's ``key`` to whatever is raised inside, so that a transform's error tells which sample it met."""

    __slots__ = ("key",)

    def __init__(self, key: str = "") -> None:
        self.key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"while reading sample {self.key}")


def _cut(data: Sequence[memoryview], places: tuple[list[int], list[int], list[int]]) -> Iterator[memoryview]:
    """One member of each row, as it lies in the row's bytes."""
    offsets, sizes, _ = places
    for row, offset, size in zip(data, offsets, sizes, strict=True):
        yield row[offset : offset + size]


class Maker:
    """Makes chunks of batches in many threads. One instance serves one loader in one process."""

    def __init__(self, decoding: Decoding, course: Course, table: RowTable) -> None:
        self._decoding = decoding
        self._course = course
        self._table = table
        self._images = tuple(member for member in table.members if member in TYPE_OF_EXTENSION)
        fit = None if decoding.image_size is None else decoding.fit
        self._decoder = None if decoding.decode == "bytes" else Decoder(decoding.decode, fit)
        self._size = decoding.image_size
        self._checked: set[int] = set()
        self._buffers: Buffers | None = None

    def place(self, payloads: Payloads, rows: NDArray[np.int64], batch_size: int) -> NDArray[Any] | None:
        """Where the images of a batch go; None if they come as a list.

        Raises UsageError (``image-sizes-differ``) if an index says that they do not have one size.
        """
        if self._decoding.is_list:
            return None
        if self._size is None:
            self._size = self._first_size(payloads, rows)
        if self._buffers is None:
            shape, dtype = self._result_of(payloads, rows)
            self._buffers = Buffers((batch_size, *shape), dtype, self._decoding.allocate)
        if self._decoding.image_size is None:
            self._check_sizes()
        return self._buffers.lease()[: len(rows)]

    def _first_size(self, payloads: Payloads, rows: NDArray[np.int64]) -> tuple[int, int]:
        width, height = self._table.sides(rows[:1])[0].tolist()
        if width > 0 and height > 0:
            return height, width
        assert self._decoder is not None
        size: tuple[int, int] = self._first_whole(payloads, rows, self._decoder.alone).shape[:2]
        return size

    def _first_whole(
        self, payloads: Payloads, rows: NDArray[np.int64], decode: Callable[[memoryview], NDArray[Any]]
    ) -> NDArray[Any]:
        """What the first of these images that is whole decodes to."""
        extents = self._table.extents(rows)
        finding: Finding | None = None
        for row in range(len(rows)):
            try:
                image = self._parts(payloads, extents, row).image
                with _Named(extents.keys[row]):
                    return decode(image)
            except DamagedSampleError as damage:
                finding = damage.finding
            except DamagedImageError as damage:
                finding = self._not_decoded(payloads, extents, row, damage)
        assert finding is not None
        raise self._course.damage(finding)

    def _result_of(self, payloads: Payloads, rows: NDArray[np.int64]) -> tuple[tuple[int, ...], Any]:
        """Shape and dtype of one image of a batch: a transform decides them, by its first result."""
        assert self._size is not None
        assert self._decoder is not None
        shape = (*self._size, self._decoder.channels)
        if self._decoding.transform is None:
            return shape, np.uint8
        transform = self._decoding.transform
        result = self._first_whole(
            payloads, rows, lambda data: np.asarray(transform(self._decoded(data), self._random(0)))
        )
        return result.shape, result.dtype

    def _check_sizes(self) -> None:
        for shard, first, last in self._table.opened(self._checked):
            sides = self._table.sides(self._course.chosen_between(first, last))
            others = sides[(sides[:, ::-1] != self._size).any(axis=1) & (sides > 0).all(axis=1)]
            if len(others):
                assert self._size is not None
                raise sizes_differ(self._size[::-1], tuple(others[0].tolist()))
            self._checked.add(shard)

    def make(
        self, payloads: Payloads, rows: NDArray[np.int64], positions: NDArray[np.int64], place: NDArray[Any] | None
    ) -> Chunk:
        """Take and decode some rows, into ``place`` if there is one."""
        extents = self._table.extents(rows)
        chunk = Chunk(extents.keys)
        images = self._take(payloads, extents, chunk)
        with _Named() as named:
            for row, (image, position) in enumerate(zip(images, positions.tolist(), strict=True)):
                named.key = extents.keys[row]
                decoded = None
                if image is not None:
                    try:
                        decoded = self._decode(image, position, None if place is None else place[row])
                    except DamagedImageError as damage:
                        chunk.findings.append((row, self._not_decoded(payloads, extents, row, damage)))
                if place is None:
                    chunk.images.append(decoded)
        chunk.findings.sort(key=itemgetter(0))
        return chunk

    def _take(self, payloads: Payloads, extents: Extents, chunk: Chunk) -> Sequence[memoryview | None]:
        """The images of some rows, None where a sample is damaged; the rest of them goes into the chunk."""
        images = self._take_at_once(payloads, extents, chunk)
        return images if images is not None else self._take_each(payloads, extents, chunk)

    def _take_at_once(self, payloads: Payloads, extents: Extents, chunk: Chunk) -> list[memoryview] | None:
        """As ``_take`` where nothing is unusual, which costs a third; else None."""
        count, members = len(extents.keys), extents.members
        groups = payloads.whole(extents, 0, count, together=False)
        if groups is None or len(self._images) > 1 or any(min(sizes) < 0 for _, sizes, _ in members.values()):
            return None
        data = [memoryview(group) for group in groups]
        try:
            captions = [str(text, "utf-8") for text in _cut(data, members["txt"])] if "txt" in members else [""] * count
            labels = list(map(int, map(bytes, _cut(data, members["cls"])))) if "cls" in members else [-1] * count
        except ValueError:
            return None
        chunk.captions, chunk.labels = captions, labels
        return list(_cut(data, members[self._images[0]]))

    def _take_each(self, payloads: Payloads, extents: Extents, chunk: Chunk) -> list[memoryview | None]:
        """As ``_take``, row by row."""
        images: list[memoryview | None] = []
        for row in range(len(extents.keys)):
            image, caption, label = None, "", -1
            try:
                parts = self._parts(payloads, extents, row)
                image, caption, label = parts.image, parts.caption, parts.label
            except DamagedSampleError as damage:
                chunk.findings.append((row, damage.finding))
            images.append(image)
            chunk.captions.append(caption)
            chunk.labels.append(label)
        return images

    def _parts(self, payloads: Payloads, extents: Extents, row: int) -> _Parts:
        """Image, caption and label of one row. Raises DamagedSampleError."""
        members = payloads.take(extents, row)
        caption, label = members.get("txt"), members.get("cls")
        text, number = "", -1
        if caption is not None:
            try:
                text = str(caption, "utf-8")
            except UnicodeDecodeError as error:
                raise self._no_text(payloads, extents, row, "txt", "UTF-8 text", error) from error
        if label is not None:
            try:
                number = int(bytes(label))
            except ValueError as error:
                raise self._no_text(payloads, extents, row, "cls", "a number", error) from error
        for extension in self._images:
            if extension in members:
                return _Parts(members[extension], text, number)
        path = self._table.entries[extents.shard[row]].path
        raise DamagedSampleError(
            Finding("missing", path, "a sample has no image", key=extents.keys[row], cause="image-missing")
        )

    def _no_text(
        self, payloads: Payloads, extents: Extents, row: int, member: str, expected: str, error: ValueError
    ) -> DamagedSampleError:
        message = f"a member is not {expected}"
        finding = payloads.finding(extents, row, member, "payload", message, (expected, str(error)))
        return DamagedSampleError(replace(finding, cause="member-not-text"))

    def _not_decoded(self, payloads: Payloads, extents: Extents, row: int, damage: DamagedImageError) -> Finding:
        member = next(image for image in self._images if extents.members[image][1][row] >= 0)
        return payloads.finding(
            extents, row, member, "image", "an image cannot be decoded", (None, f"{damage.code}: {damage.detail}")
        )

    def _decode(self, data: memoryview, position: int, place: NDArray[Any] | None) -> Any:
        decoder, transform = self._decoder, self._decoding.transform
        if decoder is None:
            return bytes(data)
        if place is not None and transform is None:
            return decoder.into(data, place)
        pixels = self._decoded(data)
        if transform is None:
            return pixels
        result = transform(pixels, self._random(position))
        if place is None:
            return result
        if np.shape(result) != place.shape:
            raise UsageError(
                "a transform's results are not all of one shape",
                code="transform-shape",
                expected=str(place.shape),
                got=str(np.shape(result)),
                hint='fit="list" takes results of any shape',
            )
        place[...] = result
        return None

    def _decoded(self, data: memoryview) -> NDArray[np.uint8]:
        assert self._decoder is not None
        if self._decoding.fit == "list":
            return self._decoder.alone(data)
        assert self._size is not None
        pixels = np.empty((*self._size, self._decoder.channels), np.uint8)
        self._decoder.into(data, pixels)
        return pixels

    def _random(self, position: int) -> np.random.Generator:
        """Random numbers of one sample: the same on any number of threads and ranks, and after a resume."""
        key = np.array([self._course.seed, self._course.epoch], np.uint64)
        return np.random.Generator(np.random.Philox(counter=np.array([0, 0, 0, position], np.uint64), key=key))


def assemble(chunks: Sequence[Chunk], place: NDArray[Any] | None, padding: int) -> tuple[Batch, list[Finding]]:
    """A batch of its chunks, and what was damaged: such rows repeat the batch's first whole one, or are empty."""
    keys = [key for chunk in chunks for key in chunk.keys]
    captions = [caption for chunk in chunks for caption in chunk.captions]
    labels = np.array([label for chunk in chunks for label in chunk.labels], np.int64)
    listed = [image for chunk in chunks for image in chunk.images]
    mask = np.ones(len(keys), np.bool_)
    mask[len(keys) - padding :] = False
    findings: dict[int, Finding] = {}
    first = 0
    for chunk in chunks:
        findings |= {first + row: finding for row, finding in chunk.findings}
        first += len(chunk.keys)
    damaged = tuple(keys[row] for row in findings if mask[row])
    whole = next((row for row in range(len(keys)) if row not in findings), None)
    for row in findings:
        mask[row] = False
        if whole is None:
            captions[row], labels[row] = "", -1
            if place is not None:
                place[row] = 0
        else:
            keys[row], captions[row], labels[row] = keys[whole], captions[whole], labels[whole]
            if place is None:
                listed[row] = listed[whole]
            else:
                place[row] = place[whole]
    batch = Batch(listed if place is None else place, captions, labels, keys, mask, damaged)
    return batch, [finding for row, finding in findings.items() if row < len(keys) - padding]
