"""Files next to the tars of a folder of shards: they belong to no sample, and are reported."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.tar_names import encoding_of, tar_stem
from wdstools.results import Skip
from wdstools.sources.account import OUTSIDE
from wdstools.sources.base import join_path, shown
from wdstools.sources.ignoring import ignoring, unused
from wdstools.sources.source_words import extension_of, kind_of
from wdstools.stores.folders import files_below, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from wdstools.sources.base import Listing


@dataclass(slots=True)
class BesideTars:
    """Files next to tars: their number by class, and skips for those outside the layout."""

    counts: Counter[str] = field(default_factory=Counter)
    skips: list[Skip] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def added_to(self, listing: Listing) -> Listing:
        """A listing of the tars' samples, with these files added."""
        account = Counter(listing.account)
        account.update(self.counts)
        return replace(
            listing,
            account={name: account[name] for name in listing.account},
            skips=(*listing.skips, *self.skips),
            notes=(*listing.notes, *self.notes),
        )


def beside_tars(root: str, ignore: Sequence[str] = ()) -> BesideTars:
    """Look at a folder of tars.

    A file named after a tar (``00000.parquet`` and ``00000_stats.json`` next to ``00000.tar``) describes it, and files next to the
    tars of a dataset belong to the dataset: neither is a loss.
    """
    own = os.path.exists(os.path.join(root, MANIFEST_PATH))
    return beside_walked(_walked(root), ignore, own=own, is_file=lambda path: os.path.isfile(os.path.join(root, path)))


def _walked(root: str) -> Iterator[tuple[str, list[str], int]]:
    """Each folder below a root: its path, the names of its files, and the number of files in its hidden folders."""
    for folder, folders, names in walk(root):
        hidden = sum(files_below(os.path.join(folder, name)) for name in folders if name.startswith("."))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(folder, root)
        yield "" if below == "." else below, names, hidden


def beside_walked(
    folders: Iterable[tuple[str, list[str], int]], ignore: Sequence[str], *, own: bool, is_file: Callable[[str], bool]
) -> BesideTars:
    """The same for listed folders, each with its path, names and number of hidden files; ``own``: of a wdstools dataset."""
    found = BesideTars()
    describing: Counter[str] = Counter()
    used: set[str] = set()
    for below, names, hidden in folders:
        found.counts["hidden"] += hidden + sum(name.startswith(".") for name in names)
        stems = {tar_stem(name) for name in names if encoding_of(name)}
        for name in sorted(names):
            path = join_path(below, name)
            if name.startswith("."):
                continue
            matching = ignoring(path, ignore)
            used.update(matching)
            if encoding_of(name) and is_file(path):
                found.counts["ignored"] += bool(matching)
            elif encoding_of(name) and not matching:
                found.counts["skipped"] += 1
                found.skips.append(
                    Skip("not-a-file", shown(path), detail="a pipe, a device, a socket or a broken link")
                )
            elif own or matching:
                found.counts["ignored"] += 1
            elif _describes(name, stems):
                found.counts["ignored"] += 1
                describing[extension_of(name)] += 1
            else:
                found.counts["outside"] += 1
                found.skips.append(Skip(OUTSIDE, shown(path), detail=kind_of(name) or None))
    found.counts["files"] = found.counts.total()
    if describing:
        kinds = ", ".join(f"{count:,} .{end}" for end, count in sorted(describing.items()))
        found.notes = (f"files that are named after tars and describe them are not packed: {kinds}",)
    found.notes += tuple(unused(ignore, used))
    return found


def _describes(name: str, stems: set[str]) -> bool:
    """Whether a file is named after a tar next to it: ``x.json``, ``x.tar.idx`` or ``x_stats.json`` for ``x.tar``."""
    dots = (at for at, letter in enumerate(name) if letter == ".")
    return any(name[:dot] in stems or name[:dot].removesuffix("_stats") in stems for dot in dots)
