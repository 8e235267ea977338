"""Scratch places: the folders in which wdstools makes something before it appears under its own name.

A place is ours by the mark in it and by nothing else: neither by its name nor by its contents. What will be written in
it is noted first, and each file leaves a receipt before it gets its name. A file that is not noted, or does not match
its receipt, is somebody else's and stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from shlex import quote
from typing import TYPE_CHECKING, Self

from wdstools.errors import StoreError
from wdstools.landing.names import PROBE, refuse_clashes_at
from wdstools.stores.abilities import ask_new_names, sync_file
from wdstools.stores.folders import make_folders, walk
from wdstools.stores.local import LocalStore, buffered_plain, storage_error
from wdstools.stores.locks import locked_folder
from wdstools.stores.receipts import (
    MARK,
    NEW,
    ReceiptLog,
    has_receipt,
    is_log,
    is_same_stamp,
    logged,
    receipt_of,
    stamp,
    temporary_of,
)
from wdstools.units import some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from wdstools.stores.receipts import Stamp

#: The file, next to the mark and ``new``, that lists the names to be written.
_NAMES = "names"
#: Where compressed sources are unpacked, one plain tar each, and the list of those tars.
_UNPACKED, _UNPACKED_NAMES = "unpacked", "unpacked.names"
_MARK_BYTES = 4096


class Scratch:
    """A marked folder at ``path``, locked while its ``with`` block lasts.

    Entering creates it, or takes over one that carries our mark. ``new`` in it is what will be renamed in the end.
    Raises StoreError (``destination-not-empty``) for a folder that is not empty and has no mark, and BusyError if
    another process holds it. ``what`` names the result in messages; ``own_files`` are further files that its owner
    keeps at the top level.
    """

    def __init__(self, path: str, what: str, own_files: tuple[str, ...] = ()) -> None:
        self.path = path
        self._what = what
        self._own_files = own_files
        self._stack = contextlib.ExitStack()

    @property
    def new(self) -> str:
        """The folder that the result is made in."""
        return self.locate(NEW)

    def locate(self, name: str) -> str:
        """The path of a name in this place."""
        return os.path.join(self.path, name)

    def __enter__(self) -> Self:
        if os.path.islink(self.path) or (os.path.lexists(self.path) and not os.path.isdir(self.path)):
            raise self._not_ours()
        try:
            make_folders(self.path)
            self._stack.enter_context(locked_folder(self.path, self._what))
            self._mark()
            ask_new_names(self.path, MARK)
        except OSError as error:
            self._stack.close()
            raise storage_error(error, self.path) from None
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _mark(self) -> None:
        if is_marked(self.path):
            return
        mark = self.locate(MARK)
        held = os.listdir(self.path)
        if held == [MARK] and os.path.getsize(mark) == 0 and not os.path.islink(mark):
            os.unlink(mark)  # killed before it was written
        elif held:
            raise self._not_ours()
        fd = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            os.write(fd, json.dumps({"id": secrets.token_hex(16), "owner": "wdstools"}).encode())
            sync_file(fd)
        finally:
            os.close(fd)

    def _not_ours(self) -> StoreError:
        old = any(os.path.exists(self.locate(f".wdstools/{name}")) for name in ("journal.jsonl", "lock"))
        hint = (
            f"if this is what wdstools 0.1 left unfinished, finish it with that version, or delete it: rm -r {quote(self.path)}"
            if old
            else f"move {quote(self.path)} away, or choose another destination; nothing was changed"
        )
        return StoreError(
            "this folder is in the way and has no mark of wdstools",
            code="destination-not-empty",
            where=self.path,
            hint=hint,
        )

    def note(self, names: Iterable[str]) -> None:
        """Note the paths to be written below ``new``, before any of them is.

        Raises UsageError (``names-collide``) if two of them would be the same file here.
        """
        names = list(names)
        refuse_clashes_at(self.path, names)
        LocalStore(self.path).put(_NAMES, "".join(f"{name!a}\n" for name in sorted(set(names))).encode())

    def noted(self) -> set[str]:
        """The paths noted by this run, or by the one whose place was taken over."""
        return _read_names(self.locate(_NAMES))

    def clear(self) -> None:
        """Remove what we wrote below ``new``; raises StoreError (``scratch-not-ours``) if there is anything else."""
        _remove_files(self.new, self._ours_below(self.new, self.noted()), self._strange)

    def clear_unpacked(self) -> None:
        """Remove what an interrupted run unpacked."""
        folder, note = self.locate(_UNPACKED), self.locate(_UNPACKED_NAMES)
        if os.path.islink(folder):
            raise self._strange(self.path, [_UNPACKED])
        noted = _read_names(note)
        _remove_files(folder, self._ours_below(folder, noted), self._strange)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(note)

    def remove(self) -> None:
        """Remove the place with everything of ours in it."""
        self.clear_unpacked()
        self.clear()
        files = {MARK, _NAMES, *self._own_files}
        passing = {*files, PROBE}
        held = os.listdir(self.path)
        others = [name for name in held if not (name in files or temporary_of(name) in passing or is_log(name))]
        if others:
            raise self._strange(self.path, sorted(others))
        for name in sorted(held, key=lambda name: (name == MARK, is_log(name), name in self._own_files)):
            os.unlink(self.locate(name))
        os.rmdir(self.path)

    def strangers(self, folder: str) -> list[str]:
        """Files below a folder that are not ours, as paths relative to it."""
        ours = set(self._ours_below(folder, self.noted()))
        return [path for path in files_below(folder) if path not in ours]

    def _ours_below(self, folder: str, noted: set[str]) -> list[str]:
        """Files below a folder that we wrote: temporary files, receipts, and files that match their receipts."""
        made = logged(self.path)
        ours = []
        for path in files_below(folder):
            about = receipt_of(path) or temporary_of(path)
            if about is not None:
                mine = about in noted or about in {"", PROBE}
            else:
                mine = path in noted and _is_as_noted(os.path.join(folder, path), made.get(path, set()))
            if mine:
                ours.append(path)
        return ours

    def gather_receipts(self) -> None:
        """Move all receipts into a log and remove what killed writers left, because ``new`` is about to be published.

        Raises StoreError (``scratch-not-ours``) if it contains anything that we did not write.
        """
        strangers = self.strangers(self.new)
        if strangers:
            raise self._strange(self.new, strangers)
        lying = files_below(self.new)
        passing = [path for path in lying if receipt_of(path) is not None or temporary_of(path) is not None]
        with ReceiptLog(self.path) as log:
            for path in sorted(set(lying) - set(passing)):
                log.note(path, os.lstat(os.path.join(self.new, path)))
            log.sync()
        for path in passing:
            os.unlink(os.path.join(self.new, path))

    def are_ours(self, places: Mapping[str, str]) -> bool:
        """Whether files are at the given places, each as a log of this place records for its path."""
        made = logged(self.path)
        return all(
            os.path.lexists(place) and _is_as_noted(place, made.get(path, set())) for path, place in places.items()
        )

    def _strange(self, folder: str, names: list[str]) -> StoreError:
        return StoreError(
            "its work folder contains files that wdstools did not write",
            code="scratch-not-ours",
            where=folder,
            got=some_of(names),
            hint="move them away, then run the same command again; nothing was removed",
        )


def is_marked(path: str) -> bool:
    """Whether a folder has our mark."""
    mark = os.path.join(path, MARK)
    try:
        fd = os.open(mark, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return False
        document = json.loads(os.read(fd, _MARK_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    finally:
        os.close(fd)
    return isinstance(document, dict) and document.get("owner") == "wdstools"


def unpacked_folder(place: str) -> str:
    """Where compressed sources are unpacked in a scratch place."""
    return os.path.join(place, _UNPACKED)


def files_below(folder: str) -> list[str]:
    """Everything below a folder except folders, links included, as ``/``-separated paths."""
    found = []
    for place, folders, names in walk(folder):
        below = os.path.relpath(place, folder).replace(os.sep, "/")
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [name if below == "." else f"{below}/{name}" for name in (*names, *links)]
    return sorted(found)


def remove_empty(folder: str) -> None:
    """Remove the empty folders of a tree, including its root."""
    for place, _, _ in reversed(list(walk(folder))):
        with contextlib.suppress(OSError):
            os.rmdir(place)


def _remove_files(folder: str, ours: list[str], strange: Callable[[str, list[str]], StoreError]) -> None:
    """Remove our files below a folder and the folder itself; if there are other files, raise and remove nothing."""
    others = sorted(set(files_below(folder)) - set(ours))
    if others:
        raise strange(folder, others)
    for path in ours:
        os.unlink(os.path.join(folder, path))
    remove_empty(folder)


def _is_as_noted(path: str, stamps: set[Stamp]) -> bool:
    now = stamp(os.lstat(path))
    return any(is_same_stamp(now, noted) for noted in stamps) or has_receipt(path)


def _read_names(path: str) -> set[str]:
    try:
        with buffered_plain(path) as file:
            return {_unquoted(line.decode("ascii")) for line in file}
    except (FileNotFoundError, ValueError, SyntaxError, RecursionError, MemoryError):
        return set()  # not written here, so it names nothing


def _unquoted(line: str) -> str:
    import ast

    return str(ast.literal_eval(line.strip()))
