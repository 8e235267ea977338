"""The entry point: the one place where errors become exit codes."""

from __future__ import annotations

import errno
import gc
import os
import sys
import traceback

from wdstools.cli.output import Output, lost
from wdstools.cli.program import Interrupted, app
from wdstools.cli.standard import open_missing, say, show_all
from wdstools.errors import (
    BusyError,
    FormatError,
    IntegrityError,
    SkippedError,
    StoreError,
    UsageError,
    WdsError,
    WorkerError,
)
from wdstools.executors.base import COLLECT_AFTER

_CODE_OF_ERROR: tuple[tuple[type[BaseException], int], ...] = (
    (UsageError, 2),
    (SkippedError, 4),
    (IntegrityError, 1),
    (FormatError, 5),
    (BusyError, 6),
    (StoreError, 4),
    (WorkerError, 70),
    (WdsError, 70),
)


#: What a standard output that cannot be written says.
_OF_OUTPUT = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EBADF, errno.EPIPE, errno.ENXIO}


def _run() -> None:
    try:
        app()
    except WdsError:
        raise
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError from error
        if error.filename is None and error.errno in _OF_OUTPUT:  # help and version are written by typer
            raise lost(error) from error
        raise


def _start_lightly() -> None:
    """Spare a command what costs most at its start; worker processes do the first for themselves, and inherit the second.

    The collector walks all modules again and again while libraries are read; numpy's linear algebra, of which commands
    need small products only, keeps every other core busy for a tenth of a second waiting for work.
    """
    gc.set_threshold(COLLECT_AFTER, 20, 20)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Run the command line; ends the process with a code of EXIT_CODES."""
    _start_lightly()
    open_missing()
    show_all()
    try:
        from wdstools.cli import commands  # noqa: F401  registers the commands

        _run()
    except WdsError as error:
        code = next(number for kind, number in _CODE_OF_ERROR if isinstance(error, kind))
        Output.of(sys.argv).error(error, code)
        if isinstance(error, WorkerError) and error.traceback:
            say(error.traceback)
        sys.exit(code)
    except (KeyboardInterrupt, Interrupted):
        say("interrupted: no file was left half-written; run the same command again to continue\n")
        sys.exit(130)
    except MemoryError:
        say("error: there is not enough memory\n  hint: use fewer jobs, or raise the limit (ulimit -v)\n")
        sys.exit(4)
    except ImportError as error:
        say(
            f"error: a library cannot be loaded: {error}\n  hint: check that there is enough memory (ulimit -v), or install it again\n"
        )
        sys.exit(4)
    except Exception:  # noqa: BLE001  the last resort: say that it is a bug
        say(traceback.format_exc())
        say("this is a bug in wdstools: please report it with the lines above\n")
        sys.exit(70)
