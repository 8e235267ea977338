"""Compressed tars as a source: they are unpacked to plain tars in a scratch folder, as samples are packed in another order."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections import Counter
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import FormatError, UsageError, option
from wdstools.formats.tar_names import encoding_of, plain_name
from wdstools.sources.beside_tars import beside_tars
from wdstools.sources.ignoring import is_ignored
from wdstools.sources.readers import reading
from wdstools.sources.tarscan import damage_skip
from wdstools.stores.abilities import name_new
from wdstools.stores.compressed import plain_blocks
from wdstools.stores.folders import make_folders, remove_tree, walk
from wdstools.stores.local import open_plain, temporary_name
from wdstools.stores.receipts import ReceiptLog, logged, stamp, temporary_of
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wdstools.results import Skip
    from wdstools.sources.base import Listing, Source


class UnpackedSource:
    """A compressed tar (``.tar.gz``, ``.tar.zst``, ``.tar.bz2``, ``.tar.xz``), or a folder of shards some of which are compressed.

    Listing it unpacks into ``scratch``, a folder that must not exist, or else into a temporary folder; ``plain`` returns the
    source for the unpacked tars. The folder is removed with this object, or when Python ends.
    """

    def __init__(
        self, path: str, plain: Callable[[str], Source], scratch: str | None = None, ignore: Sequence[str] = ()
    ) -> None:
        self.path = path
        self._plain = plain
        self._scratch = scratch
        self._ignore = tuple(ignore)
        self._unpacked: str | None = None
        #: The source for the unpacked tars, once listed.
        self.inner: Source | None = None
        self._stored: dict[str, str] = {}
        self._skips: list[Skip] = []
        self._notes: list[str] = []

    def list(self) -> Listing:
        """Unpack, and list the result; of several shards, damaged ones are skipped.

        Raises StoreError (``disk-full``), FormatError if nothing can be unpacked, and UsageError (``names-collide``).
        """
        if self._unpacked is None:
            self._unpacked = self._unpack()
        self.inner = self._plain(self._unpacked)
        listing = self.inner.list()
        skips = (*self._skips, *(replace(s, path=self._stored.get(s.path, s.path)) for s in listing.skips))
        notes = (*self._notes, *listing.differences)
        account = Counter(listing.account)
        account.update({"files": len(self._skips), "skipped": len(self._skips)})
        listing = replace(listing, skips=skips, differences=notes, account=dict(account))
        return beside_tars(self.path, self._ignore).added_to(listing) if os.path.isdir(self.path) else listing

    def _unpack(self) -> str:
        """Unpack everything; returns the folder."""
        tars = None
        if os.path.isdir(self.path):
            tars = [tar for tar in find_tars(self.path) if not is_ignored(tar, self._ignore)]
            _refuse_one_name(self.path, tars)
        names = [os.path.basename(self.path)] if tars is None else tars
        with contextlib.ExitStack() as stack:
            with reading(self._scratch or tempfile.gettempdir()):
                place = Place(self, self._scratch, [plain_name(name) for name in names])
                stack.callback(place.close)
            if tars is not None:
                self._unpack_all(tars, place)
                return place.folder
            self._unpack_one(self.path, place, plain_name(names[0]))
            return place.locate(plain_name(names[0]))

    def _unpack_all(self, tars: Sequence[str], place: Place) -> None:
        damage: list[FormatError] = []
        for tar in tars:
            self._stored[plain_name(tar)] = tar
            try:
                self._unpack_one(os.path.join(self.path, tar), place, plain_name(tar))
            except FormatError as error:
                damage.append(error)
                self._skips.append(damage_skip(tar, error))
                self._notes.append(f"{tar} is left out: {error.message}")
        if damage and len(damage) == len(tars):
            raise damage[0]

    def _unpack_one(self, path: str, place: Place, name: str) -> None:
        """Make a plain tar called ``name`` with the compressed one's modification time; for a tar already plain, a link."""
        target = place.locate(name)
        with reading(target):
            make_folders(os.path.dirname(target))
        if encoding_of(path) == "tar":
            with place.making(name) as temporary, reading(target):
                os.symlink(os.path.abspath(path), temporary)
            return

        def trailing(count: int) -> None:
            self._notes.append(f"{os.path.basename(path)}: {counted(count, 'byte')} after the compressed data: ignored")

        with place.making(name) as temporary:
            with reading(path), open_plain(path) as file:
                times = os.fstat(file.fileno())
                with reading(target), open(temporary, "xb") as out:
                    out.writelines(plain_blocks(file, path, trailing))
            os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))


