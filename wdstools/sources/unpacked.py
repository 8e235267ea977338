"""Compressed tars as a source: by way of plain ones in a scratch folder, for samples are packed in an order of their own."""

from __future__ import annotations

import os
import tempfile
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING

from wdstools.errors import FormatError
from wdstools.foreign.window import ENCODINGS, encoding_of
from wdstools.sources.readers import reading
from wdstools.sources.tarscan import damage_skip
from wdstools.stores.compressed import plain_blocks
from wdstools.stores.folders import make_folders, remove_tree, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.results import Skip
    from wdstools.sources.base import Listing, Source


class UnpackedSource:
    """A compressed tar (``.tar.gz``, ``.tar.zst``, ``.tar.bz2``, ``.tar.xz``), or a folder of shards among which there are such.

    Listing it unpacks into ``scratch``, a folder that must not exist, or else into a temporary folder; ``plain`` gives the
    source of what is there then. The folder goes with this object, or when Python ends.
    """

    def __init__(self, path: str, plain: Callable[[str], Source], scratch: str | None = None) -> None:
        self.path = path
        self._plain = plain
        self._scratch = scratch
        self._unpacked: str | None = None
        self._stored: dict[str, str] = {}
        self._skips: list[Skip] = []
        self._notes: list[str] = []

    def list(self) -> Listing:
        """Unpack, and list what is there then; of several shards those that are damaged are skipped.

        Raises StoreError (``disk-full``), and FormatError where nothing can be unpacked.
        """
        if self._unpacked is None:
            self._unpacked = self._unpack()
        listing = self._plain(self._unpacked).list()
        skips = (*self._skips, *(replace(s, path=self._stored.get(s.path, s.path)) for s in listing.skips))
        notes = (*self._notes, *listing.differences)
        return replace(listing, skips=skips, differences=notes)

    def _unpack(self) -> str:
        """Where everything is unpacked."""
        scratch = self._scratch
        tars = list(find_tars(self.path)) if os.path.isdir(self.path) else None
        with reading(scratch or tempfile.gettempdir()):
            if scratch is None:
                scratch = tempfile.mkdtemp(prefix="wdstools-")
            else:
                names = [os.path.basename(self.path)] if tars is None else tars
                with open(
                    f"{scratch}.names", "x", encoding="ascii"
                ) as note:  # whoever clears it must know what is ours
                    note.writelines(f"{plain_name(name)!a}\n" for name in names)
                os.mkdir(scratch)
        weakref.finalize(self, _remove, scratch, os.getpid())
        if tars is not None:
            self._unpack_all(tars, scratch)
            return scratch
        tar = os.path.join(scratch, plain_name(os.path.basename(self.path)))
        self._unpack_one(self.path, tar)
        return tar

    def _unpack_all(self, tars: Sequence[str], scratch: str) -> None:
        damage: list[FormatError] = []
        for tar in tars:
            self._stored[plain_name(tar)] = tar
            target = os.path.join(scratch, plain_name(tar))
            try:
                self._unpack_one(os.path.join(self.path, tar), target)
            except FormatError as error:
                os.unlink(target)
                damage.append(error)
                self._skips.append(damage_skip(tar, error))
                self._notes.append(f"{tar} is left out: {error.message}")
        if damage and len(damage) == len(tars):
            raise damage[0]

    def _unpack_one(self, path: str, target: str) -> None:
        """A plain tar at ``target``, as old as the compressed one; of one that is plain already a link."""
        with reading(target):
            make_folders(os.path.dirname(target))
            if not is_compressed(path):
                os.symlink(os.path.abspath(path), target)
                return

        def trailing(count: int) -> None:
            self._notes.append(
                f"{os.path.basename(path)}: {count:,} bytes follow the compressed data, and were not read"
            )

        with reading(path), open(path, "rb") as file:
            times = os.fstat(file.fileno())
            with reading(target), open(target, "xb") as out:
                out.writelines(plain_blocks(file, path, trailing))
        os.utime(target, ns=(times.st_atime_ns, times.st_mtime_ns))


def is_compressed(path: str) -> bool:
    """Whether a tar's name tells that it is compressed."""
    return encoding_of(path) not in (None, "tar")


def plain_name(path: str) -> str:
    """What a tar is called when it is unpacked."""
    suffix = next((suffix for suffix in ENCODINGS if path.endswith(suffix)), None)
    return path if suffix is None else f"{path.removesuffix(suffix)}.tar"


def find_tars(root: str) -> Iterator[str]:
    """The tars below a folder, compressed or not, in order; what is hidden (and so ``._x.tar``) is passed over."""
    for folder, folders, names in walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(folder, root)
        tars = sorted(name for name in names if encoding_of(name) and not name.startswith("."))
        yield from (name if below == "." else f"{below}/{name}" for name in tars)


def _remove(scratch: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a worker that was forked
        remove_tree(scratch, ignore_errors=True)
