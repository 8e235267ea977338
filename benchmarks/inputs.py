"""What is measured on: a folder of photographs in InstaCities1M's layout, and the dataset packed from it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from benchmarks.make_photos import find_photos, make_photos
from benchmarks.measure import WDSTOOLS
from wdstools import Dataset, open_dataset
from wdstools.executors.open import open_executor, processors
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Setup:
    """One run's input: ``source`` is the folder, ``scratch`` lies on the same disk, ``photos`` the originals if any.

    ``tiny`` runs are for tests: one round and no warm-up.
    """

    source: str
    scratch: str
    rounds: int
    photos: tuple[str, ...] = ()
    tiny: bool = False

    @cached_property
    def images(self) -> list[str]:
        """Every image of the source, sorted."""
        return list(find_photos(f"{self.source}/img"))

    @property
    def samples(self) -> int:
        """How many samples the source has."""
        return len(self.images)

    @property
    def shard_samples(self) -> int:
        """2,000 to 10,000, as shards of such datasets have; fewer where there would be only one shard a worker."""
        return max(min(2_000, self.samples // 10), min(10_000, self.samples // 20), 1)

    @property
    def described(self) -> str:
        """The input in a few words."""
        size = sum(map(os.path.getsize, self.images))
        kind = "crops of photographs" if self.photos else "images"
        return f"{self.samples:,} {kind} of {size / self.samples / 1000:.1f} KB in {os.path.basename(self.source)}"

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset, packed anew at the first use in a run."""
        path = f"{self.scratch}/dataset"
        for old in (path, f"{path}.partial"):
            shutil.rmtree(old, ignore_errors=True)
        pack_command = [*WDSTOOLS, "pack", self.source, path, "--shard-samples", str(self.shard_samples), "-q"]
        done = subprocess.run(pack_command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(done.stderr)
        return open_dataset(path)

    def shard_paths(self, split: str | None = None) -> list[str]:
        """Paths of the shards, of one split or of all."""
        shards = self.dataset.manifest.shards
        return [f"{self.dataset.shards.url}/{entry.path}" for name, entry in shards if split in (None, name)]

    @cached_property
    def pairs(self) -> list[list[tuple[str, str]]]:
        """For each shard the files in it, (image, caption) in shard order, below the source: what every peer gets."""
        return [
            [
                (f"img/{split}/{key}.jpg", f"captions/{split}/{key}.txt")
                for key in self.dataset.index(entry).column("key").to_pylist()
            ]
            for split, entry in self.dataset.manifest.shards
        ]

    def read_images(self, count: int) -> list[bytes]:
        """The bytes of some images that can be packed, spread over the whole dataset."""
        paths = [image for shard in self.pairs for image, _ in shard]
        return read_files([f"{self.source}/{path}" for path in paths[:: max(1, len(paths) // count)][:count]])


def read_files(paths: Sequence[str]) -> list[bytes]:
    """The bytes of some files."""
    found = []
    for path in paths:
        with open(path, "rb") as file:
            found.append(file.read())
    return found


def prepare(scratch: str, photos: str | None, samples: int, *, rounds: int, tiny: bool = False) -> Setup:
    """Make the input, or use what an earlier run made.

    ``photos`` is a folder that ``make_photos`` filled, used as it is; or one of photographs, to be cut into
    ``samples`` crops; without it the demo's images are made.
    """
    os.makedirs(scratch, exist_ok=True)
    if photos and os.path.isdir(f"{photos}/img"):
        return Setup(os.path.abspath(photos), scratch, rounds, tiny=tiny)
    name = f"photos-{os.path.basename(os.path.abspath(photos))}" if photos else "demo"
    source = f"{scratch}/{name}-{samples}"
    if not os.path.exists(source):
        making = f"{source}.making"
        shutil.rmtree(making, ignore_errors=True)
        if photos:
            make_photos(making, samples, photos)
        else:
            executor = open_executor("processes", processors())
            make_source(making, samples, executor=executor, progress=Silent())
            executor.close()
        os.rename(making, source)
    return Setup(source, scratch, rounds, find_photos(photos) if photos else (), tiny)
