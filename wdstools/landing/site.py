"""Where a dataset is built: a scratch place next to DEST, with a journal; DEST appears once everything is there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self

from wdstools.address import is_address
from wdstools.errors import BusyError, StoreError, UsageError, option
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, index_path
from wdstools.landing.bucket_site import BucketSite
from wdstools.landing.homes import DiskHome
from wdstools.landing.inside import refuse_elsewhere, taken
from wdstools.landing.journal import Journal
from wdstools.landing.notes import SEAL, seal, seal_key
from wdstools.landing.scratch import Scratch, files_below, is_marked, remove_empty
from wdstools.landing.small_files import SMALL_FILES
from wdstools.stores.abilities import name_new, sync_folder
from wdstools.stores.folders import make_folders, named
from wdstools.stores.local import LocalStore, storage_error
from wdstools.stores.memory import MemoryStore
from wdstools.stores.open import is_bucket, open_store, remote
from wdstools.stores.receipts import MARK, is_log
from wdstools.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wdstools.options.declare import StrPath
    from wdstools.stores.base import Store

_JOURNAL = "journal.jsonl"
#: The scratch place in a DEST that cannot be replaced.
_INNER = ".wdstools/partial"
#: What file systems themselves keep at their root.
_MOUNT_LEFTOVERS = {"lost+found", "System Volume Information", ".Trashes", ".fseventsd", ".Spotlight-V100"}


def site_at(dest: StrPath | Store) -> PackSite | BucketSite:
    """The place to build a dataset in: a folder or a prefix of an object store; raises UsageError if it is neither."""
    if not isinstance(dest, str | os.PathLike):
        return BucketSite(remote(dest))
    dest = os.fspath(dest)
    if dest == MemoryStore.url_of_all:
        raise UsageError(
            "a dataset in memory is lost when the command ends",
            code="destination-elsewhere",
            where=dest,
            hint="give a folder or a bucket; in Python, give a wdstools.stores.memory.MemoryStore",
        )
    if dest and is_address(dest) and not os.path.exists(dest):
        store = open_store(dest)
        if isinstance(store, LocalStore):
            return PackSite(store.path)
        if not is_bucket(dest):
            refuse_elsewhere(dest)
        return BucketSite(remote(store))
    return PackSite(dest)


class PackSite:
    """A folder to build a dataset in. Entering locks it, and refuses a second packer or a destination that is not ours.

    DEST may be absent or an empty folder; the work is done in ``DEST.partial``. If DEST is a mount point, a link or the
    current folder, it cannot be replaced: the work is then done in ``DEST/.wdstools/partial``, and the files are moved,
    the manifest last.
    ``work`` is the dataset's folder until it is published.
    """

    #: What this place cannot promise: nothing.
    notes: tuple[str, ...] = ()

    def __init__(self, dest: str) -> None:
        refuse_elsewhere(dest)
        self.dest = named(dest)
        self._stays = _stays(self.dest)
        self._scratch = Scratch(work_place(self.dest), self.dest, (_JOURNAL,))
        self.work = self._scratch.new
        self._journal = Journal(self._scratch.locate(_JOURNAL))
        self._kept = False
        self._plan, self._own = "", False
        self._stack = contextlib.ExitStack()

    @property
    def home(self) -> DiskHome:
        """Where workers put shards."""
        return DiskHome(self.work, seal_key(self._plan), self._own)

    def __enter__(self) -> Self:
        self._refuse_foreign_destination()
        if self._stays and not os.path.isdir(f"{self.dest}/.wdstools"):
            self._stack.callback(self._unmake)
        self._stack.enter_context(self._scratch)
        try:
            self._refuse_foreign_destination(is_held=True)  # another packer may have finished before we got the lock
            self._scratch.clear_unpacked()
            self._kept = bool(self._journal.lines())
        except OSError as error:
            self._stack.close()
            raise storage_error(error, self._scratch.path) from None
        except BaseException:
            self._stack.close()
            raise
        return self

    def _unmake(self) -> None:
        with contextlib.suppress(OSError):
            os.rmdir(f"{self.dest}/.wdstools")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if not self._kept:  # nothing was begun, or everything is finished: leave no trace
                self._scratch.remove()
        except OSError as failure:
            raise storage_error(failure, self._scratch.path) from None
        finally:
            self._stack.close()

    def discard(self) -> None:
        """Have leaving remove what was made: it is not worth keeping."""
        self._kept = False

    def refuse_taken(self) -> None:
        """Refuse a destination that is not ours, as entering does, but change nothing; raises StoreError."""
        if os.path.lexists(self.dest) and self._taken():
            self._refuse(self._held())

    def _taken(self) -> bool:
        """Whether DEST holds anything but our own unfinished landing. Raises StoreError if DEST is not a folder."""
        if not os.path.isdir(self.dest):
            raise StoreError(
                "the destination is a file",
                code="destination-not-empty",
                where=self.dest,
                hint="choose another destination",
            )
        ours = is_marked(self._scratch.path)
        return bool(self._held()) and not (ours and self._journal.landing() is not None)

    def _refuse_foreign_destination(self, *, is_held: bool = False) -> None:
        if os.path.lexists(self.dest) and self._taken():
            if is_marked(self._scratch.path) and all(
                name == MARK or is_log(name) for name in os.listdir(self._scratch.path)
            ):  # a run was stopped while it removed its marks, or we have just made ours
                with contextlib.nullcontext() if is_held else self._scratch:
                    self._scratch.remove()
            self._refuse(self._held())

    def _held(self) -> list[str]:
        """What is in DEST, except for what a file system itself keeps there and our own work."""
        if not os.path.isdir(self.dest):
            return []
        held = sorted(set(os.listdir(self.dest)) - (_MOUNT_LEFTOVERS if self._stays else set()))
        inner = f"{self.dest}/.wdstools"
        if self._stays and ".wdstools" in held and set(os.listdir(inner)) <= {"partial"}:
            held.remove(".wdstools")
        return held

    def _refuse(self, held: Iterable[str]) -> None:
        is_dataset = os.path.exists(f"{self.dest}/{MANIFEST_PATH}")
        raise taken(self.dest, held, is_dataset=is_dataset, choose="choose a new folder")

    def begin(self, plan: str, names: Iterable[str], *, restart: bool) -> list[dict[str, Any]]:
        """Begin, or continue an interrupted run of the same plan; returns the lines that it noted in the journal.

        ``names`` are the paths that will be written, in addition to the small files. A run that was stopped after its
        dataset had appeared is continued too: what it published is taken back, if all of it is unchanged.
        """
        try:
            lines = self._journal.lines()
            self._plan, self._own = plan, self._journal.is_own
            same = bool(lines) and lines[0].get("plan") == plan
            landing = self._journal.landing()
            if landing is not None and self._landed() and not (same and self._take_back(landing)):
                self._kept = self._stays  # otherwise the dataset is in place, and the rest of the work can go
                self._refuse(self._held())
            if self._held() and not self._stays:
                self._refuse(self._held())
            if lines and not same:
                if not restart:
                    raise BusyError(
                        "there is unfinished work here, on another source or with other options",
                        code="partial-of-other-plan",
                        where=self._scratch.path,
                        hint=f"add {option('restart', True)} to start again, or finish the other work first",
                    )
                lines = []
            if not lines or restart:
                lines = []
                self._scratch.clear()
                self._journal.remove()
            self._scratch.note((*names, *SMALL_FILES))
            strangers = self._scratch.strangers(self.work)
            if strangers:
                self._scratch.clear()  # raises, and names them
            make_folders(self.work)
            if not lines:
                self._journal.append({"plan": plan, "wdstools": __version__})
        except OSError as error:
            raise storage_error(error, self._scratch.path) from None
        self._kept = True
        return [line for line in lines[1:] if "landing" not in line]

    def record(self, line: dict[str, Any]) -> None:
        """Note in the journal that a shard is finished and durable."""
        try:
            self._journal.append({**line, SEAL: seal(seal_key(self._plan), line["entry"]["path"], line)})
        except OSError as error:
            raise storage_error(error, self._scratch.locate(_JOURNAL)) from None

    def publish(self, files: Mapping[str, bytes], shards: Mapping[str, int]) -> None:
        """Check the shards, write the last files, and make DEST appear."""
        store = LocalStore(self.work)
        for path, size in shards.items():
            if store.head(path).bytes != size:
                raise StoreError(
                    "the size of a finished shard has changed",
                    where=store.locate(path),
                    expected=f"{size} bytes",
                    hint="another program writes here: run the same command again",
                )
        store.put_all(files)
        try:
            self._scratch.gather_receipts()
            self._journal.append(
                {"landing": {path: sha256_hex(data) for path, data in files.items()}, "shards": dict(shards)}
            )
            if self._stays:
                self._move_out()
            else:
                os.rename(self.work, self.dest)
                sync_folder(os.path.dirname(os.path.abspath(self.dest)))
        except OSError as error:
            raise storage_error(error, self.dest) from None
        self._kept = False

    def _landed(self) -> bool:
        """Whether a finished run has begun to move its dataset to DEST."""
        return bool(self._held()) if self._stays else not os.path.isdir(self.work) and os.path.isdir(self.dest)

    def _take_back(self, landing: Mapping[str, Any]) -> bool:
        """Undo a publication that may be incomplete; False, with nothing moved, if not everything there is ours."""
        if self._stays:
            noted = self._scratch.noted() | _published(landing)
            beside = [path for path in files_below(self.dest) if not _is_kept_by_file_system(path)]
            out = [path for path in beside if not path.startswith(".wdstools/partial/")]
            if not noted.issuperset(out) or not self._scratch.are_ours({path: f"{self.dest}/{path}" for path in out}):
                return False
            for path in sorted(noted, key=lambda path: path != MANIFEST_PATH):
                if os.path.lexists(f"{self.dest}/{path}"):
                    _move(f"{self.dest}/{path}", f"{self.work}/{path}")
            return True
        places = {path: f"{self.dest}/{path}" for path in _published(landing)}
        if not _is_as_published(self.dest, landing) or not self._scratch.are_ours(places):
            return False
        os.rename(self.dest, self.work)
        return True

    def _move_out(self) -> None:
        paths = files_below(self.work)
        taken = [
            path
            for path in paths
            if os.path.lexists(f"{self.dest}/{path}") and not _is_same(f"{self.work}/{path}", f"{self.dest}/{path}")
        ]
        if taken:
            self._refuse(taken)
        for path in sorted(paths, key=lambda path: path == MANIFEST_PATH):
            _move(f"{self.work}/{path}", f"{self.dest}/{path}")
        for folder in {os.path.dirname(path) for path in paths} | {""}:
            sync_folder(os.path.join(self.dest, folder))
        remove_empty(self.work)


def work_place(dest: str) -> str:
    """The scratch place that a dataset at ``dest`` is built in."""
    dest = named(dest)
    return f"{dest}/{_INNER}" if _stays(dest) else f"{dest}.partial"


def _stays(dest: str) -> bool:
    """Whether a folder cannot be replaced: a mount point, a link, the current folder, or one with our work in it."""
    if os.path.ismount(dest) or is_marked(f"{dest}/{_INNER}"):
        return True
    return os.path.isdir(dest) and (os.path.islink(dest) or os.path.samefile(dest, os.curdir))


def forget_landed(dest: str) -> None:
    """Remove the scratch place of a run that was stopped after its dataset at ``dest`` had appeared."""
    place = work_place(dest)
    if is_marked(place) and Journal(os.path.join(place, _JOURNAL)).landing() is not None:
        with Scratch(place, dest, (_JOURNAL,)) as scratch:
            if not files_below(scratch.new):  # all of it has appeared
                scratch.remove()


def _published(landing: Mapping[str, Any]) -> set[str]:
    """All files of a published dataset."""
    shards = list(landing["shards"])
    return {*shards, *map(index_path, shards), *landing["landing"]}


def _is_as_published(dest: str, landing: Mapping[str, Any]) -> bool:
    """Whether a published dataset has all its files, unchanged, and no others."""
    store = LocalStore(dest)
    if set(files_below(dest)) != _published(landing):
        return False
    try:
        return all(store.head(path).bytes == size for path, size in landing["shards"].items()) and all(
            sha256_hex(store.get(path)) == digest for path, digest in landing["landing"].items()
        )
    except StoreError:
        return False


def _is_kept_by_file_system(path: str) -> bool:
    return path.split("/", maxsplit=1)[0] in _MOUNT_LEFTOVERS


def _move(source: str, target: str) -> None:
    """Move a file to a new name; raises FileExistsError if the name is taken."""
    make_folders(os.path.dirname(target))
    try:
        name_new(source, target)
    except FileExistsError:
        if not _is_same(source, target):
            raise
        os.unlink(source)  # an earlier run was killed between the two names


def _is_same(one: str, other: str) -> bool:
    return os.path.samestat(os.lstat(one), os.lstat(other))
