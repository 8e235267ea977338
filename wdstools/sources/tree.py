"""Trees of files: a folder, or a zip or tar of one that is never extracted.

A tree lists one folder at a time, and opens a reader in each worker. Whatever an archive says about where a file
lies travels as an opaque ``entry``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Protocol

from wdstools.errors import NotFoundError, UsageError
from wdstools.results import Skip
from wdstools.sources.base import SourceOpener, join_path, shown
from wdstools.sources.readers import ENTRY_BYTES, ArchiveOpener, FolderOpener, reading, tar_entry, zip_entry
from wdstools.sources.tarscan import scan_tar
from wdstools.sources.zipscan import scan_zip
from wdstools.stores.local import storage_error

_MAX_NAME = 4096
_MAX_DEPTH = 64
_OTHER_COMPRESSION = {b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(slots=True)
class Folder:
    """One folder of a tree: names of its subfolders and files, sorted; ``entries`` beside the files in archives."""

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    entries: list[bytes] | None = None


class Tree(Protocol):
    """Files in folders, by names relative to the root; the root is ""."""

    #: Files that are there but cannot be had, found so far.
    skips: list[Skip]

    @property
    def opener(self) -> SourceOpener:
        """How a worker reads this tree's files."""

    def list(self, folder: str) -> Folder | None:
        """What a folder holds; None if there is no such folder."""

    def close(self) -> None:
        """Let go of what is known of the files: of two million in an archive that is a hundred megabytes."""


def open_tree(path: str) -> Tree:
    """The tree at a path: a folder, a .zip or a .tar."""
    if os.path.isdir(path):
        return FolderTree(path)
    if not os.path.exists(path):
        raise NotFoundError("no such file or folder", where=path)
    with reading(path), open(path, "rb") as file:
        head = file.read(262)
    if head[:2] == b"PK":
        return ZipTree(path)
    if head[257:262] == b"ustar":
        return TarTree(path)
    tool = next((tool for magic, tool in _OTHER_COMPRESSION.items() if head.startswith(magic)), None)
    if tool is not None:
        hint = f"{tool} -dk {path}    then give what it makes; .tar.gz and .tar.zst are read as they are"
        raise UsageError("compressed in a way that is not read here", code="source-unknown", where=path, hint=hint)
    raise UsageError(
        "not a folder, a zip or a tar",
        code="source-unknown",
        where=path,
        hint="give a folder of images, a .zip, .tar, .tar.gz or .tar.zst of one, a .csv, .jsonl or .parquet table, or a folder of shards",
    )


class FolderTree:
    """A folder on disk. Links are followed; a folder that contains itself is listed once."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.skips: list[Skip] = []
        self._seen: dict[tuple[int, int], str] = {}

    @property
    def opener(self) -> SourceOpener:
        """Opens files below the root."""
        return FolderOpener(self.path)

    def list(self, folder: str) -> Folder | None:
        """One scandir; nothing is stat'ed but links."""
        path = os.path.join(self.path, folder)
        found = Folder()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name[0] == ".":
                        continue
                    if entry.is_file(follow_symlinks=False):  # nearly all of them: keep their way short
                        found.files.append(name)
                    else:
                        self._add_other(entry, folder, found)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(error, path) from error
        found.files.sort()
        found.folders.sort()
        return found

    def close(self) -> None:
        """Nothing is kept."""

    def _add_other(self, entry: os.DirEntry[str], folder: str, found: Folder) -> None:
        """A folder, a link, or something odd."""
        is_link = entry.is_symlink()
        if is_link and not os.path.exists(entry.path):
            self._skip_link(join_path(folder, entry.name))
        elif not entry.is_dir():
            found.files.append(entry.name)
        elif not is_link or self._first_visit(entry, folder):
            found.folders.append(entry.name)

    def _skip_link(self, path: str) -> None:
        skip = Skip("link-broken", shown(path), detail="a symbolic link that leads nowhere")
        if skip not in self.skips:  # a folder may be listed more than once
            self.skips.append(skip)

    def _first_visit(self, entry: os.DirEntry[str], folder: str) -> bool:
        target = os.path.realpath(entry.path)
        inside = os.path.realpath(os.path.join(self.path, folder))
        if os.path.commonpath((target, inside)) == target:
            return False  # a link to a folder above: a loop
        status = entry.stat()
        return self._seen.setdefault((status.st_dev, status.st_ino), entry.path) == entry.path


