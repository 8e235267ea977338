"""extract: a dataset back to files, under the names that they had."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, StoreError, UsageError
from wdstools.executors.base import Executor, open_executor, run_all
from wdstools.ops.provenance import read_provenance
from wdstools.progress import Progress, Silent
from wdstools.reader.select import Selection
from wdstools.reader.shard import ShardReader
from wdstools.results import ExtractResult
from wdstools.stores.local import storage_error, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wdstools.dataset import Dataset
    from wdstools.executors.base import Tick
    from wdstools.formats.manifest import ShardEntry

_TICK_SAMPLES = 64


@dataclass(frozen=True, slots=True)
class ExtractTask:
    """The chosen rows of one shard, and the path below ``folder`` of each member of each (None: not written)."""

    dataset: Dataset
    entry: ShardEntry
    rows: tuple[int, ...]
    paths: tuple[tuple[str | None, ...], ...]
    folder: str


def extract(
    dataset: Dataset,
    folder: str,
    *,
    selection: Selection | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> ExtractResult:
    """Write samples back as files into ``folder``, which must not exist, every member checked as it is read.

    Images and captions get the names that they were packed from where index and provenance know them (a label that
    is in the path is then not written again); else ``{split}/{key}.{ext}``. Until everything is written it lies in
    ``folder.partial``. Raises UsageError, StoreError, IntegrityError, FormatError (``path-unsafe``).
    """
    selection = selection or Selection()
    selection.check(dataset)
    work = f"{folder.rstrip('/')}.partial"
    for place in (folder, work):
        if os.path.lexists(place):
            raise StoreError(
                "the place to extract to is taken",
                code="destination-not-empty",
                where=place,
                hint="choose another folder, or move this one away",
            )
    tasks = list(_tasks(dataset, selection, work))
    _refuse_collisions(tasks)
    try:
        done = _write(tasks, work, executor or open_executor("serial"), progress or Silent())
        os.sync()
        os.rename(work, folder)
        sync_folder(os.path.dirname(os.path.abspath(folder)))
    except OSError as error:
        shutil.rmtree(work, ignore_errors=True)
        raise storage_error(error, folder) from error
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    samples = sum(len(task.rows) for task in tasks)
    return ExtractResult(folder, samples, sum(count for count, _ in done), sum(size for _, size in done))


def _write(tasks: Sequence[ExtractTask], work: str, executor: Executor, progress: Progress) -> list[tuple[int, int]]:
    os.makedirs(work)
    progress.start("extract", sum(len(task.rows) for task in tasks), "samples")
    try:
        return run_all(executor, extract_shard, tasks, progress.advance)
    finally:
        progress.finish()


def extract_shard(task: ExtractTask, tick: Tick) -> tuple[int, int]:
    """Write the files of one shard; gives how many, and their bytes."""
    reader = ShardReader(task.dataset, task.entry)
    files = size = done = 0
    made: set[str] = set()
    for row, paths in zip(task.rows, task.paths, strict=True):
        sample = reader.sample(row)
        for extension, path in zip(sample, paths, strict=True):
            if path is None:
                continue
            target = os.path.join(task.folder, path)
            view = sample.view(extension)
            _write_file(target, view, made)
            files += 1
            size += len(view)
        done += 1
        if done == _TICK_SAMPLES:
            tick(done)
            done = 0
    tick(done)
    return files, size


def _write_file(target: str, payload: memoryview, made: set[str]) -> None:
    folder = os.path.dirname(target)
    try:
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        with open(target, "xb", buffering=0) as file:
            while payload:
                payload = payload[file.write(payload) :]
    except OSError as error:
        raise storage_error(error, target) from error


def _tasks(dataset: Dataset, selection: Selection, work: str) -> Iterator[ExtractTask]:
    names = _Names(dataset)
    for split, entry in dataset.manifest.shards:
        if selection.splits is not None and split not in selection.splits:
            continue
        table = dataset.index(entry)
        rows = tuple(selection.mask(split, table).nonzero()[0].tolist())
        if not rows:
            continue
        columns = (table.column(name).to_pylist() for name in ("key", "label", "source", "members"))
        samples = list(zip(*columns, strict=True))
        paths = tuple(names.of_sample(split, entry, *samples[row]) for row in rows)
        yield ExtractTask(dataset, entry, rows, paths, work)


class _Names:
    """The file names of a sample's members."""

    def __init__(self, dataset: Dataset) -> None:
        self._image_extension = dataset.manifest.image_extension if dataset.manifest.members else ""
        made = read_provenance(dataset.metadata)
        self._from_files = made.get("recipe") != "shards"
        template = made.get("template")
        known = template if isinstance(template, dict) else {}
        base = str(known.get("base") or "")
        self._image = _below(base, str(known.get("image") or ""))
        self._caption = _below(base, str(known.get("caption") or ""))
        self._labelled = "{label}" in self._image

    def of_sample(
        self,
        split: str,
        entry: ShardEntry,
        key: str,
        label: str | None,
        source: str | None,
        members: list[dict[str, Any]],
    ) -> tuple[str | None, ...]:
        """The path of each member, in tar order; None for a label that the image's path says already."""
        extensions = [member["ext"] for member in members]
        image = self._image_path(split, key, label, source)
        paths: list[str | None]
        if image is None:
            paths = [f"{split}/{key}.{extension}" for extension in extensions]
        else:
            stem = image.rpartition(".")[0]
            paths = [self._member(extension, image, stem, (split, label)) for extension in extensions]
        for path in paths:
            if path is not None and not _is_safe(path):
                raise FormatError(
                    "a name in an index points outside the folder",
                    code="path-unsafe",
                    where=f"{entry.index_path}, sample {key}",
                    got=repr(path[:200]),
                    hint="get the dataset again from where it came from",
                )
        return tuple(paths)

    def _image_path(self, split: str, key: str, label: str | None, source: str | None) -> str | None:
        if not self._from_files:
            return None  # what it was packed from were other shards
        if source is not None:
            return source
        if "{id}" not in self._image or "*" in self._image:
            return None
        identity = key.removeprefix(f"{label}/") if label is not None and self._labelled else key
        return _filled(self._image, split, label, identity)

    def _member(self, extension: str, image: str, stem: str, place: tuple[str, str | None]) -> str | None:
        if extension == self._image_extension:
            return image if image.lower().endswith((f".{extension}", ".jpeg")) else f"{stem}.{extension}"
        if extension == "txt" and "{id}" in self._caption:
            identity = _identity(self._image, image, *place)
            if identity is not None:
                return _filled(self._caption, *place, identity)
        if extension == "cls" and self._labelled:
            return None
        return f"{stem}.{extension}"


