"""Every fault of the matrix: found, named, repaired from a copy; and docs/faults.md says so."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.matrix.catalogue import FAULTS
from tests.faults.matrix.scene import make_scene
from tests.faults.matrix.shard_faults import BLOCK, SAMPLES, SHARD_FAULTS, cut
from tests.faults.matrix.trial import mend, try_fault
from tests.faults.report import make_rows, render
from tests.support.memory_disk import folder_in_memory
from wdstools.checks.stream import check_stream
from wdstools.ops.verify import verify_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.matrix.scene import Fault, Scene

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
#: All but samples moved whole, which a shard alone cannot know.
INSIDE = [fault for fault in SHARD_FAULTS if fault.group != SAMPLES]
EACH = pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.group}: {fault.name}" for fault in FAULTS])


@pytest.fixture(scope="module", name="scene")
def _scene() -> Iterator[Scene]:
    with folder_in_memory() as folder:
        yield make_scene(folder)


@EACH
def test_the_fault_is_named_and_repaired(scene: Scene, fault: Fault) -> None:
    trial = try_fault(scene, fault, 0)
    assert (trial.unnamed, trial.unmended) == ("", "")


@pytest.mark.slow
@EACH
def test_the_fault_is_named_and_repaired_wherever_it_is(scene: Scene, fault: Fault) -> None:
    trials = [try_fault(scene, fault, case) for case in range(1, 40 if fault.many else 1)]
    assert [str(trial) for trial in trials if trial.unnamed or trial.unmended] == []


@pytest.mark.parametrize("fault", INSIDE, ids=[f"{fault.group}: {fault.name}" for fault in INSIDE])
def test_the_fault_is_found_in_the_lone_shard_by_its_own_headers(scene: Scene, fault: Fault) -> None:
    for case in range(5):
        scene.reset()
        (shard,) = fault.apply(scene, random.Random(case)).paths
        assert check_stream([(scene.dataset / shard).read_bytes()], shard).findings, case


@pytest.mark.slow
def test_a_shard_cut_at_any_block_is_named_and_repaired(scene: Scene) -> None:
    wrong = []
    for shard in scene.shards:
        for size in range(0, len(scene.read(shard)), BLOCK):
            scene.reset()
            unnamed = cut(scene, shard, size).unlike(verify_path(str(scene.dataset)))
            if why := unnamed or mend(scene):
                wrong.append(f"{shard} cut to {size}: {why}")
    assert wrong == []


def test_no_two_faults_are_called_the_same() -> None:
    assert len({(fault.group, fault.name) for fault in FAULTS}) == len(FAULTS)


def test_the_document_lists_every_fault_and_all_of_them_are_named_and_repaired() -> None:
    listed: list[tuple[str, str]] = []
    group = ""
    for line in DOCUMENT.read_text("utf-8").splitlines():
        if line.startswith("## "):
            group = line[3:].lower()
        elif group and line.startswith("| ") and not line.startswith("| fault"):
            name, named, repaired = (cell.strip() for cell in line.split("|")[1:4])
            assert len({*named.split(" of "), *repaired.split(" of ")}) == 1, line
            listed.append((group, name))
    assert listed == [(fault.group.lower(), fault.name) for fault in FAULTS], "run: make faults"


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_the_document_is_what_happens() -> None:
    assert DOCUMENT.read_text("utf-8") == render(make_rows()), "run: make faults"
