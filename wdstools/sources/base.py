"""What every source provides: a listing of samples by name, and a way to read them in a worker process.

A listing of a million samples must stay small, so it is an Arrow table of dictionary-encoded parts, not a list of paths.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from wdstools.errors import NotFoundError
from wdstools.formats.arrow import coded, one_chunk, release_memory, to_array, to_list, to_numpy
from wdstools.sources.segments import Segments, mapped
from wdstools.sources.several import MORE_CAPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from wdstools.results import Skip

#: A listing of up to so many samples is held in memory; a larger one in an unnamed file, which is mapped.
MOST_HELD = 1 << 20

CAPTION_POLICIES = ("required", "optional", "none")
#: A longer file is skipped.
MAX_FILE_BYTES = 1 << 30

#: Parts that are the same for a whole folder of samples; null where a source has none.
_RUN_PARTS = (
    "split", "label", "id_dir", "image_dir", "caption_dir", "caption_suffix", "json_dir", "json_suffix",
)  # fmt: skip
#: Parts that differ from sample to sample, with their types. All but ``stem`` and ``image_suffix`` may be absent.
_OWN_PARTS = {
    "stem": pa.large_string(),
    "key": pa.large_string(),
    "image_suffix": pa.dictionary(pa.int32(), pa.string()),
    "caption": pa.large_string(),
    MORE_CAPTIONS: pa.large_string(),
    "caption_stem": pa.large_string(),
    "json_stem": pa.large_string(),
    "cls": pa.int32(),
    "json": pa.large_string(),
    "image_entry": pa.large_binary(),
    "caption_entry": pa.large_binary(),
    "json_entry": pa.large_binary(),
    "cls_entry": pa.large_binary(),
}
#: A further member (``mask.png``) in an archive, and in a folder: one column for each extension.
_MORE_PARTS = {"entry:": pa.large_binary(), "path:": pa.large_string()}


def entry_part(member: str) -> str:
    """The column with the archive entries of a further member."""
    return f"entry:{member}"


def path_part(member: str) -> str:
    """The column with the paths of a further member; null if it is in the image's archive, or missing."""
    return f"path:{member}"


def _kind_of_part(part: str) -> pa.DataType:
    kind = _OWN_PARTS.get(part)
    return _MORE_PARTS[part[: part.index(":") + 1]] if kind is None else kind


class NeedSpaceError(Exception):
    """The buffer given to ``read_into`` is too small; ``size`` bytes are needed."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class EmptySourceError(NotFoundError):
    """A source without a sample that can be packed; ``skips`` says what was found in it."""

    def __init__(self, message: str, *, skips: tuple[Skip, ...] = (), **parts: str) -> None:
        super().__init__(message, **parts)
        self.skips = skips


def first_skips(skips: Sequence[Skip]) -> str:
    """The first few skips in one line, each with file, reason and detail."""
    shown_first = [
        f"{skip.path}: {skip.reason}" + (f" ({skip.detail})" if skip.detail else "") for skip in skips[:_FIRST_SKIPS]
    ]
    more = [f"and {len(skips) - _FIRST_SKIPS:,} more"] if len(skips) > _FIRST_SKIPS else []
    return "; ".join([*shown_first, *more])


_FIRST_SKIPS = 3


class DamagedEntryError(Exception):
    """A file that cannot be read intact from its archive. ``code`` is a stable reason; ``detail`` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail


class SourceReader(Protocol):
    """Reads a source's files inside one worker."""

    def read_into(self, path: str, entry: bytes | None, view: memoryview) -> tuple[int, int]:
        """Read a file to the start of ``view``; returns its size in bytes and its modification time in ns.

        ``entry`` is what the listing has about the file besides its path. Raises NeedSpaceError if the view is too
        small, SourceChangedError when the file changed meanwhile, DamagedEntryError, or StoreError.
        """

    def stat(self, path: str, entry: bytes | None) -> tuple[int, int]:
        """Size in bytes and modification time in ns, as ``read_into`` returns them, without reading."""

    def close(self) -> None:
        """Close open files."""