def _below(base: str, template: str) -> str:
    return f"{base}/{template}" if base and template else template


def _filled(template: str, split: str, label: str | None, identity: str) -> str:
    return template.replace("{split}", split).replace("{label}", label or "").replace("{id}", identity)


def _identity(template: str, image: str, split: str, label: str | None) -> str | None:
    """What ``{id}`` stands for in an image's path; None if the path is not of the template."""
    before, _, after = template.partition("{id}")
    before, after = _filled(before, split, label, ""), _filled(after, split, label, "")
    if not image.startswith(before) or len(image) < len(before) + len(after):
        return None
    after = after if image.endswith(after) else "." + image.rpartition(".")[2]
    return image[len(before) : len(image) - len(after)]


def _is_safe(path: str) -> bool:
    parts = path.split("/")
    is_text = not any(0xD800 <= ord(letter) < 0xE000 for letter in path)  # half a surrogate pair is no file name
    return (
        is_text and "\0" not in path and all(part not in ("", ".", "..") for part in parts) and not os.path.isabs(path)
    )


def _refuse_collisions(tasks: Sequence[ExtractTask]) -> None:
    """Two samples with one name would overwrite each other."""
    counted = Counter(path for task in tasks for paths in task.paths for path in paths if path is not None)
    twice = [path for path, count in counted.items() if count > 1]
    if twice:
        raise UsageError(
            "two samples have the same file name",
            code="names-collide",
            where=twice[0],
            got=f"{len(twice):,} such names",
            hint="extract one split at a time with --split, or some samples with --keys",
        )
