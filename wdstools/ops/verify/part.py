"""Check a part of a dataset: some splits, the shards that are present, or one shard file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING, ClassVar

from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import NotFoundError
from wdstools.formats.digest import ShardDigester
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.results import Finding
from wdstools.stores.local import LocalStore, translated
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wdstools.formats.manifest import ShardEntry
    from wdstools.stores.base import ObjectInfo


@dataclass(frozen=True, slots=True)
class Part:
    """Which shards to check: those of ``splits`` (None: all) or the one in ``file``; ``only_present``: only those here."""

    splits: tuple[str, ...] | None = None
    only_present: bool = False
    file: str = ""

    @property
    def whole(self) -> bool:
        """Whether the whole dataset is to be checked."""
        return self.splits is None and not self.only_present and not self.file

    @property
    def may_lack(self) -> bool:
        """Whether shards that are not here need not be."""
        return self.only_present or bool(self.file)

    def shards(self, dataset: Dataset) -> list[tuple[str, ShardEntry]]:
        """The shards to check; raises UsageError (``split-missing``)."""
        if self.splits is not None:
            from wdstools.reader.select import Selection

            Selection(splits=self.splits).check(dataset, by_members=True)
        shards = dataset.manifest.shards
        if isinstance(dataset.shards, OneShard):
            return [(split, entry) for split, entry in shards if entry.path == dataset.shards.key]
        return [(split, entry) for split, entry in shards if self.splits is None or split in self.splits]


class OneShard(LocalStore):
    """One shard in a file of any name; other files are looked for next to it."""

    local_paths: ClassVar[tuple[str, ...]] = ("path", "file")

    def __init__(self, file: str, key: str) -> None:
        super().__init__(os.path.dirname(file) or ".")
        self.file, self.key = file, key

    def locate(self, key: str) -> str:
        """The given file for its shard, and the usual place for other keys."""
        return self.file if key == self.key else super().locate(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """List the one shard."""
        if self.key.startswith(prefix):
            yield self.head(self.key)


def open_with_file(manifest: str, file: str, root: str | None) -> Dataset:
    """A dataset with one shard in ``file``: the shard of that name, or else the one with its bytes, or else none."""
    dataset = open_dataset(manifest, at=os.path.dirname(file) or ".", root=root)
    key = _which(dataset, file)
    # a shard from the manifest's own folder came with the manifest: neither anchors the other
    beside = dataset.metadata
    own = isinstance(beside, LocalStore) and bool(key) and _is_one_file(beside.locate(key), file)
    return replace(dataset, shards=OneShard(file, key), anchored=dataset.anchored and not (own and root is None))


def _is_one_file(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _which(dataset: Dataset, file: str) -> str:
    """The path of the shard that a file holds; "" if it is not a shard of the dataset."""
    entries = [entry for _, entry in dataset.manifest.shards]
    name = os.path.basename(file)
    named = [entry.path for entry in entries if entry.path.rpartition("/")[2] == name]
    if len(named) == 1:
        return named[0]
    with translated(file):
        size = os.stat(file).st_size
    if all(entry.bytes != size for entry in entries):
        return ""
    digester = ShardDigester()
    for block in LocalStore(os.path.dirname(file) or ".").blocks(name):
        digester.update(block)
    found = digester.digests()
    equal = (e.path for e in entries if (e.sha256 or e.xxh3_128) == (found.sha256 if e.sha256 else found.xxh3_128))
    return next(equal, "")


def stranger(dataset: Dataset, file: str) -> Finding:
    """The finding for a file that was given as a shard and is not a shard of the dataset."""
    shards = dataset.manifest.totals["shards"]
    return Finding(
        "swapped",
        file,
        "this file is not a shard of the dataset: no shard has its name or its bytes",
        expected=f"one of {counted(shards, 'shard')} of root {dataset.root}",
        cause="of-another",
    )


def without_all_missing(
    dataset: Dataset, findings: Sequence[Finding], asked: Sequence[tuple[str, ShardEntry]], missing: int
) -> list[Finding]:
    """The findings; if the shards are kept apart from the manifest and none is there, they are reported as one."""
    elsewhere = dataset.manifest_key != MANIFEST_PATH or dataset.shards is not dataset.metadata
    if not asked or missing < len(asked) or not elsewhere:
        return list(findings)
    return [nothing_here(dataset, asked), *(f for f in findings if f.kind != "missing")]


def nothing_here(dataset: Dataset, asked: Sequence[tuple[str, ShardEntry]]) -> Finding:
    """The finding that none of the shards to check is where it should be."""
    many = f"none of the {len(asked):,} shards is here" if len(asked) > 1 else "the shard is not here"
    beside = ", next to the manifest" if dataset.shards is dataset.metadata else ""
    expected = next((entry.path for _, entry in asked), None)
    got = None
    for _, entry in asked:
        folder, _, name = entry.path.rpartition("/")
        place = os.path.join(dataset.shards.path, name) if isinstance(dataset.shards, LocalStore) else ""
        if folder and os.path.isfile(place):
            expected = entry.path
            got = f"{name}: it belongs in the folder {folder}/, or check it alone: --at {quote(place)}"
            break
    return Finding("missing", dataset.shards.url, many + beside, expected=expected, got=got, cause="shards-missing")


def is_one_file(at: str | None) -> bool:
    """Whether a place is a file rather than a folder. Raises NotFoundError if a path to a tar does not exist."""
    if at is None or "://" in at:
        return False
    if at.endswith(".tar") and not os.path.exists(at):
        raise NotFoundError("no such file or folder", where=at)
    return os.path.isfile(at)
