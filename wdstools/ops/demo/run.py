"""demo: the main workflow from end to end on made-up photographs, each step as the command that a user would type."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import IntegrityError, StoreError
from wdstools.landing.inside import refuse_elsewhere
from wdstools.ops.demo.source import make_source
from wdstools.ops.pack import PackResult, run_pack
from wdstools.ops.verify import verify
from wdstools.planning.options import make_options
from wdstools.sources.open import open_source
from wdstools.stores.local import storage_error
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.executors.base import Executor
    from wdstools.progress import Progress

DEMO_NAME = "wdstools-demo"
DEMO_SHARD_SAMPLES = 500
_FLIPPED_BIT = 0x10

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made; there is one only if each step went as it should."""

    source: str
    dataset: str
    samples: int
    skipped: int
    root: str
    damaged_key: str


def run_demo(folder: str, samples: int, *, executor: Executor, say: Say, progress: Progress) -> DemoResult:
    """Run the demo. Everything goes below ``folder``, which must not exist; ``say`` gets each line of output.

    Raises IntegrityError if a step does not go as it should.
    """
    refuse_elsewhere(folder)
    if os.path.exists(folder):
        raise StoreError(
            "the folder already exists",
            code="destination-not-empty",
            where=folder,
            hint="choose another one, or remove it",
        )
    source, shards, damaged = f"{folder}/source", f"{folder}/shards", f"{folder}/damaged"
    say(f"# {samples:,} made-up photographs with captions, some of them faulty: {source}")
    make_source(source, samples, executor=executor, progress=progress)
    result = pack_demo(source, shards, executor=executor, progress=progress)
    say(f"\n$ wdstools pack {source} {shards} --name {DEMO_NAME} --shard-samples {DEMO_SHARD_SAMPLES}")
    say(
        f"{counted(sum(result.samples.values()), 'sample')} in {counted(result.shards, 'shard')}, root digest {result.root}"
    )
    say("skipped: " + (", ".join(f"{count} {reason}" for reason, count in result.skipped.items()) or "nothing"))
    say("identical images in two splits: " + ", ".join(f"{pair} {count}" for pair, count in result.leaks.items()))
    say(f"\n$ wdstools verify {shards}")
    dataset = open_dataset(shards)
    verify(dataset, executor=executor, progress=progress).raise_for_findings()
    say("ok")
    key = _damage(dataset, shards, damaged, say, executor, progress)
    say(f"\n$ python -c \"import wdstools as wt; print(wt.open_dataset('{shards}')['{key}'])\"")
    say(repr(dataset[key]))
    say(f"\n# every one of the {_read_back(dataset, source):,} samples read back equal to its source files")
    say(f"\n$ (cd {shards} && sha256sum -c --quiet SHA256SUMS)    # no wdstools needed")
    say(f"$ tar tvf {shards}/train/train-000000.tar | head -3     # nor here; the checksums are the owner names")
    return DemoResult(source, shards, sum(result.samples.values()), sum(result.skipped.values()), result.root, key)


def pack_demo(source: str, dest: str, *, executor: Executor, progress: Progress) -> PackResult:
    """Pack the demo's folder with the options of the golden manifest."""
    options = make_options(name=DEMO_NAME, shard_samples=DEMO_SHARD_SAMPLES)
    return run_pack(open_source(source), dest, options, executor=executor, progress=progress)


def _damage(dataset: Dataset, shards: str, damaged: str, say: Say, executor: Executor, progress: Progress) -> str:
    """Flip one bit in a copy, and check that exactly that sample is named."""
    entry = dataset.manifest.splits["train"][0]
    row = dataset.index(entry).slice(entry.samples // 2, 1).to_pylist()[0]
    at = row["members"][0]["offset"] + row["members"][0]["size"] // 2
    try:
        shutil.copytree(shards, damaged)
        with open(f"{damaged}/{entry.path}", "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ _FLIPPED_BIT]))
    except OSError as error:
        raise storage_error(error, damaged) from None
    say(f"\n# one bit of byte {at:,} of {damaged}/{entry.path} is flipped\n$ wdstools verify {damaged}")
    report = verify(open_dataset(damaged), executor=executor, progress=progress)
    for finding in report.findings:
        say(str(finding))
    if [finding.key for finding in report.findings] != [row["key"]]:
        raise IntegrityError(
            "the damage was not found where it was made", report=report, where=damaged, expected=row["key"]
        )
    return str(row["key"])


def _read_back(dataset: Dataset, source: str) -> int:
    """Compare every sample with the files it was made from."""
    count = 0
    for split in dataset.splits:
        for sample in dataset[split]:
            for folder, extension in (("img", "jpg"), ("captions", "txt")):
                path = f"{source}/{folder}/{split}/{sample.key}.{extension}"
                try:
                    with open(path, "rb") as file:
                        same = file.read() == sample[extension]
                except OSError as error:
                    raise storage_error(error, path) from None
                if not same:
                    raise IntegrityError("a sample differs from its source file", where=path)
            count += 1
    return count
