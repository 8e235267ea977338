"""Trees of files: a folder, or a zip or tar of one that is never extracted.

A tree lists one folder at a time, and opens a reader in each worker. The place of a file travels as an opaque ``entry``.
"""

from __future__ import annotations

import errno
import os
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Protocol, overload

from wdstools.formats.tarextension import SPARSE_ADVICE
from wdstools.formats.tarhop import HopNotes
from wdstools.results import Skip
from wdstools.sources.base import SourceOpener, join_path, shown
from wdstools.sources.readers import ENTRY_BYTES, ArchiveOpener, FolderOpener, reading, tar_entry, zip_entry
from wdstools.sources.source_words import cloud_name
from wdstools.sources.tarscan import scan_tar, told_of
from wdstools.sources.zipscan import scan_zip
from wdstools.stores.folders import files_below
from wdstools.stores.local import storage_error

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_NAME = 4096
#: The longest path that Linux can open, including the terminating NUL.
_MAX_PATH_BYTES = 4096
_MAX_PART_BYTES = 255
_MAX_DEPTH = 64
_NAMES_AT_HAND = 300_000
#: Whether the last part of a member's name says nothing of folders (zips of Windows have backslashes) and is not hidden.
_is_plain_name = re.compile(r"[^._\\][^\\]*").fullmatch


@dataclass(slots=True)
class Folder:
    """One folder: the names in it, sorted; ``entries`` of files in archives; ``hidden`` counts hidden files."""

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    entries: Sequence[bytes] | None = None
    hidden: int = 0

    def placed(self) -> Iterable[tuple[str, bytes | None]]:
        """The files, each with its entry in an archive; None outside archives."""
        return zip(self.files, repeat(None) if self.entries is None else self.entries, strict=False)

    def entry(self, name: str) -> bytes | None:
        """The entry of a file of this folder in an archive; None outside archives. Raises KeyError if there is no such file."""
        if self.entries is None:
            return None
        at = bisect_left(self.files, name)
        if at == len(self.files) or self.files[at] != name:
            raise KeyError(name)
        return self.entries[at]


class Tree(Protocol):
    """Files in folders, by names relative to the root; the root is ""."""

    @property
    def skips(self) -> list[Skip]:
        """Existing files that cannot be read, as far as found."""

    @property
    def notes(self) -> list[str]:
        """Notes about how names were read."""

    @property
    def opener(self) -> SourceOpener:
        """Opens readers for this tree's files in a worker."""

    def list(self, folder: str) -> Folder | None:
        """The contents of a folder; None if there is no such folder."""

    def close(self) -> None:
        """Forget the files: two million in an archive take a hundred megabytes."""


