"""The contest: which loaders there are, what each needs, and taking them in turn."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.peers.environments import is_ready, packages_of, python_of
from wdstools.errors import UsageError
from wdstools.ops.bench.clock import Tally, in_turn, rate_of, ratio_of
from wdstools.ops.bench.limits import decode_images
from wdstools.ops.bench.peers import peer_path, run_peer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from wdstools.dataset import Dataset

_HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = "two tight decoder loops"
BATCH_SIZE, THREADS = 64, 2
#: Peers that make a copy of their own before they read.
_PREPARING = ("grain", "litdata", "streaming", "energon")
#: Work that the decoder limits.
_DECODING = ("batches", "pipeline")
_IMAGES = 2_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender of one discipline."""

    peer: str
    variant: str

    @property
    def name(self) -> str:
        """As it stands in results."""
        return f"{self.peer}, {self.variant}"


@dataclass(frozen=True, slots=True)
class Contest:
    """Where everything is. ``versions`` and ``first_ms`` are filled by the runs, ``failed`` says who did not run."""

    dataset: Dataset
    environments: str
    scratch: str
    versions: dict[str, str] = field(default_factory=dict)
    first_ms: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def shards(self) -> list[str]:
        """The shards of train."""
        return [
            os.path.abspath(f"{self.dataset.shards.url}/{entry.path}")
            for entry in self.dataset.manifest.splits["train"]
        ]

    def task(self, peer: str, **options: Any) -> dict[str, Any]:
        """What a peer is told."""
        return {
            "dataset": self.dataset.shards.url,
            "shards": self.shards,
            "files": f"{self.scratch}/files",
            "prepared": f"{self.scratch}/{peer}",
            "scratch": self.scratch,
            "batch_size": BATCH_SIZE,
            "threads": THREADS,
            **options,
        }

    def run(self, peer: str, **options: Any) -> dict[str, Any]:
        """One run of a peer in its environment; ours runs in this one."""
        python = sys.executable if peer == "wdstools" else python_of(self.environments, peer)
        kind = "pipeline" if options["work"] == "pipeline" else "peer"
        own = os.path.join(_HERE, f"{kind}_{peer}.py")
        return run_peer(python, own if os.path.exists(own) else peer_path(peer), self.task(peer, **options))

    def prepare(self, peers: Sequence[str]) -> None:
        """Loose files, and every peer's own copy, as far as they are not there."""
        _unpack(self.dataset, f"{self.scratch}/files")
        if is_ready(self.environments, "webdataset"):
            os.environ["CLIP_PACKAGES"] = packages_of(self.environments, "webdataset")
        for peer in peers:
            if peer != "wdstools" and not is_ready(self.environments, peer):
                self.failed[peer] = "could not be installed here"
            elif peer in _PREPARING and not os.path.exists(f"{self.scratch}/{peer}.ready"):
                sys.stderr.write(f"preparing {peer} ...\n")
                shutil.rmtree(f"{self.scratch}/{peer}", ignore_errors=True)
                self.run(peer, work="prepare")
                with open(f"{self.scratch}/{peer}.ready", "w", encoding="utf-8"):
                    pass

    def race(self, entries: Sequence[Entry], seconds: float, rounds: int, **options: Any) -> dict[str, list[Tally]]:
        """Everybody in turn; who fails in a first short run, before the first race, stays out; ``failed`` says why."""
        works: dict[str, Callable[[float], Tally]] = {}
        for entry in entries:
            if entry.peer in self.failed:
                continue
            work = partial(self._work, entry, options)
            try:
                if entry.peer not in self.versions:
                    work(0.2)
            except UsageError as error:
                sys.stderr.write(f"{entry.name}: {error}\n")
                self.failed[entry.peer] = error.got
            else:
                works[entry.name] = work
        if options["work"] in _DECODING:
            works[LIMIT] = partial(decode_images, self._images(), "jpg", THREADS)
        return in_turn(works, seconds * rounds, rounds)

    def _work(self, entry: Entry, options: Mapping[str, Any], seconds: float) -> Tally:
        sys.stderr.write(f"{options['work']}: {entry.name}\n")
        found = self.run(entry.peer, variant=entry.variant, seconds=seconds, **options)
        self.versions[entry.peer] = found["version"]
        if options["work"] == "batches":
            self.first_ms.setdefault(entry.name, []).append(found["first_ms"])
        return Tally(found["count"], found["seconds"], found["cpu_seconds"])

    def _images(self) -> list[bytes]:
        train = self.dataset["train"]
        return [train[number]["jpg"] for number in range(0, len(train), max(1, len(train) // _IMAGES))]


def _unpack(dataset: Dataset, folder: str) -> None:
    """Every sample as two files, numbered in the order of the shards."""
    if os.path.exists(folder):
        return
    making = f"{folder}.making"
    shutil.rmtree(making, ignore_errors=True)
    os.makedirs(making)
    for number, sample in enumerate(dataset["train"]):
        for extension in ("jpg", "txt"):
            with open(f"{making}/{number:07d}.{extension}", "wb") as file:
                file.write(sample[extension])
    os.rename(making, folder)


def figures(found: Mapping[str, Sequence[Tally]], base: str) -> dict[str, dict[str, float]]:
    """Of everybody: samples a second, times ``base``, and the share of the decoder's limit where it ran too."""
    rows = {}
    for name, tallies in found.items():
        rows[name] = {"samples_per_s": rate_of(tallies), "times": ratio_of(tallies, found[base])}
        if LIMIT in found:
            rows[name]["of_limit"] = ratio_of(tallies, found[LIMIT])
    return rows
