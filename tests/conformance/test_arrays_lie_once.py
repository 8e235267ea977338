"""Large arrays that all items hold lie once on a host, and its workers map them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import multiprocessing
import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.executor_laws import HostLaws, found_of_numbers
from wdstools.executors import packed
from wdstools.executors.futures import FuturesExecutor
from wdstools.executors.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.executors.base import Executor

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="which memory is shared is seen in /proc"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*may lead to deadlocks:DeprecationWarning"),
]


def _forked(monkeypatch: pytest.MonkeyPatch) -> Processes:
    with monkeypatch.context() as patch:
        patch.setattr(threading, "active_count", lambda: 1)
        return Processes(2)


@pytest.fixture(scope="module")
def pool() -> Iterator[concurrent.futures.Executor]:
    with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as made:
        yield made


class TestOneHost(HostLaws):
    """The laws of workers that are processes here."""

    @pytest.fixture(params=["forked", "futures"])
    def executor(
        self, request: pytest.FixtureRequest, pool: concurrent.futures.Executor, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Executor]:
        made = FuturesExecutor(pool) if request.param == "futures" else _forked(monkeypatch)
        yield made
        made.close()

    def test_nothing_is_left_of_the_file_that_they_read(self, executor: Executor, tmp_path: Path) -> None:
        with contextlib.closing(executor):
            found_of_numbers(executor, tmp_path / "marks")
            assert any("memfd:wdstools" in name for name in _open_files())
        assert not any("memfd:wdstools" in name for name in _open_files())

    @pytest.mark.parametrize("fault", ["no room", "out of reach"])
    def test_each_worker_gets_an_array_of_its_own_where_there_is_no_other_way(
        self, executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        if fault == "no room":
            monkeypatch.setattr(packed, "unnamed_file", _no_room)
        else:
            monkeypatch.setattr(packed.Lent, "nearby", lambda lent: replace(_nearby(lent), inode=1))
        processes, places = found_of_numbers(executor, tmp_path / "marks")
        apart = fault == "no room" or isinstance(executor, FuturesExecutor)  # others are given the open file
        assert (processes, len(places)) == (2, 2 if apart else 1)


_nearby = packed.Lent.nearby


def _no_room(size: int) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open_files() -> list[str]:
    names = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder itself
            names.append(os.readlink(f"/proc/self/fd/{name}"))
    return names