@runtime_checkable
class ExpectsFiles(Protocol):
    """A reader of remote files, which can request several before they are needed."""

    def expect(self, files: Iterable[tuple[str, bytes | None]]) -> None:
        """Announce the path and entry of files to be read, in this order; some of them may be skipped."""


class SourceOpener(Protocol):
    """A small picklable value from which a worker makes a reader."""

    def open(self) -> SourceReader:
        """A reader for this source."""


class Source(Protocol):
    """A source that can be packed."""

    def list(self) -> Listing:
        """List the samples by name: no image or caption is opened."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The samples of a source, in no particular order, and what was found along the way.

    ``samples`` has the columns of ``SamplesBuilder``. ``label_in_key`` says whether the label is part of the key.
    ``template`` has the path templates of images and captions, from which original names can be restored. ``side`` is the
    side in pixels that the recipe expects of each image; 0 if none. ``members`` are those besides the image, in tar order. ``account`` counts
    the source's files by class; ``notes`` are for people. ``several`` says what happens to several captions of an image.
    ``caption_key`` is the name of the caption in JSON metadata, if it is not a usual one.
    ``split_in_key`` says whether keys begin with their split; None: only if two splits have the same names.
    """

    opener: SourceOpener
    samples: pa.Table
    labels: tuple[str, ...]
    captions: str
    label_in_key: bool
    recipe: str
    template: Mapping[str, str]
    name: str = ""
    version: int = 1
    members: tuple[str, ...] = ()
    image_types: Mapping[str, int] = field(default_factory=dict)
    skips: tuple[Skip, ...] = ()
    unmatched: Mapping[str, int] = field(default_factory=dict)
    differences: tuple[str, ...] = ()
    side: int = 0
    account: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    several: str = "all"
    split_in_key: bool | None = None
    caption_key: str | None = None


def other_members(listing: Listing) -> list[str]:
    """The members of a listing's samples besides the image, in order."""
    if listing.members:
        return list(listing.members)
    samples = listing.samples
    has_json = "json" in samples.column_names or samples.column("json_suffix").null_count < samples.num_rows
    has_json |= listing.several == "all" and MORE_CAPTIONS in samples.column_names
    found = ["txt"] if listing.captions != "none" else []
    return found + (["cls"] if listing.labels else []) + (["json"] if has_json else [])