class FolderTree:
    """A folder on disk. Links inside it are followed; a folder that contains itself is listed once.

    A link that leads out of the folder is followed only with ``follow_links``: otherwise whoever made the folder could name any file
    on this machine.
    """

    def __init__(self, path: str, *, follow_links: bool = False) -> None:
        self.path = path
        self.skips: list[Skip] = []
        self.notes: list[str] = []
        self._follow = follow_links
        self._root = os.path.realpath(path)
        self._seen: dict[tuple[int, int], str] = {}
        self._told: set[str] = set()
        #: Folders are listed by several passes: these are cached, as many as their names leave room for.
        self._at_hand: dict[str, Folder] = {}
        self._room = _NAMES_AT_HAND
        self._below: dict[str, int] = {}

    @property
    def opener(self) -> SourceOpener:
        """Opens files below the root."""
        return FolderOpener(self.path)

    def list(self, folder: str) -> Folder | None:
        """One scandir; only links are stat'ed."""
        if folder in self._at_hand:
            return self._at_hand[folder]
        found = self._scan(folder)
        if found is not None and len(found.files) <= self._room:
            self._room -= len(found.files)
            self._at_hand[folder] = found
        return found

    def _scan(self, folder: str) -> Folder | None:
        path = os.path.join(self.path, folder)
        found = Folder()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name[0] == ".":
                        self._hidden(entry, folder, found)
                    elif entry.is_file(follow_symlinks=False):  # nearly all entries: the fast path
                        found.files.append(name)
                    else:
                        self._add_other(entry, folder, found)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                self._skip(folder, "path-too-long", f"a path may have {_MAX_PATH_BYTES - 1:,} bytes")
                return None
            raise storage_error(error, path) from None
        if len(os.fsencode(folder)) >= _MAX_PATH_BYTES - _MAX_PART_BYTES - 2:
            self._leave_out_long(folder, found)
        found.files.sort()
        found.folders.sort()
        return found

    def close(self) -> None:
        """Forget the folders."""
        self._at_hand.clear()

    def _hidden(self, entry: os.DirEntry[str], folder: str, found: Folder) -> None:
        stands_for = cloud_name(entry.name)
        if stands_for is None and entry.is_dir(follow_symlinks=False):
            path = join_path(folder, entry.name)
            if path not in self._below:  # a folder may be listed more than once
                self._below[path] = files_below(entry.path)
            found.hidden += self._below[path]
        elif stands_for is None:
            found.hidden += 1
        else:
            detail = "only a placeholder: the file is in the cloud; have the drive download it"
            self._skip(join_path(folder, stands_for), "cloud-placeholder", detail)

    def _leave_out_long(self, folder: str, found: Folder) -> None:
        """Skip files with too long a path: a reader opens files by their path below the root, which the system limits."""
        for name in [n for n in found.files if len(os.fsencode(join_path(folder, n))) >= _MAX_PATH_BYTES]:
            found.files.remove(name)
            self._skip(join_path(folder, name), "path-too-long", f"a path may have {_MAX_PATH_BYTES - 1:,} bytes")

    def _add_other(self, entry: os.DirEntry[str], folder: str, found: Folder) -> None:
        """Add a folder, a link, or something odd."""
        is_link = entry.is_symlink()
        path = join_path(folder, entry.name)
        if is_link and not os.path.exists(entry.path):
            self._skip(path, *_broken(entry.path))
        elif is_link and not self._follow and not self._inside(entry.path):
            detail = "a link that leads out of the source; --follow-links takes what it leads to"
            self._skip(path, "link-outside", detail)
        elif entry.is_file():
            found.files.append(entry.name)
        elif not entry.is_dir():
            self._skip(path, "not-a-file", "a pipe, a device or a socket")
        elif not is_link or self._first_visit(entry, folder):
            found.folders.append(entry.name)

    def _inside(self, path: str) -> bool:
        target = os.path.realpath(path)
        return target == self._root or target.startswith(self._root.rstrip("/") + "/")

    def _skip(self, path: str, reason: str, detail: str) -> None:
        if path not in self._told:  # a folder may be listed more than once
            self._told.add(path)
            self.skips.append(Skip(reason, shown(path), detail=detail))

    def _first_visit(self, entry: os.DirEntry[str], folder: str) -> bool:
        target = os.path.realpath(entry.path)
        inside = os.path.realpath(os.path.join(self.path, folder))
        if os.path.commonpath((target, inside)) == target:
            return False  # a link to a folder above: a loop
        status = entry.stat()
        return self._seen.setdefault((status.st_dev, status.st_ino), entry.path) == entry.path


def _broken(path: str) -> tuple[str, str]:
    """The reason and detail for a link that leads nowhere."""
    if "/annex/objects/" in os.readlink(path):
        return "file-not-fetched", "git-annex has not fetched it: `git annex get` the folder first"
    return "link-broken", "a symbolic link that leads nowhere"


class ArchiveTree:
    """Folders made from an archive's list of members; names that lead outside are not listed.

    Names and entries are kept as bytes, not as objects, so that two million members take a hundred megabytes.
    """

    #: Whether files are found by their entries, and so may have any names; otherwise by their names.
    by_entry = True

    def __init__(self, path: str) -> None:
        self.path = path
        self.skips: list[Skip] = []
        self.notes: list[str] = []
        self._folders: dict[str, _PackedFolder] = {"": _PackedFolder()}
        #: Folders that have a member, by the beginning of its name, if that is the folder's path as it stands.
        self._plain: dict[str, _PackedFolder] = {}
        self._absolute = 0

    @property
    def opener(self) -> SourceOpener:
        """Opens members by their entry."""
        return ArchiveOpener(self.path)

    def list(self, folder: str) -> Folder | None:
        """The contents of a folder of the archive."""
        packed = self._folders.get(folder)
        return packed.unpack() if packed else None

    def close(self) -> None:
        """Forget the list of members."""
        self._folders.clear()
        self._plain.clear()

    def _add(self, name: str, entry: bytes) -> None:
        above, _, base = name.rpartition("/")
        plain = self._plain.get(above)
        if plain is not None and name[:1] != "/" and len(name) <= _MAX_NAME and _is_plain_name(base):
            plain.add(base, entry)  # nearly all members: the fast path
            return
        parts = self._parts(name)
        if parts is not None:
            folder = self._folder("/".join(parts[:-1]))
            folder.add(parts[-1], entry)
            if "/".join(parts) == name:
                self._plain[above] = folder

    def _parts(self, name: str) -> Sequence[str] | None:
        """The parts of a member's path; None if it is hidden, or skipped as unsafe."""
        parts = self._path_of(name)
        if not self.by_entry and "/".join(parts) != name:
            parts = []  # another name would be another object
        self._absolute += name[:1] == "/"
        if len(name) > _MAX_NAME or len(parts) > _MAX_DEPTH or not parts or ".." in parts:
            self.skips.append(
                Skip("name-unsafe", shown(name[:_MAX_NAME]), detail="not a plain path below the archive's root")
            )
            return None
        if any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX":
            self._folders[""].hidden += 1
            return None
        return parts

    def _path_of(self, name: str) -> Sequence[str]:
        """The folders and the file in a name or in the target of a link."""
        return [part for part in name.split("/") if part not in ("", ".")]

    def _tell(self) -> None:
        """Report problems with names, once all are known."""
        for folder, held in self._folders.items():
            for name in held.repeated():
                detail = "the last member of this name was taken, as tar and unzip do"
                self.skips.append(Skip("member-duplicate", shown(join_path(folder, name)), detail=detail))
        if self._absolute:
            self.notes.append(f"{self._absolute:,} names begin with a slash, which was removed, as tar and unzip do")

    def _folder(self, name: str) -> _PackedFolder:
        folder = self._folders.get(name)
        if folder is None:
            folder = self._folders[name] = _PackedFolder()
            above, _, base = name.rpartition("/")
            self._folder(above).folders.append(base)
        return folder


