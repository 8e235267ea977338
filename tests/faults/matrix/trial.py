"""One fault tried on a dataset: is it found, is the right place named, is it mended from a copy."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.outcome import contents
from wdstools.dataset import open_dataset
from wdstools.errors import WdsError
from wdstools.ops.repair import plan_repair
from wdstools.ops.verify import verify_path
from wdstools.plan import apply

if TYPE_CHECKING:
    from tests.faults.matrix.scene import Fault, Scene


@dataclass(frozen=True)
class Trial:
    """What became of one fault: each is empty where it went well, else says why not."""

    fault: Fault
    case: int
    unnamed: str
    unmended: str = ""

    def __str__(self) -> str:
        wrong = [text for text in (self.unnamed, self.unmended) if text]
        return f"{self.fault.group}: {self.fault.name}, case {self.case}: {'; '.join(wrong)}"


def damage(scene: Scene, fault: Fault, case: int) -> str:
    """Damage the scene's dataset; why verify's report is not what it must be, empty if it is."""
    scene.reset()
    expected = fault.apply(scene, random.Random(f"{fault.group}:{fault.name}:{case}"))
    try:
        return expected.unlike(verify_path(str(scene.dataset)))
    except WdsError as error:
        return f"an error instead of findings: {error}"


def mend(scene: Scene) -> str:
    """Repair the dataset from its copy; why it is not what it was, empty if it is, to the byte."""
    root = open_dataset(str(scene.whole)).root
    try:
        apply(plan_repair(str(scene.dataset), spares=[str(scene.whole)], root=root, delete=True))
    except WdsError as error:
        return f"not repaired: {error}"
    if open_dataset(str(scene.dataset)).root != root:
        return "repaired to another root digest"
    whole, mended = contents(scene.whole), contents(scene.dataset)
    wrong = sorted(path for path, data in whole.items() if mended.get(path) != data)
    left = sorted(mended.keys() - whole.keys())
    return f"not as it was: {wrong}, left over: {left}" if wrong or left else ""


def try_fault(scene: Scene, fault: Fault, case: int) -> Trial:
    """Damage, verify, repair, compare."""
    unnamed = damage(scene, fault, case)
    return Trial(fault, case, unnamed, mend(scene))
