"""``make mutants``: a sample of small changes, each in a copy of the tree, and the tests that ought to notice it.

``python -m tests.mutants [--seed N] [--seconds N] [--only wdstools/formats/sums.py]``. The same seed makes the same changes
in the same order; how many of them fit into the time depends on the machine. The tests of a module have to pass before it is
changed. Ends with 2 where they do not, with 1 where a change passed all tests
and is not among those that ``explained.txt`` says why nobody can notice.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import chain, zip_longest
from pathlib import Path
from typing import NamedTuple

from tests.mutants.changes import Change, changes

ROOT = Path(__file__).parents[2]
EXPLAINED = Path(__file__).parent / "explained.txt"
#: What is changed, and the tests beyond those that import a module by its name.
ROOMS = {
    "wdstools/formats": ("tests/properties", "tests/golden", "tests/hostile/test_forged_metadata.py"),
    "wdstools/reader/order.py": ("tests/properties/test_order_laws.py", "tests/integration/test_loader.py"),
    "wdstools/planning": (
        *("tests/properties/test_placement_laws.py", "tests/unit/test_sources_splits.py"),
        *("tests/integration/test_cli_determinism.py", "tests/integration/test_pack_like.py"),
        *("tests/integration/test_cli_duplicates.py", "tests/unit/test_sources_accounting.py"),
        *("tests/properties/test_uniqueness_laws.py", "tests/golden"),
    ),
    "wdstools/landing": (
        "tests/hostile/test_hostile_changes.py",
        *(
            "tests/faults/test_destinations.py",
            "tests/faults/test_killed_pack.py",
            "tests/hostile/test_what_is_not_ours.py",
        ),
        *("tests/faults/test_interrupted_at_every_write.py", "tests/faults/test_interrupted_changes.py"),
        *("tests/integration/test_cli_bad_input.py", "tests/integration/test_change.py", "tests/golden"),
    ),
    "wdstools/checks": (
        *("tests/faults/test_damaged_shards.py", "tests/faults/test_flipped_bits.py", "tests/faults/test_matrix.py"),
        *(
            "tests/integration/test_cli_verify.py",
            "tests/integration/test_repair.py",
            "tests/integration/test_adopt.py",
        ),
        *(
            "tests/integration/test_emit.py",
            "tests/hostile/test_attack_tars.py",
            "tests/hostile/test_forged_metadata.py",
        ),
    ),
}
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider", "-m", "not slow")


class Survivor(NamedTuple):
    """A change that no test noticed."""

    module: str
    change: Change


def modules(only: list[str]) -> list[str]:
    """The modules of the rooms, or those of them that were asked for."""
    found = [
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py") if (ROOT / room).is_dir() else [ROOT / room])
        if path.name != "__init__.py"
    ]
    return [name for name in found if not only or any(name.startswith(one) for one in only)]


def covering(module: str, tree: Path = ROOT) -> list[str]:
    """The quickest kinds of tests that import a module by its name first, then those of its room."""
    dotted = module.removesuffix(".py").replace("/", ".")
    package, _, name = dotted.rpartition(".")
    wanted = (f"{dotted} import", f"import {dotted}", f"from {package} import {name}")
    direct = [
        path.relative_to(tree).as_posix()
        for kind in ("unit", "properties", "golden")
        for path in sorted((tree / "tests" / kind).glob("test_*.py"))
        if any(text in path.read_text() for text in wanted)
    ]
    room = next(tests for room, tests in ROOMS.items() if module.startswith(room))
    return [*direct, *(test for test in room if test not in direct)]


def sample(seed: int, only: list[str], tree: Path = ROOT) -> list[tuple[str, Change]]:
    """All changes in an order that the seed decides: one of each module, then the second of each."""
    draw = random.Random(seed)
    columns = []
    for module in modules(only):
        column = [(module, change) for change in changes((tree / module).read_text())]
        draw.shuffle(column)
        columns.append(column)
    draw.shuffle(columns)
    return [each for each in chain.from_iterable(zip_longest(*columns)) if each is not None]


def is_noticed(tree: Path, tests: list[str], seconds: float, *, compile_first: bool = False) -> str:
    """What a test said that noticed; empty where none did.

    ``compile_first``, where nothing is changed, leaves compiled modules and tests behind, which later runs then only read:
    a changed module has another time than the one that was compiled.
    """
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env |= {} if compile_first else {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [*_PYTEST, *tests], cwd=tree, env=env, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return "(it did not end)"
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return "" if done.returncode == 0 else (failed or [done.stdout[-300:] + done.stderr[-300:]])[0]


def explained() -> set[str]:
    """The changes that nobody can notice: ``MODULE FUNCTION: BEFORE -> AFTER``, each below the reason why."""
    lines = EXPLAINED.read_text().splitlines() if EXPLAINED.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="decides which changes are made, and in what order")
    parser.add_argument("--seconds", type=float, default=1800, help="begin no change after so many (%(default)s)")
    parser.add_argument("--only", action="append", default=[], help="a module or folder; may be repeated")
    parser.add_argument("--list", action="store_true", help="say what would be changed, and change nothing")
    return parser.parse_args()


def _copy(tree: Path) -> None:
    for name in ("wdstools", "tests", "manifests", "docs", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "FORMAT.md", "constraints.txt", "constraints-demo.txt"):
        shutil.copy2(ROOT / name, tree / name)


def main() -> int:
    """Run the sample; the exit code."""
    given = _arguments()
    known = explained()
    if given.list:
        sys.stdout.writelines(
            f"{module}:{change.line} {change.name}\n" for module, change in sample(given.seed, given.only)
        )
        return 0
    began, made = time.monotonic(), 0
    survivors: list[Survivor] = []
    passing: list[list[str]] = []
    with tempfile.TemporaryDirectory(prefix="wdstools-mutants-") as folder:
        tree = Path(folder, "tree")
        _copy(tree)
        for module, change in sample(given.seed, given.only, tree):
            if time.monotonic() - began > given.seconds:
                break
            if f"{module} {change.name}" in known:
                continue
            tests = covering(module, tree)
            if tests not in passing:
                fails = is_noticed(tree, tests, 600, compile_first=True)
                if fails:
                    sys.stderr.write(f"with nothing changed, a test of {module} fails: {fails}\n")
                    return 2
                passing.append(tests)
            (tree / module).write_text(change.made((ROOT / module).read_text()))
            by = is_noticed(tree, tests, 600)
            shutil.copy2(ROOT / module, tree / module)
            made += 1
            sys.stdout.write(f"{'noticed' if by else 'SURVIVED'} {module}:{change.line} {change.name}  {by}\n")
            sys.stdout.flush()
            survivors += [] if by else [Survivor(module, change)]
    sys.stdout.write(f"{made} changes, {len(survivors)} that no test noticed\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
