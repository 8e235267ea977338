"""What every executor does: here, in threads, in processes that are forked or spawned, in somebody else's pool."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
import struct
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import wdstools as wt
from tests.support import work
from tests.support.executor_laws import HANG_SECONDS, ExecutorLaws, LossLaws, values
from wdstools.errors import UsageError, WorkerError
from wdstools.executors import afar
from wdstools.executors.futures import FuturesExecutor
from wdstools.executors.local import Serial, Threads
from wdstools.executors.open import open_executor
from wdstools.executors.processes import Processes, serve
from wdstools.executors.versions import Host, this_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.executors.base import Executor
    from wdstools.options.run import ExecutorKind

KINDS = ("serial", "threads", "forked", "spawned", "futures")
PROCESSES = ("forked", "spawned")
#: Forking beside pytest's own threads is safe as long as these only wait, which they do.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*may lead to deadlocks:DeprecationWarning")


def make_executor(kind: str, jobs: int, monkeypatch: pytest.MonkeyPatch) -> Executor:
    if kind == "serial":
        return Serial()
    if kind == "threads":
        return Threads(jobs)
    if kind == "futures":
        return FuturesExecutor(concurrent.futures.ThreadPoolExecutor(jobs))
    if kind == "forked" and sys.platform != "linux":
        pytest.skip("workers are forked on Linux only")
    with monkeypatch.context() as patch:
        patch.setattr(threading, "active_count", lambda: 1 if kind == "forked" else 2)
        return Processes(jobs)


class TestEveryExecutor(ExecutorLaws):
    """The laws, for each kind."""

    @pytest.fixture(params=KINDS)
    def executor(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
        made = make_executor(request.param, 2, monkeypatch)
        yield made
        made.close()


class TestProcesses(LossLaws):
    """The laws of workers that are killed."""

    @pytest.fixture(params=PROCESSES)
    def executor(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
        made = make_executor(request.param, 2, monkeypatch)
        yield made
        made.close()


@pytest.fixture(params=PROCESSES)
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    made = make_executor(request.param, 2, monkeypatch)
    yield made
    made.close()


def test_a_worker_that_dies_is_reported_for_the_item_that_it_had(processes: Executor) -> None:
    outcomes = {outcome.index: outcome for outcome in processes.map(work.die_on_odd, [0, 2, 3, 4, 6, 8])}
    assert sorted(outcomes) == [0, 1, 2, 3, 4, 5]
    error = outcomes[2].error
    assert isinstance(error, WorkerError)
    assert "-9" in error.got
    assert "jobs" in error.hint
    assert [outcomes[n].result() for n in (0, 1, 3, 4, 5)] == [0, 2, 4, 6, 8]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are sockets there")
def test_a_worker_whose_parent_was_stopped_in_the_middle_of_a_message_ends_without_a_word(
    capfd: pytest.CaptureFixture[str],
) -> None:
    (parent, pipe), (lifeline, held) = multiprocessing.Pipe(), multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.get_context("spawn").Process(target=serve, args=(pipe, lifeline, (), ()))
    worker.start()
    pipe.close()
    os.write(parent.fileno(), struct.pack("!i", 1000) + b"the beginning")
    parent.close()
    worker.join(HANG_SECONDS)
    assert (worker.exitcode, capfd.readouterr().err) == (0, "")
    held.close()


def test_no_item_is_lost_when_every_worker_dies(processes: Executor) -> None:
    outcomes = {outcome.index: outcome for outcome in processes.map(work.die_on_odd, [1, 3, 5, 7, 8, 9])}
    assert sorted(outcomes) == [0, 1, 2, 3, 4, 5]
    assert all(isinstance(outcomes[n].error, WorkerError) for n in (0, 1, 2, 3, 5))


def test_no_map_is_empty_because_its_workers_died_in_the_one_before(processes: Executor) -> None:
    list(processes.map(work.die_on_odd, [1, 3]))
    assert [outcome.index for outcome in processes.map(work.square, [5, 6])] != []


def test_workers_are_processes_of_their_own_and_gone_after_close(processes: Executor) -> None:
    pids = {pid for pid, _ in values(processes, work.where_am_i, range(20))}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    processes.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not [child for child in multiprocessing.active_children() if child.pid in pids]


@pytest.mark.parametrize("kind", PROCESSES)
def test_close_does_not_wait_for_work_that_never_ends(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    executor = make_executor(kind, 2, monkeypatch)
    (tmp_path / "now").touch()
    outcomes = executor.map(work.wait_for_file, [str(tmp_path / "now"), str(tmp_path / "never")])
    assert next(outcomes).index == 0
    children = multiprocessing.active_children()
    executor.close()
    assert children
    assert not any(child.is_alive() for child in children)


def test_threads_are_gone_when_their_map_ends() -> None:
    before = set(threading.enumerate())
    executor = Threads(3)
    list(executor.map(work.square, range(10)))
    left = executor.map(work.square, itertools.count())
    next(left)
    left.close()  # type: ignore[attr-defined]  # the iterators are generators
    # What another test left behind may end meanwhile: only threads that are new count.
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    ("kind", "jobs", "made"),
    [("serial", 4, Serial), ("threads", 1, Serial), ("processes", 1, Serial), ("threads", 2, Threads)],
)
def test_one_job_needs_no_workers(kind: ExecutorKind, jobs: int, made: type) -> None:
    executor = open_executor(kind, jobs)
    assert type(executor) is made
    assert executor.jobs == (1 if made is Serial else jobs)


@pytest.mark.parametrize(("kind", "jobs"), [("serial", 0), ("threads", -1), ("cluster", 2), ("", 1)])
def test_an_executor_that_cannot_be_is_a_usage_error(kind: ExecutorKind, jobs: int) -> None:
    with pytest.raises(UsageError):
        open_executor(kind, jobs)


def test_a_pool_of_processes_that_breaks_is_told_for_each_item_and_ends_the_map() -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        executor = FuturesExecutor(pool)
        assert values(executor, work.square, range(6)) == [work.Square(n, n * n) for n in range(6)]
        outcomes = {outcome.index: outcome for outcome in executor.map(work.die_on_odd, [0, 2, 1, 4])}
    assert sorted(outcomes) == [0, 1, 2, 3]
    assert isinstance(outcomes[2].error, WorkerError)
    assert "item 2" in outcomes[2].error.where


def test_the_number_of_jobs_is_the_pools_own_unless_it_is_given() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert (FuturesExecutor(pool).jobs, FuturesExecutor(pool, jobs=1).jobs) == (2, 1)
        with pytest.raises(UsageError):
            FuturesExecutor(pool, jobs=0)


def test_the_number_of_jobs_is_asked_again_each_round() -> None:
    jobs, ended, under_way = [1], [0], []

    def items() -> Iterator[int]:
        for number in range(30):
            under_way.append((jobs[0], number + 1 - ended[0]))
            yield number

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in FuturesExecutor(pool, jobs=lambda: jobs[0]).map(work.square, items()):
            ended[0] += 1
            jobs[0] = 4 if ended[0] >= 5 else 1
    assert ended == [30]
    assert {count for asked, count in under_way if asked == 1} == {1}
    assert max(count for asked, count in under_way if asked == 4) == 6


def test_a_worker_with_other_versions_is_refused_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ours = this_host()
    theirs = Host("another", ours.files, {**ours.versions, "numpy": "0.0"})
    caller = threading.get_ident()
    monkeypatch.setattr(afar, "this_host", lambda: ours if threading.get_ident() == caller else theirs)
    with concurrent.futures.ThreadPoolExecutor(1) as pool, pytest.raises(UsageError) as caught:
        list(FuturesExecutor(pool).map(work.leave_mark, [(str(tmp_path), 0)]))
    assert caught.value.code == "mixed-versions"
    assert "another" in caught.value.where
    assert "numpy" in caught.value.got
    assert os.listdir(tmp_path) == []


def test_versions_that_decide_nothing_do_not_make_hosts_unlike() -> None:
    ours = this_host()
    assert Host("x", "y", {**ours.versions, "xxhash": "0"}).digest == ours.digest
    assert Host("x", "y", {**ours.versions, "wdstools": "0.1.0 other"}).digest != ours.digest


@pytest.mark.parametrize("given", ["processes", concurrent.futures.ThreadPoolExecutor(1), 8])
@pytest.mark.parametrize("verb", [wt.scan, wt.verify])
def test_what_is_no_executor_is_refused_with_what_would_be_one(verb: Any, given: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(UsageError, match="not an executor") as caught:
        verb(tmp_path, executor=given)
    assert "open_executor" in caught.value.hint


def test_ray_that_is_not_installed_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError) as caught:
        open_executor("ray")
    assert caught.value.code == "no-ray"
    assert "wdstools[ray]" in caught.value.hint
