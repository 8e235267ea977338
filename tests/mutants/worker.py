"""A process that has loaded everything once, and forks for each job: ``python -m tests.mutants.worker HOW MARKS EXAMPLES FILES``.

It runs in a copy of the tree. Each line of stdin is a job in JSON, and each line of stdout an answer in JSON.

``warm``: the tests are collected. The child puts the changed code into the functions that have it (``put.py``), forks
the process that commands come from (``tests.support.warm``), and runs the tests it is told to, up to the first that
fails. ``fresh``: only libraries are loaded. The child loads the changed module and the files of tests itself: for code
that runs when a module is loaded.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.mutants.changes import Change
from tests.mutants.limits import Limit, become_reaper
from tests.mutants.put import Functions
from tests.mutants.reached import Marks
from tests.mutants.rooms import SERVERS
from tests.support import warm

if TYPE_CHECKING:
    from collections.abc import Iterator

_TREE = Path.cwd()
_OPTIONS = (
    *("-q", "-s", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not slow"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is loaded before pytest is started
)
#: Bytes of memory that a process may take, and bytes that it may write to one file: a change may make either endless.
_LARGEST = 6 << 30


@dataclass
class Job:
    """What a child does: run tests, on a changed module or (``marks``) to see what each reaches."""

    tests: list[str]
    seconds: list[float] = field(default_factory=list)  # that each took with nothing changed
    module: str = ""
    change: dict[str, Any] | None = None
    marks: str = ""


class Child:
    """A pytest plugin that runs the tests of one job, in a process of its own that ends with them."""

    def __init__(self, job: Job, answer: IO[str], limit: Limit) -> None:
        self._job, self._answer, self._limit = job, answer, limit
        self._failed: str | None = None
        self._marks = Marks(Path(job.marks)) if job.marks else None
        self._of_fixtures: dict[str, tuple[set[int], float]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        settle_examples()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In a fresh process, run what has just been collected."""
        load_everything()
        fewer_examples(session.items)
        self.run({item.nodeid: item for item in session.items}, session.config)
        return True

    @pytest.hookimpl
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self._failed is None:
            crash = getattr(report.longrepr, "reprcrash", None)
            said = (crash.message if crash else str(report.longrepr)).strip().splitlines()
            self._failed = f"{report.nodeid} {said[0][:200] if said else ''}"

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[Any]:
        """Count what a shared fixture reaches for every test that uses it."""
        if self._marks is None or fixturedef.scope == "function":
            return (yield)
        before, began = self._marks.taken(), time.monotonic()
        try:
            return (yield)
        finally:
            self._of_fixtures[fixturedef.argname] = (self._marks.taken(), time.monotonic() - began)
            self._marks.put(before)

    def run(self, items: dict[str, pytest.Item], config: pytest.Config) -> None:
        """Run the job's tests; answer with a line for each (``marks``), or with one for the first that fails."""
        with commands_from_here():
            chosen = [items[name] for name in self._job.tests if name in items]
            for at, item in enumerate(chosen):
                self._limit.begins(at)
                self._failed = None
                began = time.monotonic()
                following = chosen[at + 1] if at + 1 < len(chosen) else None
                config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._marks is not None:
                    self._say(self._reached(item, time.monotonic() - began))
                elif self._failed is not None:
                    self._say({"noticed": self._failed, "tests": at + 1})
                    return
            self._say({"noticed": "", "tests": len(chosen)})

    def _reached(self, item: pytest.Item, seconds: float) -> dict[str, Any]:
        assert self._marks is not None
        shared = [self._of_fixtures[name] for name in item.fixturenames if name in self._of_fixtures]  # type: ignore[attr-defined]
        numbers = self._marks.taken().union(*(each for each, _ in shared))
        seconds += sum(each for _, each in shared)
        needs = sorted({"swift"}.intersection(item.fixturenames))  # type: ignore[attr-defined]
        return {
            "test": item.nodeid,
            "seconds": seconds,
            "numbers": sorted(numbers),
            "failed": self._failed,
            "needs": needs,
        }

    def _say(self, answer: dict[str, Any]) -> None:
        self._answer.write(json.dumps(answer) + "\n")
        self._answer.flush()