class SamplesBuilder:
    """Collects samples folder by folder into one table.

    Columns: ``split``, ``label``, ``id_dir``, ``image_dir``, ``caption_dir``, ``caption_suffix``, ``json_dir``, ``json_suffix``,
    ``image_suffix`` (dictionaries of strings), ``stem``, ``caption_stem``, ``json_stem`` (null if equal to ``stem``), and, if a source has them, ``caption``, ``cls``, ``json`` (given inline),
    ``image_entry``, ``caption_entry``, ``json_entry``, ``cls_entry`` (the place of the file in an archive) and ``key``, which
    is otherwise made of the label and the id, ``id_dir/stem``. The image is ``image_dir/stem + image_suffix``, the caption ``caption_dir/caption_stem + caption_suffix``.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[int, tuple[str | None, ...]]] = []
        self._own: dict[str, list[pa.Array]] = {"stem": [], "image_suffix": []}
        self._count = 0
        self._held = 0
        self._segments: Segments | None = None

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, shared: Mapping[str, str | None], own: Mapping[str, Sequence[Any]]) -> None:
        """Add samples that share their folder parts. ``own`` maps parts to one value a sample."""
        count = len(own["stem"])
        if not count:
            return
        self._runs.append((count, tuple(shared.get(part) for part in _RUN_PARTS)))
        for part in {*self._own, *own}:
            kind = _kind_of_part(part)
            columns = self._own.setdefault(part, [pa.nulls(self._held, kind)] if self._held else [])
            columns.append(to_array(own[part], kind) if part in own else pa.nulls(count, kind))
        self._count += count
        self._held += count
        if self._held >= MOST_HELD:
            self._put_down()

    def table(self) -> pa.Table:
        """Everything added. Call it once: it empties the builder, as a copy of a million samples would not be small."""
        if self._segments is not None:
            return self._from_segments(self._segments)
        release_memory()  # the table needs memory in addition to its parts
        columns = _run_columns(self._runs, self._run_names())
        for part in sorted(self._own):  # in the same order in every process: a plan is known by these bytes
            chunks = pa.chunked_array(self._own.pop(part), _kind_of_part(part))
            columns[part] = one_chunk(chunks.unify_dictionaries())
            del chunks
            release_memory()
        return pa.table(columns)

    def _run_names(self) -> list[list[str]]:
        """For each part that the samples of a folder share, all names."""
        return [
            sorted({name for _, run in self._runs if (name := run[position]) is not None})
            for position in range(len(_RUN_PARTS))
        ]

    def _put_down(self) -> None:
        """Write the held parts to a file: with very many samples only the runs stay in memory."""
        columns = {part: pa.chunked_array(held, _kind_of_part(part)) for part, held in self._own.items()}
        self._segments = self._segments or Segments()
        self._segments.add(pa.table({part: one_chunk(of.unify_dictionaries()) for part, of in columns.items()}))
        self._own = {part: [] for part in self._own}
        self._held = 0

    def _from_segments(self, segments: Segments) -> pa.Table:
        if self._held:
            self._put_down()
        suffixes: set[str] = set()
        for number in range(len(segments)):
            suffixes |= set(to_list(one_chunk(segments.table(number).column("image_suffix")).dictionary))
        table = mapped(self._whole_tables(segments, sorted(suffixes)))
        segments.close()
        self._runs, self._segments = [], None
        return table

    def _whole_tables(self, segments: Segments, suffixes: list[str]) -> Iterator[pa.Table]:
        """Each segment with all columns, and the same dictionaries in all segments."""
        names, runs = self._run_names(), iter(self._runs)
        for number in range(len(segments)):
            table = segments.table(number)
            mine, left = [], table.num_rows
            while left:
                mine.append(next(runs))
                left -= mine[-1][0]
            columns = _run_columns(mine, names)
            for part in sorted(self._own):
                there = part in table.column_names
                columns[part] = one_chunk(table.column(part)) if there else pa.nulls(len(table), _kind_of_part(part))
            own = columns["image_suffix"]
            code = np.array([*(suffixes.index(name) for name in to_list(own.dictionary)), -1], np.int32)
            columns["image_suffix"] = coded(code[to_numpy(own.indices, null=-1)], suffixes)
            yield pa.table(columns)


def _run_columns(runs: list[tuple[int, tuple[str | None, ...]]], names: list[list[str]]) -> dict[str, pa.Array]:
    """The columns of some runs for the parts that the samples of a folder share."""
    columns: dict[str, pa.Array] = {}
    counts = [count for count, _ in runs]
    for position, part in enumerate(_RUN_PARTS):
        number: dict[str | None, int] = {name: code for code, name in enumerate(names[position])}
        number[None] = -1
        codes = np.array([number[run[position]] for _, run in runs], np.int32)
        columns[part] = coded(np.repeat(codes, counts), names[position])
    return columns


def text_columns(samples: pa.Table, names: Sequence[str]) -> list[list[Any]]:
    """Some columns of a samples table as Python lists; a missing column is all None."""
    found = samples.column_names
    return [to_list(samples.column(name)) if name in found else [None] * samples.num_rows for name in names]


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8; Python represents other bytes by lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str) -> str:
    """A file's name as text that can be stored: bytes that are not UTF-8 become hexadecimal escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def join_path(folder: str | None, name: str) -> str:
    """``folder/name``, or ``name`` if there is no folder."""
    return f"{folder}/{name}" if folder else name


def side_paths(samples: pa.Table, part: str) -> list[str | None]:
    """The path of each sample's ``caption`` or ``json`` file below the source's root; None if it has no file of its own."""
    names = (f"{part}_dir", "stem", f"{part}_stem", f"{part}_suffix")
    return [
        None if suffix is None else join_path(folder, (other or stem) + suffix)
        for folder, stem, other, suffix in zip(*text_columns(samples, names), strict=True)
    ]


def image_paths(samples: pa.Table) -> list[str]:
    """The path of each sample's image below the source's root."""
    columns = text_columns(samples, ("image_dir", "stem", "image_suffix"))
    return [join_path(folder, stem + suffix) for folder, stem, suffix in zip(*columns, strict=True)]
