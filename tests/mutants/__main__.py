"""``make mutants``: small changes to the code, one at a time, and whether a test notices each.

``python -m tests.mutants [--seed N] [--seconds N] [--only wdstools/formats/sums.py] [--resume] [--again]``. First it
runs all quick tests once, to see which statements each reaches (``build/mutants/reach.json``). Then every change is
tried on the tests that reach it, in processes forked from one that has loaded everything (``worker.py``). Results are
kept, one per line, in ``build/mutants/results.jsonl``. The same seed makes the same changes in the same order; how many
of them fit into the time depends on the machine. The exit code is 1 if a change passed all tests and
``explained.txt`` does not say why nobody can notice it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from functools import cache
from itertools import chain, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.mutants.changes import Change, changes
from tests.mutants.choice import Chooser, Reach, sum_of
from tests.mutants.put import differing
from tests.mutants.reached import Marks
from tests.mutants.rooms import ROOT, files_of_tests, modules, room_of
from tests.mutants.workers import Worker, copy_tree, share

if TYPE_CHECKING:
    from types import CodeType

EXPLAINED = Path(__file__).parent / "explained.txt"
#: The most examples that hypothesis makes of a test.
_EXAMPLES = 30
#: Seconds of processor time: five times as many, and a test is not among those that are asked.
_LONG_TEST = 6.0
#: Loading modules and tests anew, before the first test of a fresh process.
_LOAD_SECONDS = 10.0


def sample(seed: int, only: list[str]) -> list[tuple[str, Change]]:
    """All changes in an order decided by the seed: one from each room in turn, and within a room one from each module."""
    draw = random.Random(seed)
    rooms: dict[str, list[list[tuple[str, Change]]]] = {}
    for module in modules(only):
        column = [(module, change) for change in changes(_source(module))]
        draw.shuffle(column)
        rooms.setdefault(room_of(module), []).append(column)
    for columns in rooms.values():
        draw.shuffle(columns)
    return _in_turn([_in_turn(columns) for columns in rooms.values()])


def _in_turn(columns: list[list[tuple[str, Change]]]) -> list[tuple[str, Change]]:
    """The first of each column, then the second of each, and so on."""
    return [each for each in chain.from_iterable(zip_longest(*columns)) if each is not None]


def explained() -> set[str]:
    """The changes that nobody can notice, as ``MODULE FUNCTION: BEFORE -> AFTER``, each below the reason why."""
    lines = EXPLAINED.read_text().splitlines() if EXPLAINED.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def find_reach(kept: Path, folder: Path, count: int, files: list[str]) -> Reach:
    """Run every test once, in a tree with marks, and note what each reaches; earlier notes are kept."""
    trees = [folder / f"marked-{at}" for at in range(count)]
    marks = [tree.with_suffix(".marks") for tree in trees]
    for tree, path in zip(trees, marks, strict=True):
        copy_tree(tree)
        first = Marks.over(tree, modules([]), path)
    sums = {module: sum_of(_source(module)) for module in modules([])}
    reach = Reach.load(kept) if kept.exists() else Reach(first, sums, 0, [], {})
    if reach.sums != sums:
        reach = Reach(first, sums, 0, [], {})
    texts = {file: sum_of((ROOT / file).read_text()) for file in files}
    files = [file for file in files if reach.files.get(file) != texts[file]]
    if not files:
        return reach
    reach.forget(files)
    lock = threading.Lock()
    with ExitStack() as stack:
        workers = [Worker(tree, "warm", str(path), _EXAMPLES, files) for tree, path in zip(trees, marks, strict=True)]
        places = [(stack.enter_context(worker), str(path)) for worker, path in zip(workers, marks, strict=True)]
        by_file: dict[str, list[str]] = {file: [] for file in files}
        loaded = {number for worker, _ in places for number in worker.ready["reached"]}
        reach = reach._replace(loaded=reach.loaded | sum(1 << number for number in loaded))
        for name in workers[0].ready["ready"]:
            by_file[name.partition("::")[0]].append(name)

        def run(file: str, place: tuple[Worker, str]) -> None:
            worker, path = place
            answers = worker.do({"tests": by_file[file], "marks": path, "seconds": [_LONG_TEST] * len(by_file[file])})
            with lock:
                reach.add(file, texts[file], [answer for answer in answers if "test" in answer])
                reach.save(kept)
            sys.stderr.write(f"{file}: {len(answers) - 1} of {len(by_file[file])} tests\n")
            failed = [answer["failed"] for answer in answers if answer.get("failed")]
            sys.stderr.writelines(f"  not asked, it fails with nothing changed: {each}\n" for each in failed)

        share(files, places, run)
    return reach


@cache
def _source(module: str) -> str:
    """A module's source as it was at the start, when the trees were copied."""
    return (ROOT / module).read_text()


@cache
def _compiled(source: str) -> CodeType:
    return compile(source, "before", "exec")


