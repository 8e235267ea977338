"""A dataset to damage, what a fault is, and what must be said about it."""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.damaged_dataset import covers, make_dataset, shard_regions, shards_of
from wdstools.executors.local import Serial
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH
from wdstools.formats.sums import SUMS_PATH, parse_sums, render_sums
from wdstools.ops.pack import run_pack
from wdstools.planning.options import make_options
from wdstools.sources.folder import FolderSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from tests.support.damaged_dataset import Region
    from wdstools.results import Report


@dataclass(frozen=True)
class Expected:
    """What verify must say: findings about all of ``paths`` and no other file, of one of ``kinds``.

    All of ``keys`` are named, and none but them and ``may``. Some finding covers byte ``at``, and some finding's text
    has ``says`` in it. ``also`` are files that may be blamed too, because they say the same.
    """

    paths: frozenset[str]
    kinds: frozenset[str]
    keys: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    at: int | None = None
    says: str = ""
    also: frozenset[str] = frozenset()

    def unlike(self, report: Report) -> str:
        """Why a report does not say it; empty if it does."""
        findings = report.findings
        paths = {finding.path for finding in findings}
        keys = {finding.key for finding in findings if finding.key is not None}
        if not findings:
            return "not found"
        if not self.paths <= paths <= self.paths | self.also:
            return f"blames {sorted(paths)}, not {sorted(self.paths)}: {findings}"
        if not {finding.kind for finding in findings if finding.path in self.paths} <= self.kinds:
            return f"of another kind than {sorted(self.kinds)}: {findings}"
        if not self.keys <= keys <= self.keys | self.may:
            return f"names {sorted(keys)}, not {sorted(self.keys)}: {findings}"
        if self.at is not None and not any(covers(finding, self.at) for finding in findings):
            return f"does not cover byte {self.at}: {findings}"
        if self.says not in "\n".join(map(str, findings)):
            return f"does not say {self.says!r}: {findings}"
        return ""


def about(*paths: str, kind: str, **more: object) -> Expected:
    """Findings of one kind about some files."""
    kinds = frozenset(kind.split())
    named = {name: frozenset(value) if isinstance(value, set) else value for name, value in more.items()}
    return Expected(frozenset(paths), kinds, **named)  # type: ignore[arg-type]  # as the caller names them


@dataclass(frozen=True)
class Fault:
    """One row of the table: ``apply`` damages a scene's dataset in one of many ways, as the draw says."""

    name: str
    group: str
    apply: Callable[[Scene, Random], Expected]
    #: A few like it stand for all in quick runs; 0 for one that is the same every time.
    many: bool = True


@dataclass
class Scene:
    """``dataset`` is the copy to damage, ``whole`` the same undamaged, ``other`` another version of it."""

    whole: Path
    other: Path
    dataset: Path
    shards: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shards = shards_of(self.whole)

    def reset(self) -> None:
        """Make the dataset whole again."""
        shutil.rmtree(self.dataset, ignore_errors=True)
        shutil.copytree(self.whole, self.dataset)

    def read(self, path: str) -> bytes:
        """A file as it was packed."""
        return (self.whole / path).read_bytes()

    def write(self, path: str, data: bytes) -> None:
        """Put other bytes there."""
        (self.dataset / path).write_bytes(data)

    def regions(self, shard: str) -> list[Region]:
        """What lies where in a shard."""
        return _regions(self.whole, shard)

    def of_kind(self, what: str) -> list[Region]:
        """The regions of one kind in all shards."""
        return [region for shard in self.shards for region in self.regions(shard) if region.what == what]

    def keys_in(self, shard: str, start: int, end: int) -> set[str]:
        """Keys of the samples that a range of a shard touches."""
        return {r.key for r in self.regions(shard) if r.key is not None and r.start < end and start < r.end}

    def groups(self, shard: str) -> dict[str, tuple[int, int]]:
        """Key -> where the sample begins and ends."""
        found: dict[str, tuple[int, int]] = {}
        for region in self.regions(shard):
            if region.key is not None:
                found[region.key] = (found.get(region.key, (region.start, 0))[0], region.end)
        return found

    def write_manifest(self, data: bytes, *, listed: bool = False) -> None:
        """Put another manifest there; ``listed`` makes the checksum list agree with it."""
        self.write(MANIFEST_PATH, data)
        if listed:
            sums = {line.path: line.digest for line in parse_sums(self.read(SUMS_PATH))}
            self.write(SUMS_PATH, render_sums({**sums, MANIFEST_PATH: sha256_hex(data)}))


@functools.cache
def _regions(dataset: Path, shard: str) -> list[Region]:
    return shard_regions(dataset, shard)


def make_scene(folder: Path) -> Scene:
    """Two versions of a small dataset: three shards of train, one of val, a skipped image; one sample is another."""
    whole = make_dataset(folder)
    source = write_city_pairs(folder / "later", train=14, val=4, damaged=True)
    (source / "img/train/oslo/4.jpg").write_bytes(tiny_jpeg(4_000))
    options = make_options(like=str(whole / MANIFEST_PATH), name="damaged pairs", version=2)
    run_pack(FolderSource(str(source)), str(folder / "other"), options, executor=Serial())
    scene = Scene(whole, folder / "other", folder / "copy")
    scene.reset()
    return scene
