"""Folders of any depth: even those nested ten thousand deep are walked, created and removed without recursion."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from wdstools.address import display, is_address
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wdstools.options.declare import StrPath


def refuse_nul(path: str) -> None:
    """Refuse a path that no system accepts; raises UsageError."""
    if "\0" in path:
        raise UsageError("a path cannot contain NUL", where=path.partition("\0")[0], got=repr(path)[:200])


def path_here(path: StrPath, where: str) -> str:
    """A path on this machine, unchanged. An address would become a folder of that name, and expose the secrets in it.

    Raises UsageError (``destination-elsewhere``); ``where`` is the option that it was given in.
    """
    text = os.fspath(path)
    if is_address(text) and not os.path.exists(text):
        raise UsageError(
            "an address is not a path on this machine", code="destination-elsewhere", where=where, got=display(text)
        )
    return text


def named(path: str) -> str:
    """The path of a folder, ending in its name (not in a slash, ``.`` or ``..``), so that other names can be made from it.

    The current folder stays ``.``.
    """
    while len(path) > 1 and path.endswith(("/", "/.")):
        path = path[: path.rindex("/")] or "/"
    return os.path.realpath(path) if os.path.basename(path) == ".." else path


def walk(root: str, onerror: Callable[[OSError], object] | None = None) -> Iterator[tuple[str, list[str], list[str]]]:
    """Like ``os.walk`` from the top down: a folder, the names of its folders, and those of everything else in it.

    The caller may change the list of folders. Links to folders are listed among them, but not followed. A folder that
    cannot be read is reported to ``onerror``, or skipped.
    """
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        folders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):  # nearly all of them, so tested first
                        names.append(entry.name)
                    else:
                        (folders if is_folder(entry) else names).append(entry.name)
        except OSError as error:
            if onerror is not None:
                onerror(error)
            continue
        yield folder, folders, names
        below = [os.path.join(folder, name) for name in reversed(folders)]
        waiting += [path for path in below if not os.path.islink(path)]


def files_below(root: str) -> int:
    """The number of files and links in a folder and below it."""
    return sum(
        len(names) + sum(os.path.islink(os.path.join(folder, name)) for name in folders)
        for folder, folders, names in walk(root)
    )


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def make_folders(path: str) -> None:
    """Make a folder and its parents, unless they exist; raises OSError."""
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise


def remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    """Remove a folder and everything below it; raises OSError unless ``ignore_errors``."""
    with contextlib.suppress(OSError) if ignore_errors else contextlib.nullcontext():
        try:
            shutil.rmtree(path, ignore_errors=ignore_errors)  # noqa: TID251  where its recursion ends, ours begins
        except RecursionError:  # what is left is too deep for it
            _remove_deep(path)


def _remove_deep(path: str) -> None:
    for folder, folders, names in reversed(list(walk(path))):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*names, *links):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
