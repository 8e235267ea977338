"""The command line with little memory: what is bounded passes, and what is not dies.

``python -m tests.support.limited ARGUMENTS`` is the command line in 4 GiB of address space.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

from tests.support.command import HANG_SECONDS, Ran, environment, run_command
from tests.support.warm import REPOSITORY
from wdstools.cli.app import main

#: Address space, not use: a handful of libraries map 1 to 2 GiB without touching it.
ADDRESS_BYTES = 4 << 30
#: What is left for a command once every library is mapped.
MORE_BYTES = 2 << 30


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = max(ADDRESS_BYTES, pages * resource.getpagesize() + MORE_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run_limited(*arguments: str | Path, stdin: bytes | BinaryIO = b"", cwd: Path | None = None) -> Ran:
    """Run ``wdstools ARGUMENTS`` with little memory; ``stdin`` is bytes or an open file."""
    if isinstance(stdin, bytes):
        return run_command(*arguments, stdin=stdin, cwd=cwd, module=__name__)
    done = subprocess.run(
        [sys.executable, "-m", __name__, *map(str, arguments)],
        cwd=cwd,
        stdin=stdin,
        capture_output=True,
        check=False,
        timeout=HANG_SECONDS,
        env=environment(PYTHONPATH=str(REPOSITORY), OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
    )
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return Ran(done.returncode, out, err, done.stdout)


def assert_announced(ran: Ran, *codes: int) -> None:
    """The command ended with one of these codes, said something, and did not fall over."""
    text = ran.out + ran.err
    assert "Traceback" not in text, text[-3000:]
    assert ran.code in codes, (ran.code, text[-3000:])
    assert text.strip()
    assert "\x1b" not in text, "an escape sequence reached the terminal"


if __name__ == "__main__":
    _limit()
    main()