class Run:
    """Tries changes, and keeps the result of each."""

    def __init__(self, reach: Reach, seconds: float, results: Path) -> None:
        self._reach, self._chooser, self._results = reach, Chooser(seconds), results
        self._lock = threading.Lock()
        self._known = explained()
        self.judged: list[dict[str, Any]] = []

    def is_at_load(self, module: str, change: Change) -> bool:
        """Whether the change affects what runs when the module is loaded."""
        return self._reach.is_at_load(module, change)

    def try_one(self, module: str, change: Change, warm: Worker, fresh: Worker) -> None:
        """Try one change on the tests that reach it."""
        began = time.monotonic()
        source = _source(module)
        moved = self._reach.sums.get(module) != sum_of(source)
        pairs = differing(_compiled(source), compile(change.tree(source), module, "exec"))
        at_load = pairs is None or self._reach.is_at_load(module, change)
        tests = self._reach.reaching(module, None if at_load or moved else change)
        with self._lock:
            chosen = self._chooser.order([test for test in tests if test.is_alone or not at_load], module, change)
        said: dict[str, Any] = {"noticed": "", "tests": 0}
        how = "same" if pairs == [] else "fresh" if at_load else "forked"
        if chosen and pairs != []:
            job: dict[str, Any] = {"module": module, "change": asdict(change), "tests": [test.name for test in chosen]}
            if how == "forked":
                (said,) = warm.do({**job, "seconds": [test.seconds for test in chosen]})
                how = "fresh" if "cannot" in said else how
            if how == "fresh":
                (said,) = fresh.do({**job, "seconds": [test.seconds + _LOAD_SECONDS for test in chosen]})
        self._keep(module, change, {**said, "of": len(tests), "how": how, "seconds": time.monotonic() - began})

    def _keep(self, module: str, change: Change, said: dict[str, Any]) -> None:
        key = f"{module} {change.name}"
        if said["noticed"]:
            word = "noticed"
        else:
            word = "same" if said["how"] == "same" else "explained" if key in self._known else "SURVIVED"
        result = {"word": word, "module": module, **asdict(change), **said}
        with self._lock:
            if said["noticed"]:
                self._chooser.has_noticed(said["noticed"].partition(" ")[0], module, change)
            self.judged.append(result)
            with self._results.open("a") as kept:
                kept.write(json.dumps(result) + "\n")
            where = f"{module}:{change.line} {change.name}"
            sys.stdout.write(f"{word} {where}  {said['noticed'] or '{tests} of {of} tests'.format(**said)}\n")
            sys.stdout.flush()


def kept_results(path: Path) -> dict[tuple[str, int, str], dict[str, Any]]:
    """The latest result for each change, from earlier runs."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {(each["module"], each["place"], each["text"]): each for each in map(json.loads, lines)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="decides which changes are made, and in what order")
    parser.add_argument("--seconds", type=float, default=1800, help="begin no change after so many (%(default)s)")
    parser.add_argument("--each", type=float, default=8, help="seconds of tests a change, at most (%(default)s)")
    parser.add_argument("--only", action="append", default=[], help="a module or folder; may be repeated")
    parser.add_argument(
        "--tests", action="append", default=[], help="a folder of tests, as unit, or a file; may be repeated"
    )
    parser.add_argument(
        "--state", type=Path, default=ROOT / "build/mutants", help="where results are kept (%(default)s)"
    )
    parser.add_argument("--examples", type=int, default=_EXAMPLES, help="that hypothesis makes of a test (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes at work (%(default)s)")
    parser.add_argument(
        "--nice", type=int, default=10, help="less important than others' work by so much (%(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="leave out what an earlier run has judged")
    parser.add_argument("--again", action="store_true", help="only what survived in an earlier run")
    parser.add_argument("--list", action="store_true", help="say what would be changed, and change nothing")
    return parser.parse_args()


def _wanted(given: argparse.Namespace, results: Path) -> list[tuple[str, Change]]:
    drawn = sample(given.seed, given.only)
    if not (given.resume or given.again):
        results.unlink(missing_ok=True)
        return drawn
    words = {key: each["word"] for key, each in kept_results(results).items()}
    wanted = "SURVIVED" if given.again else None
    return [each for each in drawn if words.get((each[0], each[1].place, each[1].text)) == wanted]


def main() -> int:
    """Run the sample; returns the exit code."""
    given = _arguments()
    if given.list:
        sys.stdout.writelines(
            f"{module}:{change.line} {change.name}\n" for module, change in sample(given.seed, given.only)
        )
        return 0
    os.nice(given.nice)
    given.state.mkdir(parents=True, exist_ok=True)
    results = given.state / "results.jsonl"
    wanted = _wanted(given, results)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="wdstools-mutants-", dir=memory) as name:
        folder = Path(name)
        folder.chmod(0o755)
        files = files_of_tests(given.tests)
        reach = find_reach(given.state / "reach.json", folder, given.workers, files)
        run = Run(reach, given.each, results)
        wanted.sort(key=lambda each: run.is_at_load(*each))  # each of those takes seconds
        began = time.monotonic()
        with ExitStack() as stack:
            places = []
            for at in range(given.workers):
                tree = folder / f"tree-{at}"
                copy_tree(tree)
                both = [
                    Worker(tree, how, "", given.examples, files if how == "warm" else []) for how in ("warm", "fresh")
                ]
                places.append([stack.enter_context(worker) for worker in both])

            def do(each: tuple[str, Change], place: list[Worker]) -> None:
                if time.monotonic() - began < given.seconds:
                    run.try_one(*each, *place)

            share(wanted, places, do)
    said = Counter(result["word"] for result in run.judged)
    sys.stdout.write(f"{len(run.judged)} changes: " + ", ".join(f"{n} {word}" for word, n in said.items()) + "\n")
    return 1 if said["SURVIVED"] else 0


if __name__ == "__main__":
    sys.exit(main())
