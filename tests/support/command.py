"""The command line as a user meets it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support import warm
from tests.support.json_lines import check_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

environment, REPOSITORY = warm.environment, warm.REPOSITORY
COMMAND = (sys.executable, "-m", "wdstools")
#: Long enough for a loaded machine; reached only by a hang.
HANG_SECONDS = 300
#: A running command; what both kinds have in common.
Process = warm.Command | subprocess.Popen[bytes]
#: What a command prints when it is held at a place: see paused_command.
PAUSED = b"paused\n"


@dataclass(frozen=True)
class Ran:
    """What a command did. Bytes that are not UTF-8 are surrogates in the texts."""

    code: int
    out: str
    err: str
    raw: bytes

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines of stdout; fails if a line is not JSON."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last JSON line."""
        return self.lines[-1]

    @property
    def error(self) -> dict[str, Any]:
        """The one JSON line on stderr."""
        (line,) = self.err.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found


def run_command(
    *arguments: str | Path,
    cwd: Path | None = None,
    stdin: bytes = b"",
    env: dict[str, str] | None = None,
    hang_seconds: float = HANG_SECONDS,
    module: str = "wdstools",
    cold: bool = False,
) -> Ran:
    """Run ``wdstools ARGUMENTS`` to its end, or another module; ``cold`` from a new Python, a third of a second more.

    In every test, what it prints with ``--json`` is checked against the command's schema.
    """
    command = [*map(str, arguments)]
    with start_command(*command, cwd=cwd, env=env, module=module, cold=cold) as process:
        try:
            raw, told = process.communicate(stdin, hang_seconds)
        except BaseException:
            process.kill()
            raise
    out, err = (text.decode("utf-8", "surrogateescape") for text in (raw, told))
    assert process.returncode is not None
    if module == "wdstools" and "--json" in command and process.returncode >= 0:
        check_lines(command, out, err)
    return Ran(process.returncode, out, err, raw)


def start_command(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    module: str = "wdstools",
    cold: bool = False,
) -> Process:
    """Start ``wdstools ARGUMENTS``, in a session of its own, with pipes at all three ends."""
    command, wanted = [*map(str, arguments)], environment(**(env or {}))
    if not cold and warm.is_possible(wanted):
        return warm.start(module, command, wanted, cwd)
    return subprocess.Popen(
        [sys.executable, "-m", module, *command],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**wanted, "PYTHONPATH": f"{REPOSITORY}:{wanted.get('PYTHONPATH', '')}"},
    )


def assert_clean_failure(ran: Ran, *codes: int) -> None:
    """The command failed as documented: with one of these codes, a message, and no traceback."""
    assert ran.code in codes, (ran.code, ran.out, ran.err)
    assert "Traceback" not in ran.err, ran.err
    assert ran.err.strip(), "a failure without a word on stderr"


def stop_at(place: str, command: tuple[str, ...], cwd: Path, stop: Callable[[int], None]) -> tuple[int, bytes]:
    """Run a command until it is held at a place (see paused_command), and stop it there; returns exit code and stderr."""
    with start_command(place, *command, cwd=cwd, module="tests.support.paused_command") as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        try:
            assert first == PAUSED
            stop(process.pid)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # otherwise it would wait for ever
            raise
        # the pipes end when the last process that holds them does: so the workers have gone with their parent
        _, err = process.communicate(timeout=HANG_SECONDS)
    return process.wait(), err
