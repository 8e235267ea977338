"""The locks: every file that the demo, the tests and CI install is known by its hash, and known for today's requirements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lock.made_of import DEMO, EVERYTHING, MADE_OF, ROOT, SERVERS, digest, hashed, pins, requirements
from tests.support.came import came

if TYPE_CHECKING:
    from pathlib import Path

LOCKS = [EVERYTHING, DEMO, *(ROOT / f"tests/servers/requirements/{name}.txt" for name in SERVERS)]


@pytest.mark.parametrize(("lock", "extras"), [(EVERYTHING, ["dev"]), (DEMO, [])], ids=["everything", "demo"])
def test_a_lock_is_of_todays_requirements(lock: Path, extras: list[str]) -> None:
    said = f"{MADE_OF}{digest(requirements(*extras))}\n"
    assert said in lock.read_text(), "pyproject.toml has other requirements than this lock: run `make lock`"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_of_a_lock_has_hashes(lock: Path) -> None:
    assert [name for name, hashes in came(hashed(lock.read_text()).items()) if not hashes] == [], "run `make lock`"


def test_the_build_backend_is_locked() -> None:
    for lock in (EVERYTHING, DEMO):
        assert {"hatchling", "editables"} <= set(hashed(lock.read_text()))


def test_compiled_packages_are_locked_for_every_platform() -> None:
    """numpy has a file for each of Linux and macOS, x86-64 and ARM, and each Python."""
    assert len(hashed(DEMO.read_text())["numpy"]) > 20


def test_the_demos_lock_is_a_part_of_the_other() -> None:
    assert set(pins(DEMO.read_text())) < set(pins(EVERYTHING.read_text()))
    every = hashed(EVERYTHING.read_text())
    for name, hashes in came(hashed(DEMO.read_text()).items()):
        assert hashes == every[name]


def test_another_requirement_is_another_digest() -> None:
    wanted = requirements("dev")
    assert digest([*wanted, "left-pad>=1"]) != digest(wanted)
    assert "obstore>=0.9" in wanted, "an extra of the project's own is followed"
    assert not [each for each in wanted if each.startswith("wdstools")]
