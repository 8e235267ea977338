"""Makes batches: takes the bytes of samples, decodes them into the batch's arrays, and puts the pieces together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wdstools.errors import UsageError
from wdstools.images.check import DamagedImageError
from wdstools.reader.buffers import Buffers, Spare
from wdstools.reader.decode import Decoder, sizes_differ
from wdstools.reader.image import Pipeline
from wdstools.reader.members import UndecodedError, is_tensor
from wdstools.reader.payloads import DamagedSampleError
from wdstools.reader.transforms import CAPTION, SAMPLE, Draws, Function, as_array, as_image, as_row, check_alike
from wdstools.reader.values import Row, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from wdstools.reader.added import AddedFields
    from wdstools.reader.cursor import Cursor
    from wdstools.reader.payloads import Payloads
    from wdstools.reader.recipe import Recipe
    from wdstools.reader.rows import Extents, RowTable
    from wdstools.results import Finding

#: The fields of a sample, as a transform sees them, and their names in a batch.
_PLURAL = {"image": "images", "caption": "captions", "label": "labels", "key": "keys"}


@dataclass(slots=True)
class Chunk:
    """A few rows of a batch: the values of each field, except images that lie in the batch's array; ``findings`` are
    (row, damage).
    """  # noqa: D205

    keys: list[str]
    columns: dict[str, list[Any]] = field(default_factory=dict)
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    #: Its feed, and the places of its rows in the batch; None if they are consecutive.
    feed: int = 0
    places: list[int] | None = None

    @property
    def damaged(self) -> set[int]:
        """The rows that are damaged."""
        return {row for row, _ in self.findings}


class _Named:
    """Adds the sample's ``key`` to whatever is raised inside, so that the error of a transform names its sample."""

    __slots__ = ("key",)

    def __init__(self, key: str = "") -> None:
        self.key = key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            error.add_note(f"while reading sample {self.key}")


def _cut(data: Sequence[memoryview], places: tuple[list[int], list[int], list[int]]) -> Iterator[memoryview]:
    """One member of each row, as a view into the bytes of the row."""
    offsets, sizes, _ = places
    for row, offset, size in zip(data, offsets, sizes, strict=True):
        yield row[offset : offset + size]


