"""repair, remove and extract are told to stop by a signal, as a user or a batch system does it; started again they finish."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.changes import CHANGES, chosen_keys
from tests.support.command import assert_clean_failure, run_command, stop_at
from tests.support.memory_disk import folder_in_memory
from tests.support.outcome import snapshot
from wdstools.stores.abilities import TEMP_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.changes import Change

WRITES = ("-j", "2", "--json")
REPAIR = ("repair", "place", "--from", "dataset", "-y")
REMOVE = ("remove", "place", "--keys", "keys", "-y")
IN_PLACE, TO_NEW = (*REMOVE, "--in-place"), (*REMOVE, "-o", "made")
EXTRACT = ("extract", "place", "made")
#: The command, and the write before which it is held: in a worker, between two steps, and right before the last one.
#: A line's end ends the name: without it temporary names are meant, too.
PLACES = [
    ("repair", REPAIR, "os.write"),
    ("repair", REPAIR, "os.rename place/train/train-000000.tar"),
    ("repair", REPAIR, "os.rename place/README.md"),
    ("remove-in-place", IN_PLACE, "os.rename place/.wdstools/staged/new/train/"),
    ("remove-in-place", IN_PLACE, "os.rename place/.wdstools/staged/commit.json"),
    ("remove-in-place", IN_PLACE, "os.unlink place/.wdstools/manifest.json"),
    ("remove-in-place", IN_PLACE, "os.rename place/.wdstools/staged/new/.wdstools/manifest.json\n"),
    ("remove-to-new", TO_NEW, f"os.rename made{TEMP_SUFFIX}/new/train"),
    ("remove-to-new", TO_NEW, f"os.rename made{TEMP_SUFFIX}/new/SHA256SUMS"),
    ("extract", EXTRACT, "builtins.open"),
    ("extract", EXTRACT, f"os.rename made{TEMP_SUFFIX}/new"),
]
CODES = {signal.SIGINT: {130}, signal.SIGTERM: {-signal.SIGTERM}}


@pytest.fixture(scope="module", name="work")
def _work() -> Iterator[Path]:
    with folder_in_memory() as folder:
        yield folder


@pytest.fixture(scope="module", name="make")
def _make(work: Path) -> Callable[[str], Change]:
    made: dict[str, Change] = {}

    def make(name: str) -> Change:
        if name not in made:
            made[name] = CHANGES[name](work)
            (work / "keys").write_text("\n".join(chosen_keys(work / "dataset")))
        made[name].reset()
        return made[name]

    return make


def _cases() -> Iterator[object]:
    """Every place with both signals, to the command alone and to all its processes; one of the four is quick."""
    ways = [(number, kill) for number in (signal.SIGTERM, signal.SIGINT) for kill in (os.kill, os.killpg)]
    for turn, (change, command, place) in enumerate(PLACES):
        for way, (number, kill) in enumerate(ways):
            marks = () if way == turn % len(ways) else pytest.mark.slow
            name = f"{command[0]} before {place.strip()}, {number.name} by {kill.__name__}"
            yield pytest.param(change, command, place, number, kill, marks=marks, id=name)


@pytest.mark.parametrize(("change", "command", "place", "number", "kill"), list(_cases()))
def test_a_change_told_to_stop_leaves_the_old_or_the_new_and_the_same_command_finishes_it(
    change: str,
    command: tuple[str, ...],
    place: str,
    number: signal.Signals,
    kill: Callable[[int, int], None],
    work: Path,
    make: Callable[[str], Change],
) -> None:
    made = make(change)
    code, err = stop_at(place, (*command, *WRITES), work, lambda process: kill(process, number))
    assert code in CODES[number], err
    assert b"Traceback" not in err
    assert made.state() in {made.before, "absent"}
    again = run_command(*command, *WRITES, cwd=work)
    assert (again.code, again.err) == (0, "")
    assert made.state() == made.done
    assert [str(path) for path in work.rglob("*") if path.name.endswith((TEMP_SUFFIX, ".partial", "staged"))] == []


@pytest.mark.parametrize("command", [TO_NEW, EXTRACT])
def test_a_new_folder_that_another_process_is_making_is_refused_and_left_alone(
    command: tuple[str, ...], work: Path, make: Callable[[str], Change]
) -> None:
    make("extract")

    def look_and_stop(process: int) -> None:
        before = snapshot(work)
        refused = run_command(*command, *WRITES, cwd=work)
        assert_clean_failure(refused, 6)
        assert snapshot(work) == before
        os.kill(process, signal.SIGKILL)

    code, _ = stop_at(f"os.rename made{TEMP_SUFFIX}/new", (*EXTRACT, *WRITES), work, look_and_stop)
    assert code == -signal.SIGKILL
    assert run_command(*command, *WRITES, cwd=work).code == 0