class Loop:
    """The pytest plugin of the warm process: collects the tests, and runs a child for each job."""

    def __init__(self, parent: Parent, marks: str) -> None:
        self._parent, self._marks = parent, marks

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        settle_examples()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        load_everything()
        fewer_examples(session.items)
        items = {item.nodeid: item for item in session.items if not SERVERS.intersection(item.fixturenames)}  # type: ignore[attr-defined]
        modules = {str(path) for path in (_TREE / "wdstools").rglob("*.py")}
        functions = Functions(modules)
        reached = Marks(Path(self._marks)).taken() if self._marks else set()
        self._parent.ready(list(items), reached)

        def child(job: Job, answer: IO[str], limit: Limit) -> None:
            if job.change is not None and not _is_put(functions, job):
                answer.write(json.dumps({"cannot": True}) + "\n")
                return
            plugin = Child(job, answer, limit)
            session.config.pluginmanager.register(plugin)
            factory = session.config._tmp_path_factory  # type: ignore[attr-defined]
            factory._given_basetemp, factory._basetemp = None, Path(tempfile.mkdtemp(prefix="tests-"))
            plugin.run(items, session.config)

        self._parent.serve(child)
        return True


def _is_put(functions: Functions, job: Job) -> bool:
    assert job.change is not None
    path = _TREE / job.module
    source = Path(f"{path}.original").read_text()
    before, after = (
        compile(tree, str(path), "exec") for tree in (ast.parse(source), Change(**job.change).tree(source))
    )
    return functions.put(str(path), before, after)


def _fresh(job: Job, answer: IO[str], limit: Limit) -> None:
    files = dict.fromkeys(name.partition("::")[0] for name in job.tests)
    code = pytest.main([*_OPTIONS, *files], plugins=[Child(job, answer, limit)])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        answer.write(json.dumps({"noticed": "(the tests cannot be collected)", "tests": 0}) + "\n")


