"""The changes that `make mutants` makes: each is one, each is of what runs, and the same seed makes the same."""

from __future__ import annotations

import ast
import difflib
import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.mutants import __main__ as mutants
from tests.mutants.changes import changes
from tests.mutants.choice import Asked, Chooser
from tests.mutants.put import Functions
from tests.mutants.reached import marked
from tests.mutants.rooms import ROOMS, ROOT, files_of_tests, modules, room_of
from tests.support.came import came

if TYPE_CHECKING:
    from pathlib import Path

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


def test_changes_that_say_the_same_have_names_of_their_own() -> None:
    found = changes("def f(a):\n    return a[1] + a[1 + 1]\n")
    names = [change.name for change in found if change.text == "1 -> 2"]
    assert names == ["f: 1 -> 2", "f: 1 -> 2 (2)", "f: 1 -> 2 (3)"]


@pytest.mark.parametrize(
    "line",
    [
        "raise AssertionError",
        "zip(a, b, strict=True)",
        "a.reshape(-1, b)",
        "a.astype(b, copy=False)",
        "raise ValueError(a[:80])",
        "say(got=repr(a[:80]))",
    ],
)
def test_nothing_is_changed_that_nobody_can_notice(line: str) -> None:
    found = changes(f"def f(a, b):\n    {line}\n")
    assert {change.text.rpartition("-> ")[2] for change in found} <= {"pass"}
    assert bool(found) is (line != "raise AssertionError")


def test_what_is_explained_is_a_change_that_is_made() -> None:
    explained = mutants.explained()
    of = {line.partition(" ")[0] for line in explained}
    made = {f"{module} {change.name}" for module in of for change in changes((ROOT / module).read_text())}
    assert explained <= made


def test_the_same_seed_makes_the_same_changes_and_another_others() -> None:
    only = ["wdstools/formats/sums.py", "wdstools/reader/order.py"]
    assert mutants.sample(1, only) == mutants.sample(1, only)
    assert mutants.sample(1, only) != mutants.sample(2, only)
    assert {module for module, _ in mutants.sample(1, only)[:2]} == set(only)


def test_every_room_has_its_share_from_the_first_changes_on() -> None:
    firsts = [next(module for module in modules([]) if room_of(module) == room) for room in ROOMS]
    drawn = mutants.sample(3, [*firsts, "wdstools/checks/shard.py"])
    assert Counter(room_of(module) for module, _ in drawn[:15]) == dict.fromkeys(ROOMS, 3)
    assert len(drawn) == sum(len(changes((ROOT / module).read_text())) for module in {module for module, _ in drawn})


@pytest.mark.parametrize("kind", ["unit", "properties", "golden", "hostile", "faults", "integration", "servers"])
def test_each_kind_of_tests_is_asked(kind: str) -> None:
    assert all(file.startswith(f"tests/{kind}/") for file in came(files_of_tests([kind])))


def test_files_of_tests_may_be_named() -> None:
    one = "tests/unit/test_mutants.py"
    assert files_of_tests([one]) == [one]
    assert files_of_tests([one, "golden"]) == [one, *files_of_tests(["golden"])]


LIVE = '''
"""What a module says."""
from __future__ import annotations
import functools
LIMIT = 3
def plain(n, least=1):
    """What a function says."""
    if n > LIMIT:
        return [each + least for each in range(n)]
    return []
def counter(step):
    def count(n):
        return n + step
    return count
class Shape:
    sides = 4
    @functools.lru_cache
    def area(self, n):
        return n * n
'''


def _loaded(path: Path, text: str = LIVE) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(ast.parse(text), str(path), "exec"), names)  # noqa: S102
    return names


def _put(path: Path, text: str) -> bool:
    """Make the one change of that text in what is loaded."""
    (change,) = [each for each in changes(LIVE) if each.text == text]
    before, after = (compile(tree, str(path), "exec") for tree in (ast.parse(LIVE), change.tree(LIVE)))
    return Functions({str(path)}).put(str(path), before, after)


def test_every_reference_to_a_function_sees_it_change(tmp_path: Path) -> None:
    path = tmp_path / "live.py"
    live = _loaded(path)
    plain, by_two, area = live["plain"], live["counter"](2), live["Shape"]().area
    assert _put(path, "each + least -> each - least")
    assert plain(4) == [-1, 0, 1, 2]
    assert _put(path, "n + step -> n - step")
    assert (by_two(5), live["counter"](1)(5)) == (3, 4)
    assert _put(path, "n * n -> n // n")
    assert area(7) == 1


@pytest.mark.parametrize("text", ["3 -> 4", "1 -> 2", "4 -> 5"])
def test_what_runs_when_a_module_is_loaded_is_not_put_into_one_that_is(tmp_path: Path, text: str) -> None:
    live = _loaded(tmp_path / "live.py")
    assert not _put(tmp_path / "live.py", text)
    assert live["LIMIT"] == 3
    assert live["plain"](4) == [1, 2, 3, 4]


def test_marks_say_which_statements_were_reached_and_change_nothing(tmp_path: Path) -> None:
    text, count = marked(LIVE, 10)
    reached = bytearray(10 + count)
    live = _loaded(tmp_path / "live.py", text.replace("from _mutants_reached import reached as _reached_", ""))
    live["_reached_"] = reached
    assert (live["__doc__"], live["plain"].__doc__) == ("What a module says.", "What a function says.")
    assert (live["plain"](1), live["counter"](2)(5)) == ([], 7)
    found = {change.text: reached[10 + change.statement] for change in changes(LIVE) if change.statement is not None}
    assert found == {
        "n > LIMIT -> n >= LIMIT": 1,
        "if n > LIMIT: return [each + least for each in range(n)] -> if False: return [each + least for each in range(n)]": 0,
        "each + least -> each - least": 0,
        "n + step -> n - step": 1,
        "n * n -> n // n": 0,
    }


def test_a_test_that_noticed_is_asked_first_and_no_more_than_there_is_time_for() -> None:
    change = changes(SOURCE)[0]
    tests = [Asked(f"tests/unit/test_{name}.py::test_it[{at}]", 1.0 + at, 1, True) for name in "ab" for at in range(5)]
    chooser = Chooser(3.0)
    assert [test.seconds for test in chooser.order(tests, "one.py", change)] == [1.0, 1.0]
    chooser.has_noticed(tests[2].name, "one.py", change)
    assert chooser.order(tests, "one.py", change)[0] == tests[2]
    assert tests[2] not in chooser.order(tests, "other.py", change)


@pytest.mark.slow
def test_a_change_that_matters_is_noticed_and_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.mutants", "--state", str(tmp_path), "--tests", "golden", "--workers", "1"]
    only = ["--only", "wdstools/formats/headers.py", "--each", "2", "--seconds", "600"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *only], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    results = tmp_path / "results.jsonl"
    kept = results.read_text().splitlines(keepends=True)
    assert "noticed" in {json.loads(line)["word"] for line in kept}, done.stderr
    assert f"{len(kept)} changes" in done.stdout.splitlines()[-1]
    results.write_text("".join(kept[:-1]))
    again = subprocess.run(
        [*command, *only, "--resume"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert again.stdout.splitlines()[-1].startswith("1 changes"), again.stderr
    places = [json.loads(line)["place"] for line in results.read_text().splitlines()]
    assert sorted(places) == sorted(json.loads(line)["place"] for line in kept)
