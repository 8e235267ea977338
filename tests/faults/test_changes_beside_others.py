"""repair, remove and extract beside readers and other writers, and on a disk that is full."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.changes import CHANGES, Extract, RemoveInPlace, Repair
from tests.support.command import assert_clean_failure, run_command
from tests.support.memory_disk import folder_in_memory
from tests.support.outcome import snapshot
from tests.support.small_disk import grow, small_disk
from tests.support.write_points import WritePoints
from wdstools.dataset import open_dataset
from wdstools.errors import StoreError, WdsError
from wdstools.ops.verify import verify_path
from wdstools.stores.locks import locked_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(name="work")
def _work() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


@pytest.mark.parametrize("change", [name for name in CHANGES if name != "append-and-divide"])
@pytest.mark.parametrize("step", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_a_reader_at_any_moment_finds_the_old_or_the_new_or_nothing(work: Path, change: str, step: int) -> None:
    made = CHANGES[change](work)
    step *= made.stride if step > 1 else 1
    found: list[str] = []
    for point in itertools.count(step, step):
        made.reset()
        with WritePoints(point, lambda: found.append(made.state())) as points:
            made.act()
        if points.seen < point:
            break
    assert set(found) <= {made.before, made.done, "absent"}
    assert found == sorted(found, key=[made.before, "absent", made.done].index) or step == 1
    assert made.state() == made.done


def test_a_reader_that_was_at_work_goes_on_with_the_old_samples_or_is_told(work: Path) -> None:
    change = RemoveInPlace(work)
    old = {sample.key: dict(sample) for sample in open_dataset(str(change.whole))["train"]}
    change.reset()
    reader = iter(open_dataset(str(change.place))["train"])
    seen = [next(reader)]
    change.act()
    told = ""
    try:
        for sample in reader:
            seen.append(sample)  # noqa: PERF402  what came before an error counts
    except WdsError as error:
        told = error.code
    assert told in ("dataset-replaced", "not-found") or len(seen) == len(old)
    assert all(dict(sample) == old[sample.key] for sample in seen)


@pytest.mark.parametrize("command", [("repair", "-y"), ("remove", "--where", "width > 30", "--in-place", "-y")])
def test_a_second_writer_is_refused_and_changes_nothing(work: Path, command: tuple[str, ...]) -> None:
    place = Repair(work).place if command[0] == "repair" else RemoveInPlace(work).place
    if command[0] != "repair":
        shutil.rmtree(place)
        shutil.copytree(work / "dataset", place)
    else:
        (place / "README.md").write_text("")
    with locked_folder(str(place / ".wdstools"), str(place)):
        before = snapshot(place)
        ran = run_command(command[0], place, *command[1:], "--json")
        assert_clean_failure(ran, 6)
        assert ran.error["code"] == "busy"
        assert snapshot(place) == before


def test_on_a_full_disk_nothing_is_lost_and_the_change_is_made_when_there_is_room(work: Path, tmp_path: Path) -> None:
    whole = Repair(work).whole
    with small_disk(tmp_path / "disk", 8192) as disk:
        for name, arguments in {
            "repair": ("--from", whole, "-y"),
            "remove": ("--where", "width > 30", "--in-place", "-y"),
        }.items():
            grow(disk, 8192)
            place = Path(shutil.copytree(whole, disk / name))
            shard = place / "train/train-000001.tar"
            data = shard.read_bytes()
            if name == "repair":
                shard.write_bytes(data[:600] + b"x" + data[601:])
            free = shutil.disk_usage(disk).free
            grow(disk, 8192 - free // 1024 + 8)  # two pages are left
            before = {path: value for path, value in snapshot(place).items() if not path.endswith("lock")}
            ran = run_command(name, place, *arguments, "--json")
            assert_clean_failure(ran, 4)
            assert ran.error["code"] == "disk-full"
            after = snapshot(place)
            assert {path: after[path][3] for path in before} == {path: value[3] for path, value in before.items()}
            grow(disk, 8192)
            assert run_command(name, place, *arguments).code == 0
            assert verify_path(str(place)).ok
            shutil.rmtree(place)


def test_extracting_to_a_full_disk_leaves_nothing_under_the_final_name(work: Path, tmp_path: Path) -> None:
    change = Extract(work)
    with small_disk(tmp_path / "disk", 16) as disk:
        ran = run_command("extract", change.whole, disk / "files", "--json")
        assert_clean_failure(ran, 4)
        assert ran.error["code"] == "disk-full"
        assert list(disk.iterdir()) == []
        grow(disk, 8192)
        assert run_command("extract", change.whole, disk / "files").code == 0


#: What reads a dataset that was opened before it was changed.
READ: dict[str, Callable[[wt.Dataset, Path], object]] = {
    "index": lambda dataset, _: [dataset.index(entry) for _, entry in dataset.manifest.shards],
    "stats": lambda dataset, _: wt.stats(dataset),
    "duplicates": lambda dataset, _: wt.find_duplicates(dataset, level="exact"),
    "numbers": lambda dataset, _: list(dataset["train"]),
    "stream": lambda dataset, _: list(wt.stream(dataset)),
    "loader": lambda dataset, _: list(wt.loader(dataset, batch_size=2, image_size=8)),
    "extract": lambda dataset, work: wt.extract(dataset, work / "extracted"),
    "pull": lambda dataset, work: wt.pull(dataset, work / "pulled"),
    "mirror": lambda dataset, work: wt.mirror(dataset, str(work / "mirror")),
}


def test_whatever_reads_what_was_replaced_says_so_and_calls_nothing_damaged(work: Path) -> None:
    change = RemoveInPlace(work)
    change.reset()
    datasets = {name: wt.open_dataset(change.place) for name in READ}
    change.act()
    for name, read in came(READ.items()):
        with pytest.raises(StoreError) as caught:
            read(datasets[name], work)
        assert caught.value.code == "dataset-replaced", name
