"""The command line with little memory: what is bounded passes, what is not dies."""

from __future__ import annotations

import resource
import subprocess
from typing import TYPE_CHECKING, BinaryIO

from tests.support.command import COMMAND, HANG_SECONDS, Ran, environment

if TYPE_CHECKING:
    from pathlib import Path

#: Address space, not use: a handful of libraries map 1 to 2 GiB without touching it.
ADDRESS_BYTES = 4 << 30


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))


def run_limited(*arguments: str | Path, stdin: bytes | BinaryIO = b"", cwd: Path | None = None) -> Ran:
    """Run ``wdstools ARGUMENTS`` in 4 GiB of address space; ``stdin`` is bytes or an open file."""
    given: dict[str, bytes | BinaryIO] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(  # type: ignore[call-overload]  # one of input and stdin
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=HANG_SECONDS,
        env=environment(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1"),
        preexec_fn=_limit,  # nothing but a system call
        **given,
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
