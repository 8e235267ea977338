"""extract: write a dataset back to files, under the names that they had."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from wdstools.checks.rebuild import proved_index
from wdstools.dataset import Dataset, as_dataset
from wdstools.executors.base import Executor, run_all
from wdstools.executors.open import executor_or_here
from wdstools.landing.inside import refuse_own_place
from wdstools.landing.names import name_folding, refuse_clashes
from wdstools.landing.new_folder import new_folder
from wdstools.ops.extract.names import Names
from wdstools.progress import Progress, Silent
from wdstools.reader.select import Selection
from wdstools.reader.shard import ShardReader
from wdstools.results import Proved, weakest
from wdstools.stores.folders import make_folders
from wdstools.stores.local import storage_error, temporary_name, translated
from wdstools.stores.receipts import ReceiptLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry
    from wdstools.options.declare import StrPath

_TICK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ExtractResult:
    """What was written back to files; ``proved`` says what their bytes are proved against.

    ``missing_keys`` were asked for and are not in the dataset.
    """

    path: str
    samples: int
    files: int
    bytes: int
    proved: Proved = Proved.NOTHING
    missing_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """The selected rows of one shard, and the path below ``folder`` of each of their members (None: not written).

    ``keys`` are the keys of the rows, if samples were selected by key.
    """

    local_paths: ClassVar[tuple[str, ...]] = ("folder",)

    dataset: Dataset
    entry: ShardEntry
    rows: tuple[int, ...]
    paths: tuple[tuple[str | None, ...], ...]
    folder: str
    keys: tuple[str, ...] = ()


def extract(
    dataset: Dataset | StrPath,
    folder: StrPath,
    *,
    selection: Selection | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ExtractResult:
    """Write samples back to files; every member is verified as it is read.

    Images and captions get the names that they were packed from, if index and provenance have them (a label that is in the
    path is then not written again), and otherwise ``{split}/{key}.{ext}``. Until everything is written, ``folder`` does not
    exist; after an interruption, the call starts from the beginning.

    Args:
        dataset: A dataset, or its folder or URL.
        folder: The folder to write to; it must not exist.
        selection: Which samples to write; without it, all.
        executor: Does the work; without one, this process does.
        progress: Receives the number of samples done.

    Returns:
        How many samples, files and bytes were written.

    Raises:
        UsageError: Two samples would have the same name (``names-collide``), or the selection names a split that does not
            exist.
        StoreError: Storage could not be read or written.
        BusyError: Another process is writing to the same folder.
        IntegrityError: A sample is damaged.
        FormatError: A name leads out of the folder (``path-unsafe``), or an index is damaged.
    """
    dataset, folder = as_dataset(dataset), os.fspath(folder)
    refuse_own_place(dataset, folder)
    selection = selection or Selection()
    selection.check(dataset, by_members=True)
    with new_folder(folder) as scratch:
        work = scratch.new
        tasks = list(_tasks(dataset, selection, work))
        paths = [path for task in tasks for sample in task.paths for path in sample if path is not None]
        refuse_clashes(paths, name_folding(work))
        scratch.note(paths)
        done = _write(tasks, executor_or_here(executor), progress or Silent())
        os.sync()
    samples = sum(len(task.rows) for task in tasks)
    files, size = sum(count for count, _ in done), sum(size for _, size in done)
    named = Proved.ACCIDENT if Names(dataset).from_files else Proved.FORGER  # original file names are never proved
    proved = weakest(dataset.proved_by_samples, selection.proved_by(dataset), named)
    found = {key for task in tasks for key in task.keys}
    missing = tuple(sorted((selection.keys or frozenset()) - found)) if selection.where is None else ()
    return ExtractResult(folder, samples, files, size, proved, missing)


def _write(tasks: Sequence[ExtractTask], executor: Executor, progress: Progress) -> list[tuple[int, int]]:
    progress.start("extract", sum(len(task.rows) for task in tasks), "samples")
    try:
        return run_all(executor, extract_shard, tasks, progress.advance)
    finally:
        progress.finish()


def extract_shard(task: ExtractTask, tick: Tick) -> tuple[int, int]:
    """Write the files of one shard; returns their number and their bytes."""
    reader = ShardReader(task.dataset, task.entry)
    files = size = done = 0
    with _Writer(task.folder) as writer:
        for row, paths in zip(task.rows, task.paths, strict=True):
            sample = reader.sample(row)
            for extension, path in zip(sample, paths, strict=True):
                if path is None:
                    continue
                view = sample.view(extension)
                writer.write(path, view)
                files += 1
                size += len(view)
            done += 1
            if done == _TICK_SAMPLES:
                tick(done)
                done = 0
    tick(done)
    return files, size


class _Writer:
    """Writes files below the ``new`` folder of a scratch place, each with its receipt."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._temporary = temporary_name(os.path.join(folder, ""))
        self._made = {folder}
        self._stack = contextlib.ExitStack()

    def write(self, path: str, payload: memoryview) -> None:
        """Write a new file with these bytes; raises StoreError."""
        target = os.path.join(self._folder, path)
        folder = os.path.dirname(target)
        try:
            if folder not in self._made:
                make_folders(folder)
                self._made.add(folder)
            with open(self._temporary, "xb", buffering=0) as file:
                left = payload
                while left:
                    left = left[file.write(left) :]
            try:
                self._log.name(self._temporary, target, path)
            except FileExistsError:  # a worker that was lost has already written it
                if not _holds(target, payload):
                    raise
                os.unlink(self._temporary)
        except OSError as error:
            raise storage_error(error, target) from None

    def __enter__(self) -> Self:
        with translated(self._folder):
            self._log = self._stack.enter_context(ReceiptLog(os.path.dirname(self._folder)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        with translated(self._folder), contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)


def _holds(path: str, payload: memoryview) -> bool:
    """Whether a plain file has these bytes."""
    with open(path, "rb", buffering=0, opener=_open_no_link) as file:
        return file.read(len(payload) + 1) == payload


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _tasks(dataset: Dataset, selection: Selection, work: str) -> Iterator[ExtractTask]:
    names = Names(dataset)
    for split, entry in dataset.manifest.shards:
        if selection.splits is not None and split not in selection.splits:
            continue
        proving = selection.needs_members(dataset)
        table = proved_index(dataset, split, entry) if proving else dataset.index(entry)
        rows = tuple(selection.rows(dataset, split, entry, table).nonzero()[0].tolist())
        if not rows:
            continue
        columns = (table.column(name).to_pylist() for name in ("key", "label", "source", "members"))
        samples = list(zip(*columns, strict=True))
        paths = tuple(names.of_sample(split, entry, *samples[row]) for row in rows)
        keys = tuple(samples[row][0] for row in rows) if selection.keys is not None else ()
        yield ExtractTask(dataset, entry, rows, paths, work, keys)
