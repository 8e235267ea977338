"""Worker processes end when their parent is killed: a pipe that they hold open closes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.command import HANG_SECONDS

#: The parent: starts workers, forked (alone in its process) or spawned (beside a thread), and has them work.
PARENT = """
import sys, threading, itertools
from tests.support import work
from wdstools.executors.processes import Processes

if __name__ == "__main__":
    if sys.argv[1] == "spawned":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    executor = Processes(2)
    others = Processes(1)
    if sys.argv[2] == "idle":
        list(executor.map(work.square, range(4)))
        print("working\\nworking", flush=True)
        threading.Event().wait()
    for outcome in executor.map(work.announce_and_work_for_ever, itertools.count()):
        pass
"""


@pytest.mark.parametrize("kind", ["forked", "spawned"])
@pytest.mark.parametrize("state", ["busy", "idle"])
def test_workers_end_when_their_parent_is_killed(kind: str, state: str, tmp_path: os.PathLike[str]) -> None:
    if kind == "forked" and sys.platform != "linux":
        pytest.skip("workers are forked on Linux only")
    script = os.path.join(tmp_path, "parent.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write(PARENT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(
        [sys.executable, script, kind, state], stdout=subprocess.PIPE, cwd=os.getcwd(), env=environment
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"working\n"
        assert parent.stdout.readline() == b"working\n"
        parent.kill()
        # every worker holds the other end of this pipe: its end is theirs
        left, _ = parent.communicate(timeout=HANG_SECONDS)
    assert left == b""
    assert parent.returncode == -9
