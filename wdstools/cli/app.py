"""The entry point: the one place where errors become exit codes."""

from __future__ import annotations

import gc
import os
import sys
import traceback

import typer

from wdstools import __version__
from wdstools.cli.output import Output
from wdstools.cli.standard import open_missing, say
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

EXIT_CODES = (
    (0, "yes, or done"),
    (1, "checked, and the answer is no: damage, duplicates, a difference"),
    (2, "wrong usage"),
    (3, "done, but some inputs were skipped"),
    (4, "could not: storage, disk or network; or it could not be proved"),
    (5, "bytes that are not understood"),
    (6, "another writer is at work"),
    (70, "a bug in wdstools"),
    (130, "interrupted"),
)
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
EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES) + "."


class Interrupted(Exception):  # noqa: N818
    """A command was told to stop: by itself typer would end without a word."""


app = typer.Typer(
    name="wdstools",
    help="Pack images and captions into checksummed WebDataset shards; verify and read them.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"wdstools {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Pack images and captions into checksummed WebDataset shards; verify and read them."""
    del version


def _run() -> None:
    try:
        app()
    except WdsError:
        raise
    except OSError:
        Output().flush()  # help and version are written by typer: raises if it is the answer that cannot be written
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
        say("interrupted: nothing half-written lies under a final name; the same command goes on\n")
        sys.exit(130)
    except MemoryError:
        say("error: there is not enough memory\n  hint: use fewer jobs, or raise the limit (ulimit -v)\n")
        sys.exit(4)
    except ImportError as error:
        say(
            f"error: a library cannot be loaded: {error}\n  hint: is there enough memory (ulimit -v)? else install anew\n"
        )
        sys.exit(4)
    except Exception:  # noqa: BLE001  the last resort: say that it is a bug
        say(traceback.format_exc())
        say("this is a bug in wdstools: please report it with the lines above\n")
        sys.exit(70)
