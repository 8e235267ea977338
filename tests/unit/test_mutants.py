"""The changes that `make mutants` makes: each is one, each is of what runs, and the same seed makes the same."""

from __future__ import annotations

import ast
import difflib

import pytest

from tests.mutants import __main__ as mutants
from tests.mutants.changes import changes
from tests.support.came import came

SOURCE = '''
"""A module."""
from __future__ import annotations
from typing import TYPE_CHECKING, Literal
if TYPE_CHECKING:
    LIMIT = 1
def first(n: Literal[1], *, sure: bool = True) -> int:
    """Not 2 of these."""
    if n < 3 and sure:
        raise ValueError("not", n)
    print(n)
    return n + 1 if not sure else n
'''


def test_each_change_is_of_one_place_that_runs() -> None:
    plain = ast.unparse(ast.parse(SOURCE)).splitlines()
    found = changes(SOURCE)
    assert {change.text for change in found} == {
        *("True -> False", "n < 3 and sure -> n < 3 or sure", "n < 3 -> n <= 3", "3 -> 4", "n + 1 -> n - 1", "1 -> 2"),
        *("print(n) -> pass", "raise ValueError('not', n) -> pass", "not sure -> sure"),
        "n + 1 if not sure else n -> n if not sure else n + 1",
        "if n < 3 and sure: raise ValueError('not', n) -> if False: raise ValueError('not', n)",
    }
    for change in found:
        lines = [line for line in difflib.ndiff(plain, change.made(SOURCE).splitlines()) if line[:2] in ("- ", "+ ")]
        assert len(lines) == 2, change


def test_the_same_seed_makes_the_same_changes_and_another_others() -> None:
    only = ["wdstools/formats/sums.py", "wdstools/reader/order.py"]
    assert mutants.sample(1, only) == mutants.sample(1, only)
    assert mutants.sample(1, only) != mutants.sample(2, only)
    assert {module for module, _ in mutants.sample(1, only)[:2]} == set(only)


@pytest.mark.parametrize("module", mutants.modules([]))
def test_every_module_that_is_changed_has_tests_that_are_there(module: str) -> None:
    for test in came(mutants.covering(module)):
        assert (mutants.ROOT / test).exists()