class Parent:
    """The parent process, which sends jobs and receives answers."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        quiet = os.open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 1)
        self._scratch = tempfile.mkdtemp(prefix="m-", dir=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
        os.chmod(self._scratch, 0o755)  # noqa: S103  some tests are run as another user
        self._limit = Limit()

    def ready(self, tests: list[str], reached: set[int]) -> None:
        """Say that jobs may be sent, and what loading and collecting reached."""
        self._say({"ready": tests, "reached": sorted(reached)})

    def serve(self, child: Any) -> None:
        """A child for every job, until there are no more."""
        for line in sys.stdin:
            job = Job(**json.loads(line))
            text = _TREE / job.module
            if job.change is not None:
                original = Path(f"{text}.original")
                shutil.copy2(text, original)
                text.write_text(Change(**job.change).made(original.read_text()))
            try:
                self._say({"answers": self._run(job, child)})
            finally:
                if job.change is not None:
                    os.replace(original, text)
        _remove(Path(self._scratch))

    def _run(self, job: Job, child: Any) -> list[dict[str, Any]]:
        answers = Path(self._scratch, "answers")
        self._limit.starts()
        pid = os.fork()
        if pid == 0:
            try:
                self._be(job, child, answers)
            except BaseException as error:  # noqa: BLE001  whatever it is, the parent has to hear of it
                sys.stderr.write(f"{job.module}: {error!r}\n")
            finally:
                os._exit(0)
        ended = self._limit.watch(pid, job.seconds)
        said = [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []
        for path in Path(self._scratch).iterdir():
            _remove(path)
        if job.change is not None and not said:
            said = [{"noticed": "(it ended the tests)" if ended else "(it did not end)", "tests": self._limit.at + 1}]
        return said

    def _be(self, job: Job, child: Any, answers: Path) -> None:
        self._out.close()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, closefd=False)
        os.environ |= {"TMPDIR": self._scratch, "XDG_CACHE_HOME": f"{self._scratch}/cache"}
        os.environ |= {"PYTEST_DEBUG_TEMPROOT": self._scratch, "PYTHONDONTWRITEBYTECODE": "1" if job.change else ""}
        tempfile.tempdir = None
        for kind in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
            resource.setrlimit(kind, (_LARGEST, resource.getrlimit(kind)[1]))
        with answers.open("w") as answer:
            child(job, answer, self._limit)

    def _say(self, answer: dict[str, Any]) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()


def _remove(path: Path) -> None:
    """Remove what a test left, even a tree that is too deep for Python."""
    try:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    except RecursionError:
        subprocess.run(["rm", "-rf", path], check=False)


def settle_examples() -> None:
    """Make hypothesis use the same examples each time, remember none, and not shrink counterexamples."""
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutants",
        parent=settings.get_profile("wdstools"),
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate),
    )
    settings.load_profile("mutants")


def fewer_examples(items: list[pytest.Item]) -> None:
    """Limit hypothesis's examples of each test: the first ones notice most changes."""
    from hypothesis import settings

    most = int(sys.argv[3])
    for item in items:
        function = getattr(getattr(item, "obj", None), "__func__", getattr(item, "obj", None))
        own = getattr(function, "_hypothesis_internal_use_settings", None)
        if isinstance(own, settings) and own.max_examples > most:
            function._hypothesis_internal_use_settings = settings(own, max_examples=most)  # type: ignore[union-attr]


def load_everything() -> None:
    """Load all modules, like the process that commands are forked from."""
    import pkgutil

    for module in pkgutil.walk_packages([str(_TREE / "wdstools")], "wdstools."):
        if not module.name.startswith(("wdstools.peers", "wdstools.__main__")):
            with contextlib.suppress(ImportError):  # an extra is not installed
                importlib.import_module(module.name)


@contextlib.contextmanager
def commands_from_here() -> Iterator[None]:
    """For the duration of the block, fork commands from this process, which has the change."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.setsid()
        for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
            os.dup2(os.open(os.devnull, flags), number)
        sys.argv[1:] = []
        request = warm._serve(theirs)
        if request is None:
            os._exit(0)
        warm._become(*request)
    theirs.close()
    starter = warm._Starter.__new__(warm._Starter)
    starter._lock, starter._line = threading.Lock(), ours
    warm.end = lambda: None
    warm._starter = lambda: starter  # type: ignore[assignment]
    try:
        yield
    finally:
        ours.close()


@contextlib.contextmanager
def _one_swift() -> Iterator[None]:
    """One store for all children: starting it takes longer than most tests."""
    from tests import conftest
    from tests.servers.swift import swift_server

    # No TemporaryDirectory: every command forked from here would remove it when it ends, and say so on stderr.
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT")))
    try:
        with swift_server(folder) as server:
            conftest.swift_server = lambda folder: contextlib.nullcontext(server)  # type: ignore[attr-defined, assignment, return-value]
            yield
    finally:
        _remove(folder)


def main() -> None:
    become_reaper()
    for library in (*warm.LIBRARIES, "hypothesis", "xdist", "pytest_timeout", "_hypothesis_pytestplugin"):
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    parent = Parent()
    if sys.argv[1] == "fresh":
        parent.ready([], set())
        parent.serve(_fresh)
        return
    files = sys.argv[4:]
    is_asked = any("swift" in (_TREE / file).read_text() for file in files)
    with _one_swift() if is_asked else contextlib.nullcontext():
        pytest.main([*_OPTIONS, *files], plugins=[Loop(parent, sys.argv[2])])


if __name__ == "__main__":
    main()