class _PackedEntries(Sequence[bytes]):
    """The entries of a folder's files, cut out when they are asked for: as objects they take six times the memory."""

    def __init__(self, packed: bytearray, order: array[int]) -> None:
        self._packed = packed
        self._order = order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> list[bytes]: ...
    def __getitem__(self, at: int | slice) -> bytes | list[bytes]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        start = self._order[at] * ENTRY_BYTES
        return bytes(self._packed[start : start + ENTRY_BYTES])


class _PackedFolder:
    """A folder of an archive: concatenated names and concatenated entries."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self.hidden = 0
        self._names = bytearray()
        self._entries = bytearray()

    def add(self, name: str, entry: bytes) -> None:
        """Add a file."""
        self._names += name.encode("utf-8", "surrogateescape") + b"/"
        self._entries += entry

    def repeated(self) -> list[str]:
        """The repeated names, once for each repetition."""
        names = bytes(self._names).split(b"/")[:-1]
        if len(set(names)) == len(names):
            return []
        counts = Counter(names)
        return [name.decode("utf-8", "surrogateescape") for name in sorted(counts) for _ in range(counts[name] - 1)]

    def unpack(self) -> Folder:
        """The folder as listed; of a repeated name the last one counts, as for unzip and tar."""
        names = self._names.decode("utf-8", "surrogateescape").split("/")[:-1]
        last = {name: at for at, name in enumerate(names)}
        files = sorted(last)
        order = array("I", map(last.__getitem__, files))
        return Folder(sorted(self.folders), files, _PackedEntries(self._entries, order), self.hidden)


class TarTree(ArchiveTree):
    """A plain tar of a folder, read in place."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        links: dict[str, list[tuple[str, str]]] = {}  # folder of the target -> name of the link, name of the target
        notes = HopNotes()
        for member in scan_tar(path, notes):
            if member.is_file:
                self._add(member.name, tar_entry(member.offset, member.size))
            elif member.kind == "hard link":
                folder, _, base = "/".join(self._path_of(member.target)).rpartition("/")
                links.setdefault(folder, []).append((member.name, base))
            elif member.kind == "sparse file":
                self.skips.append(Skip("member-sparse", shown(member.name), detail=SPARSE_ADVICE))
            elif member.kind not in ("folder", "label"):
                self.skips.append(Skip("not-a-file", shown(member.name), detail=f"a {member.kind} in a tar"))
        self.notes += told_of(notes, os.path.basename(path))
        for folder, names in links.items():
            held = self.list(folder) or Folder()
            entries = dict(zip(held.files, held.entries or (), strict=True))
            for name, target in names:
                if target in entries:
                    self._add(name, entries[target])
                else:
                    self.skips.append(Skip("not-a-file", shown(name), detail="a hard link to a file that is not there"))
        self._tell()


class ZipTree(ArchiveTree):
    """A zip of a folder, read in place. ``name_encoding`` is the encoding of names that are neither marked as UTF-8 nor valid UTF-8."""

    def __init__(self, path: str, name_encoding: str | None = None) -> None:
        super().__init__(path)
        guessed = 0
        with reading(path):
            for member in scan_zip(path, name_encoding):
                if member.is_link:
                    self.skips.append(Skip("not-a-file", shown(member.name), detail="a symbolic link in a zip"))
                elif not member.name.endswith(("\\", "/")):
                    entry = zip_entry(member.offset, member.stored, member.size, member.method, member.crc)
                    self._add(member.name, entry)
                    guessed += member.guessed
        self._tell()
        if guessed:
            read_as = f"were read as {name_encoding}" if name_encoding else "were read as code page 437"
            hint = "" if name_encoding else "; give their encoding with --name-encoding, such as shift_jis or gbk"
            self.notes.append(f"{guessed:,} names in the zip are not UTF-8 and {read_as}{hint}")

    def _path_of(self, name: str) -> Sequence[str]:
        """See ArchiveTree; splits at backslashes too, as unzip does and tar does not: tools on Windows write them, some mixed with slashes."""
        return super()._path_of(name.replace("\\", "/"))
