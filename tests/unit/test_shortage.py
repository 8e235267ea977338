"""Errors that mean that there is no memory, or no room for another thread, and errors that do not."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.command import environment
from wdstools.errors import WorkerError
from wdstools.executors.local import attempt
from wdstools.shortage import is_short_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wdstools.executors.base import Tick


@pytest.fixture
def limited() -> Iterator[None]:
    """An address space that has an end, far away."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 46, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def error_of_a_thread() -> BaseException:
    before = threading.stack_size(1 << 47)
    try:
        threading.Thread(target=print).start()
    except RuntimeError as error:
        return error
    finally:
        threading.stack_size(before)
    raise AssertionError("the thread was started")


def error_of_a_start() -> BaseException:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("of the caller")
    return caught.value


@pytest.mark.usefixtures("limited")
def test_what_libraries_say_where_memory_is_limited_is_known() -> None:
    for error in (MemoryError(), OSError(errno.ENOMEM, "x"), SystemError("x"), ImportError("x"), OSError("no library")):
        assert is_short_of_memory(error), error


def test_without_a_limit_it_is_what_it_says() -> None:
    assert not any(map(is_short_of_memory, (SystemError("x"), ImportError("x"), OSError("x"), ValueError("x"))))
    assert not is_short_of_memory(error_of_a_start())
    assert is_short_of_memory(error_of_a_thread())
    assert is_short_of_memory(BlockingIOError(errno.EAGAIN, "no process can be started"))


@pytest.mark.slow
def test_a_command_ends_with_an_error_whatever_memory_it_has(tmp_path: Path) -> None:
    for kilobytes in (60_000, 100_000, *range(150_000, 900_000, 50_000)):
        words = f"{sys.executable} -m wdstools demo {tmp_path / str(kilobytes)} --samples 20"
        done = subprocess.run(
            ["bash", "-c", f"ulimit -v {kilobytes}; exec {words}"],
            capture_output=True,
            check=False,
            env=environment(PYTHONPATH=os.getcwd()),
            timeout=300,
        )
        assert done.returncode in (0, 4), done.stderr.decode()[-2000:]
        assert done.returncode == 0 or done.stderr.strip()


def _lacks_a_module(item: int, tick: Tick) -> None:
    tick(item)
    raise ImportError("no module of that name")


def test_a_module_that_is_missing_in_a_worker_is_not_called_a_lack_of_memory() -> None:
    assert isinstance(attempt(_lacks_a_module, 0, 1, lambda _: None).error, WorkerError)