class Maker:
    """Makes chunks of batches, in many threads. One instance serves one loader in one process."""

    def __init__(self, recipe: Recipe, cursor: Cursor, table: RowTable, spare: Spare | None = None) -> None:
        self.recipe = recipe
        self._spare = Spare() if spare is None else spare
        self._cursor = cursor
        self._table = table
        self._plan = recipe.plan(cursor.dataset.manifest.members)
        fit = None if recipe.image_size is None else recipe.fit
        own = bool(self._plan.images) and recipe.decode != "bytes" and self._plan.image_decoder is None
        self._decoder = Decoder(recipe.decode, fit) if own else None
        transform = recipe.image_transform
        self._steps = transform if own and isinstance(transform, Pipeline) else None
        self._size = recipe.image_size
        self._values = Values(recipe, self._plan, cursor.dataset.manifest.labels)
        self._checked: set[int] = set()
        self._buffers: Buffers | None = None
        #: Added columns of the dataset, if any are requested.
        self.added: AddedFields | None = None
        #: Whether a transform returns tensors, whose layout is kept as it is.
        self.tensors = False
        # whether all rows can be read in one go
        self._simple = (
            len(self._plan.images) == 1
            and len(self._plan.captions) <= 1
            and not (self._plan.extra or self._plan.several_captions or recipe.labels is not None or recipe.decoders)
            and recipe.renumbered is None
        )

    @property
    def channels(self) -> int:
        """Channels of an image that is decoded here; 0 if none is."""
        return 0 if self._decoder is None else self._decoder.channels

    @property
    def in_place(self) -> bool:
        """Whether images may be decoded straight into a batch's array."""
        return self._decoder is not None and self.recipe.fit != "list" and self.recipe.transform is None

    def place(self, payloads: Payloads, rows: NDArray[np.int64], size: tuple[int, int]) -> NDArray[Any] | None:
        """The array for the images of a batch; None if they are put together afterwards, or come as a list.

        ``rows`` are some of the batch's rows, ``size`` is how many it has, and how many a batch usually has. Raises UsageError
        (``image-sizes-differ``) if the index says that the images differ in size.
        """
        if self._decoder is None or self.recipe.fit == "list":
            return None
        if self._steps is None:
            if self._size is None:
                self._size = self._first_size(payloads, rows)
            if self.recipe.image_size is None:
                self._check_sizes()
        if self.recipe.transform is not None:
            return None
        count, usual = size
        if self._buffers is None:
            result = self._result_of(payloads, rows)
            if result is None:
                return None
            self._buffers = Buffers((usual, *result[0]), result[1], self.recipe.allocate, self._spare)
        if count > self._buffers.shape[0]:  # the number of ranks of the loader has changed
            shape = (usual, *self._buffers.shape[1:])
            self._buffers = Buffers(shape, self._buffers.dtype, self.recipe.allocate, self._spare)
        return self._buffers.lease()[:count]

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
        """The first of these images that can be decoded, decoded."""
        extents = self._table.extents(rows)
        finding: Finding | None = None
        for row in range(len(rows)):
            try:
                image = Row.taken(payloads, extents, row).image(self._plan.images)
                with _Named(extents.keys[row]):
                    return decode(image)
            except DamagedSampleError as damage:
                finding = damage.finding
            except DamagedImageError as damage:
                finding = self._not_decoded(payloads, extents, row, damage)
        assert finding is not None
        raise self._cursor.damage(finding)

    def _result_of(self, payloads: Payloads, rows: NDArray[np.int64]) -> tuple[tuple[int, ...], Any] | None:
        """Shape and dtype of one image of a batch; a transform decides them by its first result. None: a dtype unknown to numpy."""
        if self._steps is not None:
            return self._steps.shape(self.channels), self._steps.dtype
        assert self._size is not None
        transform = self.recipe.image_transform
        if transform is None:
            return (*self._size, self.channels), np.uint8
        draws = Draws(self._cursor.seed, self._cursor.epoch)
        result = self._first_whole(payloads, rows, lambda data: as_image(transform(self._decoded(data), draws.at(0))))
        self.tensors = is_tensor(result)
        array = as_array(result)
        return None if array is None else (array.shape, array.dtype)

    def _check_sizes(self) -> None:
        for shard, first, last in self._table.opened(self._checked):
            sides = self._table.sides(self._cursor.chosen_between(first, last))
            others = sides[(sides[:, ::-1] != self._size).any(axis=1) & (sides > 0).all(axis=1)]
            if len(others):
                assert self._size is not None
                raise sizes_differ(self._size[::-1], tuple(others[0].tolist()))
            self._checked.add(shard)

    def make(
        self,
        payloads: Payloads,
        rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        place: Sequence[NDArray[Any]] | NDArray[Any] | None,
        draws: Draws,
    ) -> Chunk:
        """Take and decode some rows; images are decoded into ``place`` if given, which has a place for each row."""
        extents = self._table.extents(rows)
        chunk = Chunk(extents.keys)
        images = self._take(payloads, extents, chunk, positions, draws)
        damaged = chunk.damaged
        decoded: list[Any] = []
        with _Named() as named:
            for row, (image, position) in enumerate(zip(images, positions.tolist(), strict=True)):
                named.key = extents.keys[row]
                pixels = None
                if image is not None and row not in damaged:
                    try:
                        pixels = self._decode(image, position, None if place is None else place[row], draws)
                    except DamagedImageError as damage:
                        chunk.findings.append((row, self._not_decoded(payloads, extents, row, damage)))
                    except UndecodedError as error:
                        chunk.findings.append((row, self._not_decoded(payloads, extents, row, error)))
                if place is None:
                    decoded.append(pixels)
            if self._plan.images and place is None:
                chunk.columns = {"images": decoded, **chunk.columns}
            if self.added is not None:
                chunk.columns |= self.added.take(rows)
            if self.recipe.transform is not None:
                self._transform(self.recipe.transform, chunk, positions.tolist(), draws, named)
        chunk.findings.sort(key=itemgetter(0))
        return chunk

    def _transform(self, transform: Function, chunk: Chunk, positions: list[int], draws: Draws, named: _Named) -> None:
        """Replace the chunk's fields with what a transform makes of each intact sample."""
        singular = {plural: name for name, plural in _PLURAL.items()}
        damaged, made = chunk.damaged, {}
        for row, position in enumerate(positions):
            if row in damaged:
                continue
            named.key = chunk.keys[row]
            sample = {singular.get(name, name): values[row] for name, values in chunk.columns.items()}
            sample["key"] = chunk.keys[row]
            fields = as_row(transform(sample, draws.at(position, SAMPLE)))
            fields.pop("key", None)
            made[row] = {_PLURAL.get(name, name): value for name, value in fields.items()}
        names = list(next(iter(made.values()), chunk.columns))
        for row, fields in made.items():
            if set(fields) != set(names):
                named.key = chunk.keys[row]
                raise UsageError(
                    "the transform returned samples with different fields",
                    code="transform-result",
                    where="transform",
                    expected=", ".join(names),
                    got=", ".join(fields),
                )
        chunk.columns = {name: [made.get(row, {}).get(name) for row in range(len(positions))] for name in names}

    def _take(
        self, payloads: Payloads, extents: Extents, chunk: Chunk, positions: NDArray[np.int64], draws: Draws
    ) -> Sequence[memoryview | None]:
        """The images of some rows, None where a sample is damaged; their other members go into the chunk."""
        images = self._take_at_once(payloads, extents, chunk) if self._simple else None
        return images if images is not None else self._take_each(payloads, extents, chunk, positions, draws)

    def _take_at_once(self, payloads: Payloads, extents: Extents, chunk: Chunk) -> list[memoryview] | None:
        """As ``_take``, at a third of the cost, if nothing is unusual; else None."""
        count, members = len(extents.keys), extents.members
        if any(min(sizes) < 0 for _, sizes, _ in members.values()):
            return None
        groups = payloads.whole(extents, 0, count, together=False)
        if groups is None:
            return None
        data = [memoryview(group) for group in groups]
        try:
            captions = [""] * count
            for name in self._plan.captions:
                captions = [str(text, "utf-8") for text in _cut(data, members[name])]
            labels = list(map(int, map(bytes, _cut(data, members["cls"])))) if self._plan.labels else [-1] * count
        except ValueError:
            return None
        columns: dict[str, list[Any]] = {"captions": captions, "labels": labels}
        chunk.columns = {name: columns[name] for name in self._values.names}
        return list(_cut(data, members[self._plan.images[0]]))

    def _take_each(
        self, payloads: Payloads, extents: Extents, chunk: Chunk, positions: NDArray[np.int64], draws: Draws
    ) -> list[memoryview | None]:
        """As ``_take``, row by row."""
        images: list[memoryview | None] = []
        columns: dict[str, list[Any]] = {name: [] for name in self._values.names}
        with _Named() as named:
            for number, position in enumerate(positions.tolist()):
                named.key = extents.keys[number]
                image, values = None, dict[str, Any]()
                try:
                    row = Row.taken(payloads, extents, number)
                    values = self._values.of(row, partial(draws.at, position, CAPTION))
                    if self._plan.images:
                        image = row.image(self._plan.images)
                except DamagedSampleError as damage:
                    chunk.findings.append((number, damage.finding))
                images.append(image)
                for name, column in columns.items():
                    column.append(values.get(name))
        chunk.columns = columns
        return images

    def _not_decoded(
        self, payloads: Payloads, extents: Extents, row: int, damage: DamagedImageError | UndecodedError
    ) -> Finding:
        member = next(image for image in self._plan.images if extents.members[image][1][row] >= 0)
        got = f"{damage.code}: {damage.detail}" if isinstance(damage, DamagedImageError) else damage.got
        return payloads.finding(extents, row, member, "image", "an image cannot be decoded", (None, got))

    def _decode(self, data: memoryview, position: int, place: NDArray[Any] | None, draws: Draws) -> Any:
        decoder, transform = self._decoder, self.recipe.image_transform
        if self._steps is not None:
            return self._through_steps(self._steps, data, position, place, draws)
        if place is not None and transform is None:
            assert decoder is not None
            return decoder.into(data, place)
        if self._plan.image_decoder is not None:
            pixels = self._plan.image_decoder(bytes(data))
        elif decoder is None:
            pixels = bytes(data)
        else:
            pixels = self._decoded(data)
        if transform is None:
            return pixels
        result = as_image(transform(pixels, draws.at(position)))
        if place is None:
            return result
        check_alike(result, place)
        place[...] = as_array(result)
        return None

    def _through_steps(
        self, steps: Pipeline, data: memoryview, position: int, place: NDArray[Any] | None, draws: Draws
    ) -> NDArray[Any] | None:
        decoder = self._decoder
        assert decoder is not None
        result = np.empty(steps.shape(decoder.channels), steps.dtype) if place is None else place
        if not steps.decode(data, decoder.colorspace, draws.at(position), result):
            steps.apply(decoder.alone(data), draws.at(position), result)
        return result if place is None else None

    def _decoded(self, data: memoryview) -> NDArray[np.uint8]:
        assert self._decoder is not None
        if self.recipe.fit == "list":
            return self._decoder.alone(data)
        assert self._size is not None
        pixels = np.empty((*self._size, self._decoder.channels), np.uint8)
        self._decoder.into(data, pixels)
        return pixels
