"""The account of a source: every listed file is in exactly one class.

``samples``: a member of a sample; ``read``: a table or a list whose content is packed; ``skipped``: skipped with a reason;
``outside``: not part of the layout; ``hidden``: its name begins with a dot, or an archiver left it behind.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from wdstools.formats.arrow import each_once, kept, one_chunk, to_list, to_numpy, valid
from wdstools.results import Skip
from wdstools.sources.base import join_path, shown, side_paths
from wdstools.sources.ignoring import ignoring, is_ignored
from wdstools.sources.several import MORE_CAPTIONS, caption_files
from wdstools.sources.source_words import extension_of, is_image, is_paper, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from wdstools.sources.tree import Folder

#: The reason of a skip for a file with which nothing is wrong.
OUTSIDE = "outside-layout"


class Account:
    """Records, folder by folder, which files of a tree were used, and for what."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        #: The patterns given by the user that match some file.
        self.used: set[str] = set()
        self._left: dict[str, set[str]] = {}

    def take(self, folder: str, held: Folder, names: Iterable[str], kind: str) -> None:
        """Put files of a folder into a class; those already in one stay there."""
        left = self._left.get(folder)
        if left is None:
            left = self._left[folder] = set(held.files)
        before = len(left)
        left.difference_update(names)
        self.counts[kind] += before - len(left)
        if len(left) < before // 2:  # a set keeps its memory when it shrinks
            self._left[folder] = set(left)

    def left(self, folder: str, held: Folder) -> list[str]:
        """The files of a folder that are in no class yet."""
        left = self._left.get(folder)
        return held.files if left is None else [name for name in held.files if name in left] if left else []

    def close(
        self, folders: Iterable[tuple[str, Folder]], ignore: Collection[str] = (), known: Collection[str] = ()
    ) -> list[Skip]:
        """Classify the remaining files, once everything has been looked at; returns skips for them.

        ``ignore`` are the user's patterns: files that they match were not looked at. ``known`` are patterns of other files that
        are no loss if nothing used them.
        """
        outside: list[Skip] = []
        for folder, held in folders:
            self.counts["files"] += len(held.files)
            self.counts["hidden"] += held.hidden
            left = self._left.pop(folder, None)
            beside = _BesideImages(held)
            for name in held.files if left is None or ignore else sorted(left):
                path = join_path(folder, name)
                matching = ignoring(path, ignore)
                self.used.update(matching)
                if not matching and left is not None and name not in left:
                    continue
                if matching or is_ignored(path, known):
                    self.counts["ignored"] += 1
                    continue
                self.counts["outside"] += 1
                outside.append(Skip(OUTSIDE, shown(path), detail=kind_of(name) or beside.of(name)))
        return outside


class _BesideImages:
    """Finds files of unknown kind in a folder that are named like one of its images: they may belong to it."""

    def __init__(self, held: Folder) -> None:
        self._files = held.files
        self._images: set[str] | None = None

    def of(self, name: str) -> str | None:
        """The detail for a file, if any."""
        stem, dot, _ = name.rpartition(".")
        if not dot or is_paper(name):
            return None
        if self._images is None:
            self._images = {image.rpartition(".")[0] for image in filter(is_image, self._files)}
        return "named like an image" if stem in self._images else None


def counts_of(skips: Iterable[Skip]) -> dict[str, int]:
    """The number of skips by reason."""
    return dict(sorted(Counter(skip.reason for skip in skips).items()))


def count_losses(skips: Iterable[Skip]) -> int:
    """How many skips may be files that were meant to be packed."""
    return sum(map(is_loss, skips))


def is_loss(skip: Skip) -> bool:
    """Whether a skip may be a file that was meant to be packed: all except those outside the layout that are not images, texts, tables or the like."""
    return skip.reason != OUTSIDE or skip.detail is not None


def grouped(skips: Iterable[Skip]) -> list[tuple[str, str, int, tuple[str, ...]]]:
    """Files outside the layout, in groups by folder and extension, with count and first names; the largest group first."""
    groups: dict[tuple[str, str], list[str]] = {}
    totals: Counter[tuple[str, str]] = Counter()
    for skip in skips:
        if skip.reason != OUTSIDE:
            continue
        folder, _, name = skip.path.rpartition("/")
        place = (folder, extension_of(name))
        totals[place] += 1
        names = groups.setdefault(place, [])
        if len(names) < _FIRST_NAMES:
            names.append(name)
    return [(*place, count, tuple(groups[place])) for place, count in sorted(totals.items(), key=_most_first)]


_FIRST_NAMES = 3


def _most_first(entry: tuple[tuple[str, str], int]) -> tuple[int, tuple[str, str]]:
    return -entry[1], entry[0]


#: At least how many samples are counted at a time: numbers of a million files would take 50 MB.
_PART_ROWS = 1 << 16


def files_of(samples: pa.Table, without: Collection[str] = ()) -> int:
    """How many files some samples consist of, ``without`` those with some keys; a file shared by several samples counts once."""
    folders = [one_chunk(samples.column(f"{part}_dir")).dictionary for part in ("image", *_BESIDE)]
    rows = max(_PART_ROWS, *map(len, folders))  # each part has the names of all folders
    starts = range(0, samples.num_rows, rows)
    return files_of_parts(lambda: (samples.slice(start, rows) for start in starts), without)


