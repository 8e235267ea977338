"""What every executor does, wherever its workers are: one suite, which each kind runs with its own fixture ``executor``.

It only needs pytest, so it also runs in environments with a cluster's engine and little else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import work
from wdstools.errors import FormatError, IntegrityError, WorkerError, WorkerLostError
from wdstools.executors.base import ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.executors.base import Executor

#: Reached only by a hang.
HANG_SECONDS = 300
_FIRSTS = itertools.count()


def values(executor: Executor, function: Any, items: Any) -> list[Any]:
    """Values in the order of the items."""
    outcomes = sorted(executor.map(function, items), key=lambda outcome: outcome.index)
    assert [outcome.index for outcome in outcomes] == list(range(len(outcomes)))
    return [outcome.result() for outcome in outcomes]


def broken_items() -> Iterator[int]:
    yield from range(4)
    raise LookupError("the items end badly")


@contextlib.contextmanager
def _quiet_threads() -> Iterator[None]:
    """Ignore the output of dying threads, which is not part of the test."""
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        yield
    finally:
        threading.excepthook = hook


class ExecutorLaws:
    """The laws of ``wdstools/executors/base.py``."""

    def test_every_item_has_one_outcome_with_its_number(self, executor: Executor) -> None:
        assert values(executor, work.square, range(50)) == [work.Square(n, n * n) for n in range(50)]

    def test_nothing_to_do_gives_nothing(self, executor: Executor) -> None:
        assert list(executor.map(work.square, [])) == []

    def test_an_executor_can_be_used_again(self, executor: Executor) -> None:
        assert values(executor, work.square, [1, 2, 3]) == values(executor, work.square, [1, 2, 3])

    def test_an_error_comes_back_whole_and_ends_nothing_else(self, executor: Executor) -> None:
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

    def test_an_error_keeps_the_report_that_it_carries(self, executor: Executor) -> None:
        (outcome,) = executor.map(work.fail_with_report, [7])
        assert isinstance(outcome.error, IntegrityError)
        report: Any = outcome.error.report
        assert report.checked == {"shards": 7}
        assert report.findings[0].start == 3

    def test_a_bug_in_the_work_comes_back_with_its_traceback(self, executor: Executor) -> None:
        outcomes = {outcome.index: outcome for outcome in executor.map(work.stumble, [1, 0, 1])}
        assert (outcomes[0].result(), outcomes[2].result()) == (1, 1)
        error = outcomes[1].error
        assert isinstance(error, WorkerError)
        assert "ZeroDivisionError" in error.message
        assert "in stumble" in error.traceback

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_ticks_add_up_to_the_work_that_was_done(self, executor: Executor, count: int) -> None:
        ticks: list[int] = []
        outcomes = list(executor.map(work.tick_each, [count] * 5, ticks.append))
        assert len(outcomes) == 5
        assert sum(ticks) == 5 * count

    def test_ticks_come_in_the_thread_of_the_caller(self, executor: Executor) -> None:
        threads: set[int] = set()
        list(executor.map(work.tick_each, [2] * 20, lambda _: threads.add(threading.get_ident())))
        assert threads <= {threading.get_ident()}

    def test_items_are_taken_when_a_worker_is_free_for_them(self, executor: Executor, tmp_path: Path) -> None:
        ahead: list[int] = []

        def items() -> Iterator[tuple[str, int]]:
            for number in range(30):
                ahead.append(number - len(os.listdir(tmp_path)))
                yield str(tmp_path), number

        assert values(executor, work.leave_mark, items()) == list(range(30))
        assert max(ahead) <= max(1, executor.jobs * 3 // 2)

    def test_endless_items_can_be_left_at_any_time(self, executor: Executor) -> None:
        outcomes = executor.map(work.square, itertools.count())
        assert len(list(itertools.islice(outcomes, 5))) == 5
        outcomes.close()  # type: ignore[attr-defined]  # the iterators are generators

    def test_a_map_that_was_left_does_not_answer_for_the_next(self, executor: Executor) -> None:
        for _ in range(3):
            abandoned = executor.map(work.square, itertools.count(1000))
            next(abandoned)
            abandoned.close()  # type: ignore[attr-defined]  # the iterators are generators
            assert values(executor, work.square, range(6)) == [work.Square(n, n * n) for n in range(6)]

    def test_an_error_of_the_items_reaches_the_caller(self, executor: Executor) -> None:
        """It must not be a hang, nor a shorter run that looks complete."""
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

    def test_the_executor_works_on_after_an_error_of_the_items(self, executor: Executor) -> None:
        with pytest.raises(LookupError):
            list(executor.map(work.square, broken_items()))
        assert values(executor, work.square, range(6)) == [work.Square(n, n * n) for n in range(6)]

    def test_an_answer_is_never_tried_again(self, executor: Executor, tmp_path: Path) -> None:
        items = [(str(tmp_path), name) for name in ("fails", "stumbles")]
        outcomes = list(executor.map(work.count_and_fail, items))
        assert sorted(type(outcome.error).__name__ for outcome in outcomes) == ["FormatError", "WorkerError"]
        assert {name: os.path.getsize(tmp_path / name) for _, name in items} == {"fails": 1, "stumbles": 1}

    def test_a_shared_value_comes_to_every_item(self, executor: Executor) -> None:
        first, second = executor.share(work.Square(3, 9)), executor.share(work.Square(4, 16))
        assert first != second
        assert executor.share(work.Square(3, 9)) == first
        assert (first.get(), second.get()) == (work.Square(3, 9), work.Square(4, 16))
        found = values(executor, work.add_shared, [(ref, n) for n in range(6) for ref in (first, second)])
        assert found == [square + n for n in range(6) for square in (9, 16)]

    def test_a_shared_value_is_gone_when_its_executor_was_closed(self, executor: Executor) -> None:
        ref = executor.share(work.Square(5, 25))
        assert values(executor, work.add_shared, [(ref, 1)]) == [26]
        executor.close()
        with pytest.raises(LookupError):
            ref.get()

    def test_more_values_are_shared_than_a_worker_keeps(self, executor: Executor) -> None:
        refs = [executor.share(work.Square(n, n * n)) for n in range(40)]
        assert values(executor, work.add_shared, [(ref, 0) for ref in (*refs, *refs)]) == [n * n for n in range(40)] * 2

    def test_closing_twice_is_no_error(self, executor: Executor) -> None:
        executor.close()
        executor.close()


class LossLaws:
    """Laws of an ``executor`` whose workers are processes, some of which are killed."""

    def test_a_worker_that_was_killed_once_costs_nothing(self, executor: Executor, tmp_path: Path) -> None:
        ticks: list[int] = []
        outcomes = list(executor.map(work.die_at_first, [(str(tmp_path), n) for n in range(6)], ticks.append))
        assert sorted(outcome.index for outcome in outcomes) == list(range(6))
        assert sorted(outcome.result() for outcome in outcomes) == list(range(6))
        assert sum(ticks) == 6 * 3

    def test_an_item_whose_worker_is_always_killed_has_an_outcome_of_its_own(
        self, executor: Executor, tmp_path: Path
    ) -> None:
        items = [(str(tmp_path), n) for n in (0, 2, 3, 4)]
        outcomes = {outcome.index: outcome for outcome in executor.map(work.count_and_die_on_odd, items)}
        assert sorted(outcomes) == [0, 1, 2, 3]
        assert [outcomes[n].result() for n in (0, 1, 3)] == [0, 2, 4]
        error = outcomes[2].error
        assert isinstance(error, WorkerLostError)
        assert error.code == "worker-lost"
        assert "item 2" in error.where
        assert error.got
        assert os.path.getsize(tmp_path / "3") == ATTEMPTS


def found_of_numbers(executor: Executor, folder: Path) -> tuple[int, list[str]]:
    """How many processes read a shared array at the same time, and in which memory they found it."""
    first, count = next(_FIRSTS), executor.jobs  # what came once is kept by workers that stay
    numbers = work.Numbers(100_000, first)
    folder.mkdir()
    found = values(executor, work.where_it_lies, [(numbers, str(folder), number, count) for number in range(count)])
    assert {(writeable, total) for *_, writeable, total in found} == {(False, int(numbers.all.sum()))}
    return len({process for process, *_ in found}), sorted({place for _, place, *_ in found})


class HostLaws:
    """Laws of executors whose workers are processes on this machine."""

    def test_the_workers_of_a_host_read_an_array_in_one_place(self, executor: Executor, tmp_path: Path) -> None:
        processes, places = found_of_numbers(executor, tmp_path / "marks")
        assert processes == executor.jobs > 1
        assert len(places) == 1
        assert not places[0].startswith("private")
