"""What every executor does: here, in threads, in processes that are forked or spawned."""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
import multiprocessing
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import work
from tests.support.command import HANG_SECONDS
from wdstools.errors import FormatError, IntegrityError, UsageError, WorkerError
from wdstools.executors.futures import FuturesExecutor
from wdstools.executors.local import Processes, Serial, Threads
from wdstools.executors.open import open_executor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.executors.base import Executor
    from wdstools.executors.open import ExecutorKind

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


@pytest.fixture(params=KINDS)
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    made = make_executor(request.param, 2, monkeypatch)
    yield made
    made.close()


@pytest.fixture(params=PROCESSES)
def processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Executor]:
    made = make_executor(request.param, 2, monkeypatch)
    yield made
    made.close()


def values(executor: Executor, function: Any, items: Any) -> list[Any]:
    """Values in the order of the items."""
    outcomes = sorted(executor.map(function, items), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == list(range(len(outcomes)))
    return [outcome.result() for outcome in outcomes]


def test_every_item_has_one_outcome_with_its_number(executor: Executor) -> None:
    assert values(executor, work.square, range(50)) == [work.Square(n, n * n) for n in range(50)]


def test_nothing_to_do_gives_nothing(executor: Executor) -> None:
    assert list(executor.map(work.square, [])) == []


def test_an_executor_can_be_used_again(executor: Executor) -> None:
    assert values(executor, work.square, [1, 2, 3]) == values(executor, work.square, [1, 2, 3])


def test_an_error_comes_back_whole_and_ends_nothing_else(executor: Executor) -> None:
    outcomes = {outcome.index: outcome for outcome in executor.map(work.fail_on_odd, range(10))}
    assert sorted(outcomes) == list(range(10))
    for number, outcome in outcomes.items():
        if number % 2 == 0:
            assert outcome.result() == number
            continue
        with pytest.raises(FormatError) as caught:
            outcome.result()
        found = caught.value.to_dict()
        assert found == {
            "code": "odd-number",
            "message": "odd",
            "where": f"item {number}",
            "expected": "even",
            "got": str(number),
            "hint": "+1",
        }


def test_an_error_keeps_the_report_that_it_carries(executor: Executor) -> None:
    (outcome,) = executor.map(work.fail_with_report, [7])
    assert isinstance(outcome.error, IntegrityError)
    report: Any = outcome.error.report
    assert report.checked == {"shards": 7}
    assert report.findings[0].start == 3


def test_a_bug_in_the_work_comes_back_with_its_traceback(executor: Executor) -> None:
    outcomes = {outcome.index: outcome for outcome in executor.map(work.stumble, [1, 0, 1])}
    assert (outcomes[0].result(), outcomes[2].result()) == (1, 1)
    error = outcomes[1].error
    assert isinstance(error, WorkerError)
    assert "ZeroDivisionError" in error.message
    assert "in stumble" in error.traceback


@pytest.mark.parametrize("count", [0, 1, 3])
def test_ticks_add_up_to_the_work_that_was_done(executor: Executor, count: int) -> None:
    ticks: list[int] = []
    outcomes = list(executor.map(work.tick_each, [count] * 5, ticks.append))
    assert len(outcomes) == 5
    assert sum(ticks) == 5 * count


def test_ticks_come_in_the_thread_of_the_caller(executor: Executor) -> None:
    threads: set[int] = set()
    list(executor.map(work.tick_each, [2] * 20, lambda _: threads.add(threading.get_ident())))
    assert threads <= {threading.get_ident()}


def test_items_are_taken_when_a_worker_is_free_for_them(executor: Executor, tmp_path: Path) -> None:
    ahead: list[int] = []

    def items() -> Iterator[tuple[str, int]]:
        for number in range(30):
            ahead.append(number - len(os.listdir(tmp_path)))
            yield str(tmp_path), number

    assert values(executor, work.leave_mark, items()) == list(range(30))
    assert max(ahead) < executor.jobs


def test_endless_items_can_be_left_at_any_time(executor: Executor) -> None:
    outcomes = executor.map(work.square, itertools.count())
    assert len(list(itertools.islice(outcomes, 5))) == 5
    outcomes.close()  # type: ignore[attr-defined]  # the iterators are generators


def test_a_map_that_was_left_does_not_answer_for_the_next(executor: Executor) -> None:
    for _ in range(3):
        abandoned = executor.map(work.square, itertools.count(1000))
        next(abandoned)
        abandoned.close()  # type: ignore[attr-defined]  # the iterators are generators
        assert values(executor, work.square, range(6)) == [work.Square(n, n * n) for n in range(6)]


def broken_items() -> Iterator[int]:
    yield from range(4)
    raise LookupError("the items end badly")


def test_an_error_of_the_items_reaches_the_caller(executor: Executor) -> None:
    """Not a hang, and not a shorter run that looks whole."""
    ended: list[str] = []

    def run() -> None:
        try:
            list(executor.map(work.square, broken_items()))
            ended.append("as if nothing had happened")
        except LookupError as error:
            ended.append(str(error))

    with contextlib.suppress(ExceptionGroup):
        caller = threading.Thread(target=run, daemon=True)
        with _quiet_threads():
            caller.start()
            caller.join(timeout=HANG_SECONDS)  # reached only by a hang
    assert ended == ["the items end badly"]


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """What a dying thread says is no part of the test."""
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        yield
    finally:
        threading.excepthook = hook


def test_the_executor_works_on_after_an_error_of_the_items(processes: Executor) -> None:
    with pytest.raises(LookupError):
        list(processes.map(work.square, broken_items()))
    assert values(processes, work.square, range(6)) == [work.Square(n, n * n) for n in range(6)]


def test_a_worker_that_dies_is_reported_for_the_item_that_it_had(processes: Executor) -> None:
    outcomes = {outcome.index: outcome for outcome in processes.map(work.die_on_odd, [0, 2, 3, 4, 6, 8])}
    assert sorted(outcomes) == [0, 1, 2, 3, 4, 5]
    error = outcomes[2].error
    assert isinstance(error, WorkerError)
    assert "-9" in error.got
    assert "jobs" in error.hint
    assert [outcomes[n].result() for n in (0, 1, 3, 4, 5)] == [0, 2, 4, 6, 8]


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


def test_closing_twice_is_no_error(executor: Executor) -> None:
    executor.close()
    executor.close()


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
