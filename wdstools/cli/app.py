"""The entry point, and the only place where errors become exit codes."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback

import typer

from wdstools.cli.output import Output, lost
from wdstools.cli.program import NAME, Interrupted, app
from wdstools.cli.standard import open_missing, say, show_all
from wdstools.cli.wrong_usage import NOT_UNDERSTOOD, refuse
from wdstools.errors import (
    BusyError,
    FormatError,
    IntegrityError,
    SkippedError,
    StoreError,
    UsageError,
    WdsError,
    WorkerError,
    WorkerLostError,
)
from wdstools.executors.base import COLLECT_AFTER
from wdstools.log import Clock, tell
from wdstools.shortage import HINT, guard_numpy, is_short_of_memory

_CODE_OF_ERROR: tuple[tuple[type[BaseException], int], ...] = (
    (UsageError, 2),
    (SkippedError, 4),
    (IntegrityError, 1),
    (FormatError, 5),
    (BusyError, 6),
    (StoreError, 4),
    (WorkerLostError, 4),
    (WorkerError, 70),
    (WdsError, 70),
)


#: The errors of a standard output that cannot be written.
_OF_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF, errno.EPIPE, errno.ENXIO}


def _run() -> int:
    """Run the command that was typed, and return its exit code."""
    try:
        return app(prog_name=NAME, standalone_mode=False) or 0
    except NOT_UNDERSTOOD as error:
        return refuse(error)
    except WdsError:
        raise
    except typer.Abort:  # a question that nobody answered
        raise Interrupted from None
    except OSError as error:
        if error.filename is None and error.errno in _OF_OUTPUT:  # typer writes help and version itself
            raise lost(error) from error
        raise


def _start_lightly() -> None:
    """Avoid the largest costs of starting a command. Worker processes repeat the first step and inherit the second.

    The garbage collector would walk all modules again and again while libraries are imported. The threads of numpy's
    linear algebra, which commands use only for small products, would keep all other cores busy for a tenth of a second.
    """
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    guard_numpy()


def _is_nowhere(error: BaseException) -> bool:
    """Whether the working folder is gone, and the error comes from asking for its name."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return isinstance(error, FileNotFoundError | WorkerError)
    return False


def _end_nowhere(output: Output) -> int:
    hint = "cd to a folder that exists, then run the same command again"
    return output.end("the working folder no longer exists", 4, code="not-found", hint=hint)


def _end_with(output: Output, error: WdsError) -> int:
    code = next(number for kind, number in _CODE_OF_ERROR if isinstance(error, kind))
    output.error(error, code)
    if isinstance(error, WorkerError) and error.traceback and not output.json:
        say(error.traceback)
    return code


def main() -> None:
    """Run the command line, and end the process with one of EXIT_CODES."""
    _start_lightly()
    open_missing()
    show_all()
    output, clock = Output.of(sys.argv), Clock()
    try:
        from wdstools.cli import commands

        commands.load(sys.argv[1:])
        code = _run()
    except WdsError as error:
        code = _end_nowhere(output) if _is_nowhere(error) else _end_with(output, error)
    except (KeyboardInterrupt, Interrupted):
        text = "no file was left half-written; run the same command again to continue"
        code = output.end(text, 130, code="interrupted")
    except Exception as error:  # noqa: BLE001  the last resort: report it as a bug
        if is_short_of_memory(error):
            code = output.end("there is not enough memory", 4, code="no-memory", hint=HINT)
        elif isinstance(error, ImportError):
            code = output.end(
                f"a library cannot be loaded: {error}", 4, code="library-missing", hint="install it again"
            )
        elif _is_nowhere(error):
            code = _end_nowhere(output)
        else:
            code = output.bug(traceback.format_exc())
    output.weaker()
    tell("cli", "ends", exit=code, seconds=clock)
    gc.freeze()  # otherwise the interpreter walks all objects several times at exit: 40 ms
    sys.exit(code)
