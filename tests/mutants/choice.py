"""Which tests a change is tried on: those that reach its statement, the quickest first."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.mutants.changes import Change


class Asked(NamedTuple):
    """One test, as it ran on unchanged code; ``reached`` has a bit for each statement."""

    name: str
    seconds: float
    reached: int
    is_alone: bool  # needs no program but this one

    @property
    def function(self) -> str:
        return self.name.partition("[")[0]

    @property
    def file(self) -> str:
        return self.name.partition("::")[0]


class Reach(NamedTuple):
    """What all tests reach, and what loading the modules does."""

    first: dict[str, int]  # of each module: the number of its first statement
    sums: dict[str, str]
    loaded: int
    tests: list[Asked]
    files: dict[str, str]  # that were run, and the sum of each

    def add(self, file: str, text: str, answers: list[dict[str, Any]]) -> None:
        """Add what a file's tests reach; a test that fails on unchanged code is left out."""
        for each in answers:
            reached = sum(1 << number for number in each["numbers"])
            if reached and not each["failed"]:
                self.tests.append(Asked(each["test"], each["seconds"], reached, not each["needs"]))
        self.files[file] = text

    def forget(self, files: list[str]) -> None:
        """Forget files that are about to be run again."""
        self.tests[:] = [test for test in self.tests if test.file not in files]

    def save(self, path: Path) -> None:
        tests = [(name, seconds, f"{reached:x}", alone) for name, seconds, reached, alone in self.tests]
        path.write_text(json.dumps({**self._asdict(), "loaded": f"{self.loaded:x}", "tests": tests}))

    @classmethod
    def load(cls, path: Path) -> Reach:
        kept = json.loads(path.read_text())
        tests = [Asked(name, seconds, int(reached, 16), alone) for name, seconds, reached, alone in kept["tests"]]
        return cls(kept["first"], kept["sums"], int(kept["loaded"], 16), tests, kept["files"])

    def is_at_load(self, module: str, change: Change) -> bool:
        """Whether the change matters when modules are loaded: a child forked later would not see it."""
        return change.statement is None or bool(self.loaded >> (self.first[module] + change.statement) & 1)

    def reaching(self, module: str, change: Change | None) -> list[Asked]:
        """The tests that reach the statement or, for what runs when the module is loaded, those that reach the module."""
        if change is not None and change.statement is not None:
            mask = 1 << (self.first[module] + change.statement)
        else:
            after = min(
                (at for at in self.first.values() if at > self.first[module]), default=self.loaded.bit_length() + 99999
            )
            mask = (1 << after) - (1 << self.first[module])
        return [test for test in self.tests if test.reached & mask]


def sum_of(text: str) -> str:
    """The checksum of a module's text, as it was when its statements were numbered."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Chooser:
    """Orders tests, and remembers which have noticed changes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._noticed: dict[str, Counter[str]] = defaultdict(Counter)

    def has_noticed(self, test: str, module: str, change: Change) -> None:
        """Note that a test noticed a change: it is the first to be tried on the next change of that function."""
        self._noticed[f"{module} {change.within}"][test] += 1

    def order(self, tests: Iterable[Asked], module: str, change: Change) -> list[Asked]:
        """As many tests as fit into the time, those of one file together, because they share fixtures."""
        before = self._noticed[f"{module} {change.within}"]
        seen: Counter[str] = Counter()
        ranked = []
        for test in sorted(tests, key=lambda test: test.seconds):
            seen[test.function] += 1
            ranked.append((-before[test.name], test.seconds * seen[test.function], test))
        ranked.sort(key=lambda each: each[:2])
        chosen: list[Asked] = []
        seconds = 0.0
        for _, _, test in ranked:
            if chosen and seconds + test.seconds > self._seconds:
                break
            chosen.append(test)
            seconds += test.seconds
        files = {file: at for at, file in reversed(list(enumerate(test.file for test in chosen)))}
        return sorted(chosen, key=lambda test: files[test.file])