class Place:
    """Where tars are unpacked: ``scratch``, in which each leaves a receipt, or a temporary folder. It is removed with its owner."""

    def __init__(self, owner: UnpackedSource, scratch: str | None, names: Sequence[str]) -> None:
        self._log: ReceiptLog | None = None
        if scratch is None:
            self.folder = tempfile.mkdtemp(prefix="wdstools-")
            weakref.finalize(owner, _remove, self.folder, os.getpid())
            return
        self.folder = scratch
        # so that whoever clears it knows which files are ours
        with open(f"{scratch}.names", "x", encoding="ascii") as note:
            note.writelines(f"{name!a}\n" for name in names)
        os.mkdir(scratch)
        weakref.finalize(owner, _remove_ours, scratch, frozenset(names), os.getpid())
        self._log = ReceiptLog(os.path.dirname(scratch))

    def locate(self, name: str) -> str:
        """The path of a tar."""
        return os.path.join(self.folder, name)

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[str]:
        """A path at which to write a tar; it gets its name when the block ends, and is removed if the block raises."""
        temporary = temporary_name(self.locate(name))
        try:
            yield temporary
            with reading(self.locate(name)):
                self.name(temporary, name)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def name(self, temporary: str, name: str) -> None:
        """Give a finished tar its name, which must not exist yet; raises OSError."""
        if self._log is None:
            name_new(temporary, self.locate(name))
        else:
            self._log.name(temporary, self.locate(name), name)

    def close(self) -> None:
        """No more tars will be added."""
        if self._log is not None:
            self._log.close()


def find_tars(root: str) -> Iterator[str]:
    """The tars below a folder, compressed or not, in order; without hidden ones (such as ``._x.tar``) and anything not a plain file."""
    for folder, folders, names in walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(folder, root)
        tars = sorted(name for name in names if encoding_of(name) and name[0] != ".")
        plain = [name for name in tars if os.path.isfile(os.path.join(folder, name))]
        yield from (name if below == "." else f"{below}/{name}" for name in plain)


def _refuse_one_name(root: str, tars: Sequence[str]) -> None:
    """Raise UsageError for tars with the same name once unpacked: their samples could not be told apart."""
    first: dict[str, str] = {}
    for tar in tars:
        other = first.setdefault(plain_name(tar), tar)
        if other != tar:
            raise UsageError(
                "two tars would have the same name once unpacked",
                code="names-collide",
                where=root,
                got=f"{other} and {tar}",
                hint=f"rename one of them, or leave it out: {option('ignore', quote(tar))}",
            )


def _remove(scratch: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a worker that was forked
        remove_tree(scratch, ignore_errors=True)


def _remove_ours(scratch: str, names: frozenset[str], owner: int) -> None:
    """Remove the unpacked tars, and nothing else that lies there by now."""
    if os.getpid() != owner:
        return
    made = logged(os.path.dirname(scratch))
    for folder, folders, found in reversed(list(walk(scratch))):
        for path in (os.path.join(folder, name) for name in (*found, *folders)):
            below = os.path.relpath(path, scratch)
            with contextlib.suppress(OSError):
                if stamp(os.lstat(path)) in made.get(below, ()) or temporary_of(below) in names:
                    os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(folder)