def files_of_parts(parts: Callable[[], Iterable[pa.Table]], without: Collection[str] = ()) -> int:
    """The same for samples in parts, which are read repeatedly: only all of them together tell which files are shared."""
    pairs: dict[str, set[tuple[str | None, str | None]]] = {part: set() for part in _BESIDE}
    for samples in parts():
        for part in _BESIDE:
            pairs[part] |= _folder_pairs(samples, part, _rows(samples, without))
    several = {part: {of for of, n in Counter(of for of, _ in pairs[part]).items() if n > 1} for part in _BESIDE}
    shared: dict[str, set[str]] = {part: set() for part in _BESIDE}
    for samples in parts():
        for part in _BESIDE:
            elsewhere = _with_file(samples, part, _rows(samples, without)) & _of_several(samples, part, several[part])
            if elsewhere.any():
                shared[part] |= set(filter(None, side_paths(kept(samples, elsewhere), part)))
    own, everyone = 0, set[str]().union(*shared.values())
    for samples in parts():
        rows = _rows(samples, without)
        own += _own_files(samples, rows, several, shared)
        if MORE_CAPTIONS in samples.column_names:
            found = samples.column(MORE_CAPTIONS).to_pylist()
            everyone |= caption_files(
                [more for more, there in zip(found, rows.tolist(), strict=True) if there and more]
            )
    return own + len(everyone)


_BESIDE = ("caption", "json")


def _own_files(
    samples: pa.Table,
    rows: NDArray[np.bool_],
    several: Mapping[str, Collection[str | None]],
    shared: Mapping[str, Collection[str]],
) -> int:
    """How many files belong to one sample alone."""
    suffixes = one_chunk(samples.column("image_suffix"))
    some = [code for code, suffix in enumerate(to_list(suffixes.dictionary)) if suffix]
    codes = to_numpy(suffixes.indices, null=-1)
    own, apart = sum(int((rows & (codes == code)).sum()) for code in some), {}
    for part in _BESIDE:
        apart[part] = _with_file(samples, part, rows) & ~_of_several(samples, part, several[part])
        if shared[part]:
            # a document may belong to the image of its name and to an edited copy
            own -= sum(path in shared[part] for path in side_paths(kept(samples, apart[part]), part))
        own += int(apart[part].sum()) + _of_shards(samples, part, rows)
    own += _of_shards(samples, "cls", rows)
    for name in samples.column_names:
        if name.startswith(("path:", "entry:")):
            own += int((rows & valid(samples.column(name))).sum())
    return own - _twice(samples, apart["caption"] & apart["json"])


def _with_file(samples: pa.Table, part: str, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return rows & valid(samples.column(f"{part}_suffix"))


def _rows(samples: pa.Table, without: Collection[str]) -> NDArray[np.bool_]:
    """Which samples have a key that is not among ``without``."""
    if not without:
        return np.ones(samples.num_rows, bool)
    dropped = {key.encode() for key in without}
    return np.fromiter((key not in dropped for key in to_list(samples.column("key"))), bool, samples.num_rows)


def _twice(samples: pa.Table, rows: NDArray[np.bool_]) -> int:
    """How many of some samples have caption and metadata in one file, with the same folder and suffix."""
    if not rows.any():
        return 0
    number: dict[str, int] = {}
    same = rows
    for what in ("dir", "suffix"):
        caption, metadata = (_numbered(samples.column(f"{part}_{what}"), number) for part in ("caption", "json"))
        same = same & (caption == metadata) & (caption >= 0)
    return int(same.sum())


def _numbered(texts: pa.ChunkedArray, number: dict[str, int]) -> NDArray[np.int64]:
    """The number of each text, negative for null; a new text gets the next number."""
    texts = one_chunk(texts)
    numbers = [number.setdefault(text, len(number)) for text in to_list(texts.dictionary)]
    codes: NDArray[np.int64] = np.array([*numbers, -1], np.int64)[to_numpy(texts.indices, null=-1)]
    return codes


def _of_shards(samples: pa.Table, part: str, rows: NDArray[np.bool_]) -> int:
    """How many of some samples have a member in a shard, next to their image."""
    if f"{part}_entry" not in samples.column_names:
        return 0
    there = rows & valid(samples.column(f"{part}_entry"))
    if f"{part}_suffix" in samples.column_names:
        there &= ~valid(samples.column(f"{part}_suffix"))
    return int(there.sum())


def _folder_pairs(samples: pa.Table, part: str, rows: NDArray[np.bool_]) -> set[tuple[str | None, str | None]]:
    """Each folder of captions or metadata with each folder of images that it serves."""
    columns = [one_chunk(samples.column(name)) for name in (f"{part}_dir", "image_dir")]
    names = [[None, *to_list(column.dictionary)] for column in columns]
    codes = [to_numpy(column.indices, null=-1).astype(np.int64) + 1 for column in columns]
    pairs = each_once((codes[0] << _CODE_BITS | codes[1])[rows])
    mask = (1 << _CODE_BITS) - 1
    return {(names[0][one >> _CODE_BITS], names[1][one & mask]) for one in pairs.tolist()}


def _of_several(samples: pa.Table, part: str, folders: Collection[str | None]) -> NDArray[np.bool_]:
    """Which samples may share their caption or metadata with others: it has another stem, or its folder serves several folders."""
    column = one_chunk(samples.column(f"{part}_dir"))
    of = np.array([name in folders for name in [*to_list(column.dictionary), None]], bool)
    several: NDArray[np.bool_] = of[to_numpy(column.indices, null=-1)]
    if f"{part}_stem" in samples.column_names:
        several = several | valid(samples.column(f"{part}_stem"))
    return several


_CODE_BITS = 32


def account_of_pack(listed: Mapping[str, int], packed: int, called: str = "packed") -> dict[str, int]:
    """The account of a source after packing ``packed`` of its files; the other files listed as samples count as skipped."""
    rest = {name: count for name, count in listed.items() if name not in ("files", "samples", "skipped")}
    return {"files": listed["files"], called: packed, **rest, "skipped": listed["files"] - packed - sum(rest.values())}
