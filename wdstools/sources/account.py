"""The account of a source: every file that was listed is in exactly one class.

``samples``: a member of a sample; ``read``: a table or a list whose content is packed; ``skipped``: named with a reason;
``outside``: no part of the layout; ``hidden``: its name begins with a dot, or it is a leftover of an archiver.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from wdstools.formats.arrow import one_chunk, to_array, to_numpy
from wdstools.results import Skip
from wdstools.sources.base import join_path, shown, side_paths
from wdstools.sources.ignoring import ignoring, is_ignored
from wdstools.sources.several import MORE_CAPTIONS, caption_files
from wdstools.sources.words import extension_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import pyarrow as pa

    from wdstools.sources.tree import Folder

#: Why a file is on the list of skips though nothing is wrong with it.
OUTSIDE = "outside-layout"


class Account:
    """Notes, folder by folder, which files of a tree were used, and for what."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        #: The patterns that a person gave and that are about some file.
        self.used: set[str] = set()
        self._left: dict[str, set[str]] = {}

    def take(self, folder: str, held: Folder, names: Iterable[str], kind: str) -> None:
        """Files of a folder are of a class; those that were taken before stay what they are."""
        left = self._left.get(folder)
        if left is None:
            left = self._left[folder] = set(held.files)
        before = len(left)
        left.difference_update(names)
        self.counts[kind] += before - len(left)

    def is_left(self, folder: str, name: str) -> bool:
        """Whether nothing has taken a file of this folder, which must have been looked at."""
        left = self._left.get(folder)
        return left is None or name in left

    def close(
        self, folders: Iterable[tuple[str, Folder]], ignore: Collection[str] = (), known: Collection[str] = ()
    ) -> list[Skip]:
        """What nothing has taken, once everything was looked at.

        ``ignore`` are the patterns that a person gave: what they match was not looked at. ``known`` are patterns of what else is no
        loss where nothing has taken it.
        """
        outside: list[Skip] = []
        for folder, held in folders:
            self.counts["files"] += len(held.files)
            self.counts["hidden"] += held.hidden
            left = self._left.pop(folder, None)
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
                outside.append(Skip(OUTSIDE, shown(path), detail=kind_of(name) or None))
        return outside


def counts_to_tell(skips: Sequence[Skip]) -> dict[str, int]:
    """Skips by reason, without what lies outside the layout and is neither image, text, table nor anything like it."""
    return dict(sorted(Counter(skip.reason for skip in skips if is_loss(skip)).items()))


def is_loss(skip: Skip) -> bool:
    """Whether a skip may be something that was meant to be packed."""
    return skip.reason != OUTSIDE or skip.detail is not None


def grouped(skips: Iterable[Skip]) -> list[tuple[str, str, int, tuple[str, ...]]]:
    """What lies outside a layout: folder, extension, how many, and the first names; the most first."""
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


def files_of(samples: pa.Table, without: Sequence[str] = ()) -> int:
    """How many files some samples are made of, ``without`` those of some keys; one that several samples share counts once."""
    import pyarrow.compute as pc

    if without:
        keys = to_array([key.encode() for key in without], samples.schema.field("key").type)
        samples = samples.filter(pc.invert(pc.is_in(samples.column("key"), value_set=keys)))
    own, shared = _with_suffix(one_chunk(samples.column("image_suffix"))), set()
    apart = {}
    for part in ("caption", "json"):
        with_file = pc.is_valid(samples.column(f"{part}_suffix"))
        elsewhere = _of_several(samples, part)
        shared |= set(side_paths(samples.filter(pc.and_(with_file, elsewhere)), part))
        with_file = pc.and_(with_file, pc.invert(elsewhere))
        apart[part] = with_file
        own += pc.sum(with_file).as_py() or 0
        own += _of_shards(samples, part)
    own += _of_shards(samples, "cls")
    for name in samples.column_names:
        if name.startswith(("path:", "entry:")):
            own += samples.num_rows - samples.column(name).null_count
    if MORE_CAPTIONS in samples.column_names:
        shared |= caption_files(samples.column(MORE_CAPTIONS).drop_null().to_pylist())
    both = pc.and_(apart["caption"], apart["json"])
    rows = samples.filter(both)
    folders = (
        rows.column(name).cast("string") for name in ("caption_dir", "json_dir", "caption_suffix", "json_suffix")
    )
    captions, metas, caption_ends, meta_ends = folders
    one = pc.and_(pc.equal(captions, metas), pc.equal(caption_ends, meta_ends))
    return int(own - (pc.sum(one).as_py() or 0) + len(shared))


def _with_suffix(suffixes: pa.DictionaryArray) -> int:
    """How many of some suffixes are not empty; counted without a comparison of Arrow's, which imports pandas where it is."""
    some = [code for code, suffix in enumerate(suffixes.dictionary.to_pylist()) if suffix]
    return sum(to_numpy(suffixes.indices, null=-1).tolist().count(code) for code in some)


def _of_shards(samples: pa.Table, part: str) -> int:
    """How many samples have a member that a shard holds beside their image."""
    import pyarrow.compute as pc

    if f"{part}_entry" not in samples.column_names:
        return 0
    there = pc.is_valid(samples.column(f"{part}_entry"))
    if f"{part}_suffix" in samples.column_names:
        there = pc.and_(there, pc.is_null(samples.column(f"{part}_suffix")))
    return pc.sum(there).as_py() or 0


def _of_several(samples: pa.Table, part: str) -> pa.Array:
    """Whether a caption or metadata may be that of other samples too: under another stem, or in a folder of several folders' captions."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    folders, images = (one_chunk(samples.column(name)) for name in (f"{part}_dir", "image_dir"))
    codes = to_numpy(folders.indices, null=-1).astype(np.int64)
    pairs = np.unique(codes << _CODE_BITS | to_numpy(images.indices, null=0).astype(np.int64))
    used, times = np.unique(pairs >> _CODE_BITS, return_counts=True)
    several = to_array(np.isin(codes, used[times > 1]), pa.bool_())
    if f"{part}_stem" in samples.column_names:
        several = pc.or_(several, pc.is_valid(one_chunk(samples.column(f"{part}_stem"))))
    return several


_CODE_BITS = 32


def account_of_pack(listed: Mapping[str, int], packed: int, called: str = "packed") -> dict[str, int]:
    """The account of a source of whose files ``packed`` are; what was listed as samples and is none of these is skipped."""
    rest = {name: count for name, count in listed.items() if name not in ("files", "samples", "skipped")}
    return {"files": listed["files"], called: packed, **rest, "skipped": listed["files"] - packed - sum(rest.values())}