class _ArchiveTree:
    """Folders made from an archive's list of members; names that lead outside are not listed.

    Names and entries are kept as bytes, not as objects: two million members take a hundred megabytes.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.skips: list[Skip] = []
        self._folders: dict[str, _PackedFolder] = {"": _PackedFolder()}

    @property
    def opener(self) -> SourceOpener:
        """Opens members by their entry."""
        return ArchiveOpener(self.path)

    def list(self, folder: str) -> Folder | None:
        """What a folder of the archive holds."""
        packed = self._folders.get(folder)
        return packed.unpack() if packed else None

    def close(self) -> None:
        """Forget the list of members."""
        self._folders.clear()

    def _add(self, name: str, entry: bytes) -> None:
        parts = name.removeprefix("./").split("/")
        if len(name) > _MAX_NAME or len(parts) > _MAX_DEPTH or any(part in ("", ".", "..") for part in parts):
            self.skips.append(
                Skip("name-unsafe", shown(name[:_MAX_NAME]), detail="not a plain path below the archive's root")
            )
            return
        if any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX":
            return
        self._folder("/".join(parts[:-1])).add(parts[-1], entry)

    def _folder(self, name: str) -> _PackedFolder:
        folder = self._folders.get(name)
        if folder is None:
            folder = self._folders[name] = _PackedFolder()
            above, _, base = name.rpartition("/")
            self._folder(above).folders.append(base)
        return folder


class _PackedFolder:
    """A folder of an archive: names and entries one behind the other."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self._names = bytearray()
        self._entries = bytearray()

    def add(self, name: str, entry: bytes) -> None:
        """Add a file."""
        self._names += name.encode("utf-8", "surrogateescape") + b"/"
        self._entries += entry

    def unpack(self) -> Folder:
        """The folder as it is listed; of a name given twice the last counts, as for unzip and tar."""
        names = self._names.decode("utf-8", "surrogateescape").split("/")[:-1]
        size = ENTRY_BYTES
        last = {name: at * size for at, name in enumerate(names)}
        files = sorted(last)
        entries = [bytes(self._entries[last[name] : last[name] + size]) for name in files]
        return Folder(sorted(self.folders), files, entries)


class TarTree(_ArchiveTree):
    """A plain tar of a folder, read where it lies."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        links: dict[str, list[tuple[str, str]]] = {}  # folder of the target -> name of the link, name of the target
        for member in scan_tar(path):
            if member.is_file:
                self._add(member.name, tar_entry(member.offset, member.size))
            elif member.kind == "hard link":
                folder, _, base = member.target.removeprefix("./").rpartition("/")
                links.setdefault(folder, []).append((member.name, base))
            elif member.kind != "folder":
                self.skips.append(Skip("not-a-file", shown(member.name), detail=f"a {member.kind} in a tar"))
        for folder, names in links.items():
            held = self.list(folder) or Folder()
            entries = dict(zip(held.files, held.entries or (), strict=True))
            for name, target in names:
                if target in entries:
                    self._add(name, entries[target])
                else:
                    self.skips.append(Skip("not-a-file", shown(name), detail="a hard link to a file that is not there"))


class ZipTree(_ArchiveTree):
    """A zip of a folder, read where it lies."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with reading(path):
            for member in scan_zip(path):
                entry = zip_entry(member.offset, member.stored, member.size, member.method, member.crc)
                self._add(member.name, entry)
