"""``--log-file``: append a line with a timestamp for each event of a command. Worker processes write to the file too."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time

from wdstools import __version__
from wdstools.address import display
from wdstools.cli.output import one_line
from wdstools.cli.standard import hide
from wdstools.errors import UsageError
from wdstools.log import tell
from wdstools.stores.folders import path_here
from wdstools.stores.local import OPENED, appending_fd, translated


class _Lines(logging.Formatter):
    """Time in UTC, level, area, process, message: always one line, and without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        message = one_line(hide(record.getMessage()))
        return f"{moment}.{int(record.msecs):03}Z {record.levelname} {record.name} [{record.process}] {message}"


def write_log(path: str) -> None:
    """Append all events from now on to a file; raises UsageError and StoreError if that is not possible."""
    path_here(path, "--log-file")
    if not path or os.path.isdir(path):
        raise UsageError(
            "the log must go to a file", where="--log-file", expected="a file's path", got=path or "nothing"
        )
    if os.path.isfile(path) and not path.startswith(OPENED):
        from wdstools.landing.answer import (
            refuse_to_overwrite,
        )  # imported late: it loads Arrow, which a new log does not need

        refuse_to_overwrite(path, "log")
    with translated(path):
        stream = os.fdopen(appending_fd(path), "a", encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Lines())
    top = logging.getLogger("wdstools")
    top.addHandler(handler)
    top.setLevel(logging.DEBUG)
    top.propagate = False
    logging.raiseExceptions = False  # a log that cannot be written must not change the result
    tell(
        "cli",
        f"begins: wdstools {shlex.join(map(display, sys.argv[1:]))}",
        version=__version__,
        python=sys.version.split()[0],
        platform=sys.platform,
    )
