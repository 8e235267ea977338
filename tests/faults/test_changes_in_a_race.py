"""Two changes of one dataset at once: the one that comes second says so, and puts nothing back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.city_pairs import write_city_pairs
from tests.support.damaged_dataset import make_dataset
from tests.support.memory_disk import folder_in_memory
from wdstools.dataset import Dataset, open_dataset
from wdstools.errors import BusyError, FormatError, StoreError
from wdstools.landing.staging import staged
from wdstools.ops.append import plan_append
from wdstools.ops.remove import plan_remove
from wdstools.ops.repair import plan_repair
from wdstools.ops.verify import verify_path
from wdstools.plan import apply
from wdstools.reader.select import Selection
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(name="place")
def _place() -> Iterator[Path]:
    with folder_in_memory() as folder:
        make_dataset(folder)
        write_city_pairs(folder / "more", train=40, val=2)
        yield folder / "dataset"


def remove_one(place: Path) -> None:
    key = next(iter(open_dataset(str(place))["train"].keys()))
    apply(plan_remove(str(place), Selection(keys=frozenset([key]))))


PLANS: dict[str, Callable[[Path], object]] = {
    "remove": lambda place: plan_remove(str(place), Selection(keys=frozenset(["x"]))),
    "append": lambda place: plan_append(str(place), str(place.parent / "more")),
}


@pytest.mark.parametrize("name", PLANS)
def test_indexes_that_another_change_has_replaced_are_no_damage(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is done, or still at it, when the indexes are read that the manifest read before names."""
    read = Dataset.index

    def late(dataset: Dataset, *given: object) -> object:
        monkeypatch.setattr(Dataset, "index", read)
        remove_one(place)
        raise FormatError("an index is not what the manifest says", code="index-damaged", where=dataset.metadata.url)

    monkeypatch.setattr(Dataset, "index", late)
    with pytest.raises(StoreError) as caught:
        PLANS[name](place)
    assert caught.value.code == "dataset-replaced"

    def meanwhile(dataset: Dataset, *given: object) -> object:
        raise FormatError("an index is not what the manifest says", code="index-damaged", where=dataset.metadata.url)

    monkeypatch.setattr(Dataset, "index", meanwhile)
    with locked_folder(str(place / ".wdstools"), str(place)), pytest.raises(BusyError):
        PLANS[name](place)
    with pytest.raises(FormatError) as damaged:
        PLANS[name](place)
    assert damaged.value.code == "index-damaged"


def test_a_repair_that_was_planned_before_a_removal_puts_nothing_back(place: Path) -> None:
    copy = Path(shutil.copytree(place, place.with_name("copy")))
    shard = next(iter(sorted(place.glob("train/*.tar"))))
    data = shard.read_bytes()
    shard.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])
    plan = plan_repair(str(place), spares=[str(copy)])
    assert plan.steps
    shutil.rmtree(place)
    shutil.copytree(copy, place)
    remove_one(place)
    then = open_dataset(str(place)).root
    with pytest.raises(StoreError) as caught:
        apply(plan)
    assert caught.value.code == "dataset-replaced"
    assert open_dataset(str(place)).root == then
    assert verify_path(str(place)).ok


@pytest.mark.parametrize("stranger", [False, True])
def test_repair_clears_what_a_killed_change_has_left(place: Path, *, stranger: bool) -> None:
    root = open_dataset(str(place)).root
    pid = os.fork()
    if pid == 0:
        with staged(str(place), ["train/half.tar"]) as work:
            Path(work, "half.tar.wdstools-tmp").write_bytes(b"")
            os._exit(0)
    os.waitpid(pid, 0)
    stage = place / ".wdstools/staged"
    (stage / "new/half.tar.wdstools-tmp").unlink()
    assert stage.exists()
    if stranger:
        (stage / "new/mine").write_text("precious")
        with pytest.raises(StoreError) as caught:
            apply(plan_repair(str(place)))
        assert caught.value.code == "scratch-not-ours"
        assert (stage / "new/mine").read_text() == "precious"
    else:
        plan = plan_repair(str(place))
        assert [step.path for step in plan.steps] == [".wdstools/staged"]
        apply(plan)
        assert not stage.exists()
        assert plan_repair(str(place)).steps == ()
    assert open_dataset(str(place)).root == root
