"""All verbs, one after another on a small dataset: their results must not depend on the executor."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import wdstools as wt
from wdstools.ops.demo.source import make_source
from wdstools.ops.scan import scan
from wdstools.progress import Silent

if TYPE_CHECKING:
    from wdstools.executors.base import Executor


def make_images(folder: str, samples: int = 120) -> str:
    """A source with copies and a few faults."""
    make_source(folder, samples, executor=wt.open_executor("serial"), progress=Silent())
    return folder


def damage(folder: str) -> list[str]:
    """Flip bytes in one shard and delete another; returns their names."""
    shards = sorted(name for name in os.listdir(f"{folder}/train") if name.endswith(".tar"))
    with open(f"{folder}/train/{shards[0]}", "r+b") as file:
        file.seek(700)
        byte = file.read(1)
        file.seek(700)
        file.write(bytes([byte[0] ^ 255]))
    os.unlink(f"{folder}/train/{shards[1]}")
    return shards[:2]


def run_verbs(source: str, folder: str, executor: Executor | None) -> dict[str, Any]:
    """The result of each verb, by name; ``folder`` must not exist."""
    os.makedirs(folder)
    place = f"{folder}/shards"
    packed = wt.pack(source, place, executor=executor, shard_samples=25, name="alike")
    found: dict[str, Any] = {"pack": (packed.root, dict(packed.samples), dict(packed.skipped))}
    whole = wt.verify(place, executor=executor, level="samples")
    groups = wt.find_duplicates(place, executor=executor, cache=f"{folder}/hashes")
    found["verify"] = (whole.findings, dict(whole.checked))
    found["duplicates"] = sorted(map(repr, groups.groups))
    shutil.copytree(place, f"{folder}/copy")
    damage(place)
    found["verify, damaged"] = wt.verify(place, executor=executor, level="samples").findings
    mended = wt.repair(place, executor=executor, spares=[f"{folder}/copy"])
    found["repair"] = (type(mended).__name__, wt.open_dataset(place).root)
    found["verify, mended"] = wt.verify(place, executor=executor).findings
    shutil.copytree(f"{place}/train", f"{folder}/theirs/train")
    adopted = wt.adopt(f"{folder}/theirs", f"{folder}/adopted", executor=executor, name="theirs")
    found["adopt"] = (adopted.root, adopted.hazards)
    extracted = wt.extract(place, f"{folder}/files", executor=executor)
    found["extract"] = (extracted.files, extracted.bytes)
    pulled = wt.pull(place, f"{folder}/pulled", executor=executor)
    found["pull"] = pulled.root
    found["scan"] = dict(scan(source).samples)
    return found


def must_find(found: dict[str, Any]) -> None:
    """Assert that the verbs had something to find."""
    assert found["verify"][0] == ()
    assert found["verify"][1]["shards"] > 4
    assert found["duplicates"]
    assert len({finding.path for finding in found["verify, damaged"]}) == 2
    assert found["repair"][1] == found["pack"][0]
    assert found["verify, mended"] == ()
