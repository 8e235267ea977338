"""Where a pack is built: ``DEST.partial`` with a journal, renamed to DEST once, when everything is there."""

from __future__ import annotations

import contextlib
import json
import os
from shlex import quote
from typing import TYPE_CHECKING, Any, Self

from wdstools.errors import BusyError, StoreError
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.stores.folders import make_folders, remove_tree, walk
from wdstools.stores.local import TEMP_SUFFIX, LocalStore, storage_error, sync_folder
from wdstools.stores.locks import locked
from wdstools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator


_JOURNAL = ".wdstools/journal.jsonl"
_LOCK = ".wdstools/lock"
_MOUNT_LEFTOVERS = {"lost+found"}


class PackSite:
    """Entered, it owns the place: another packer is refused, and so is a destination that is not ours.

    DEST may be absent or an empty folder. Where it is a mount point it cannot be renamed into place: the work is
    then done in ``DEST/.wdstools/partial``, and the manifest is moved last.
    """

    def __init__(self, dest: str) -> None:
        self.dest = dest.rstrip("/") or "/"
        self._mounted = os.path.ismount(self.dest)
        self.work = f"{self.dest}/.wdstools/partial" if self._mounted else f"{self.dest}.partial"
        self._stack = contextlib.ExitStack()
        self._resumable = False

    def __enter__(self) -> Self:
        try:
            self._claim()
        except OSError as error:
            self._stack.close()
            raise storage_error(error, self.work) from error
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if (
            not self._resumable
            and error is not None
            and os.path.isdir(self.work)
            and not os.path.exists(self._path(_JOURNAL))
        ):
            remove_tree(self.work, ignore_errors=True)  # nothing was begun: leave no trace
        self._stack.close()

    def discard(self) -> None:
        """What was made is not worth keeping: leaving with an error removes it."""
        os.unlink(self._path(_JOURNAL))
        self._resumable = False

    def _claim(self) -> None:
        self._refuse_foreign_destination()
        if os.path.isdir(self.work) and not self._ours():
            raise StoreError(
                "this folder is in the way and was not made by wdstools",
                code="destination-not-empty",
                where=self.work,
                hint=f"move {self.work} away, or choose another destination",
            )
        self._resumable = os.path.exists(self._path(_JOURNAL))
        make_folders(self._path(".wdstools"))
        self._stack.enter_context(locked(self._path(_LOCK), self.dest))
        self._refuse_foreign_destination()  # the other packer may have finished while we came to the lock

    def _begun(self) -> bool:
        """Whether a pack lies here: its journal, or, in the last moments of one, its manifest."""
        return os.path.exists(self._path(_JOURNAL)) or os.path.exists(self._path(MANIFEST_PATH))

    def _ours(self) -> bool:
        """Whether the work folder was made by a pack, however early that one was stopped."""
        if os.path.exists(self._path(_LOCK)) or self._begun() or not os.listdir(self.work):
            return True
        inner = self._path(".wdstools")
        return os.listdir(self.work) == [".wdstools"] and os.path.isdir(inner) and not os.listdir(inner)

    def _refuse_foreign_destination(self) -> None:
        if not os.path.lexists(self.dest):
            return
        if not os.path.isdir(self.dest):
            raise StoreError(
                "the destination is a file",
                code="destination-not-empty",
                where=self.dest,
                hint="choose another destination",
            )
        held = set(os.listdir(self.dest)) - _MOUNT_LEFTOVERS
        if (
            self._mounted
            and not os.path.exists(f"{self.dest}/{MANIFEST_PATH}")
            and (held <= {".wdstools"} or self._begun())
        ):
            return
        if held:
            is_dataset = os.path.exists(f"{self.dest}/{MANIFEST_PATH}")
            raise StoreError(
                "the destination holds a dataset already" if is_dataset else "the destination is not empty",
                code="destination-not-empty",
                where=self.dest,
                hint=f"wdstools verify {quote(self.dest)}"
                if is_dataset
                else "choose a new folder; nothing was changed",
            )

    def begin(self, plan: str, *, restart: bool) -> list[dict[str, Any]]:
        """Begin, or go on: what an interrupted run of the same plan has noted; what it left in the folder is kept."""
        try:
            lines = self._read_journal()
            if lines and lines[0].get("plan") != plan:
                if not restart:
                    raise BusyError(
                        "unfinished work on another source or with other options lies here",
                        code="partial-of-other-plan",
                        where=self.work,
                        hint="add --restart to begin anew, or finish the other one first",
                    )
                lines = []
            if self._mounted:
                self._take_back()
            if not lines or restart:
                lines = []
                self._clear()
                self._append({"plan": plan, "wdstools": __version__})
        except OSError as error:
            raise storage_error(error, self.work) from error
        self._resumable = True
        return lines[1:]

    def record(self, line: dict[str, Any]) -> None:
        """Note in the journal that something is finished and durable."""
        try:
            self._append(line)
        except OSError as error:
            raise storage_error(error, self._path(_JOURNAL)) from error

    def publish(self, files: dict[str, bytes], shards: dict[str, int]) -> None:
        """Write the last files, look at what is there, and let DEST appear."""
        store = LocalStore(self.work)
        for path, size in shards.items():
            if store.head(path).bytes != size:
                raise StoreError(
                    "a finished shard has lost its size",
                    where=store.locate(path),
                    expected=f"{size} bytes",
                    hint="something else writes here: run this again",
                )
        for path, data in files.items():
            store.put(path, data)
        try:
            self._remove_strays()
            if self._mounted:
                self._move_out()
                return
            # stopped from here on, the next run knows the folder by its manifest, and makes it anew
            self._unlink_marks()
            sync_folder(self._path(".wdstools"))
            os.rename(self.work, self.dest)
            sync_folder(os.path.dirname(os.path.abspath(self.dest)))
        except OSError as error:
            raise storage_error(error, self.dest) from error

    def _path(self, name: str) -> str:
        return f"{self.work}/{name}"

    def _read_journal(self) -> list[dict[str, Any]]:
        try:
            with open(self._path(_JOURNAL), encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return []
        lines = []
        for line in text.splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # torn by a crash: that shard is made again
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
        return lines

    def _append(self, line: dict[str, Any]) -> None:
        with open(self._path(_JOURNAL), "ab", buffering=0) as file:
            end = file.tell()
            if end:  # cut off what a crash left of the last line
                with open(self._path(_JOURNAL), "rb") as old:
                    whole = old.read().rfind(b"\n") + 1
                file.truncate(whole)
            file.write((json.dumps(line, ensure_ascii=False, sort_keys=True) + "\n").encode())
            os.fsync(file.fileno())

    def _clear(self) -> None:
        for name in os.listdir(self.work):
            path = self._path(name)
            if name != ".wdstools":
                remove_tree(path) if os.path.isdir(path) else os.unlink(path)
        for name in os.listdir(self._path(".wdstools")):
            path = self._path(f".wdstools/{name}")
            if path != self._path(_LOCK):
                remove_tree(path) if os.path.isdir(path) else os.unlink(path)

    def _remove_strays(self) -> None:
        for folder, _, names in walk(self.work):
            for name in names:
                if name.endswith(TEMP_SUFFIX):
                    os.unlink(os.path.join(folder, name))

    def _pieces(self) -> Iterator[tuple[str, str]]:
        """What moves from the work folder to a mount point, the manifest last: (from, to)."""
        for name in sorted(os.listdir(self.work)):
            if name != ".wdstools":
                yield self._path(name), f"{self.dest}/{name}"
        kept = {os.path.basename(_JOURNAL), os.path.basename(_LOCK)}
        names = set(os.listdir(self._path(".wdstools"))) - kept
        inner = sorted(names, key=lambda name: (name == "manifest.json", name))
        for name in inner:
            yield self._path(f".wdstools/{name}"), f"{self.dest}/.wdstools/{name}"

    def _move_out(self) -> None:
        for source, target in list(self._pieces()):
            if target.endswith(MANIFEST_PATH):
                self._unlink_marks()
                sync_folder(f"{self.dest}/.wdstools")
            os.rename(source, target)
        sync_folder(self.dest)
        sync_folder(f"{self.dest}/.wdstools")
        remove_tree(self.work)

    def _unlink_marks(self) -> None:
        os.unlink(self._path(_JOURNAL))
        os.unlink(self._path(_LOCK))

    def _take_back(self) -> None:
        """Undo a half-done move to a mount point."""
        for name in os.listdir(self.dest):
            if name not in {".wdstools", *_MOUNT_LEFTOVERS}:
                os.rename(f"{self.dest}/{name}", self._path(name))
        for name in os.listdir(f"{self.dest}/.wdstools"):
            if name != "partial":
                os.rename(f"{self.dest}/.wdstools/{name}", self._path(f".wdstools/{name}"))
