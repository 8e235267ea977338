"""Every error that wdstools raises on purpose.

    WdsError
    |-- UsageError        (ValueError)         a bad argument or an impossible combination        exit 2
    |-- StoreError        (OSError)            could not reach, read or write storage             exit 4
    |   |-- NotFoundError (FileNotFoundError)  nothing is there
    |   |-- TransientError                     unavailable at the moment; a retry may help
    |   `-- SourceChangedError                 an input changed while it was read
    |-- FormatError       (ValueError)         bytes do not follow FORMAT.md                      exit 5
    |   `-- UnsupportedVersionError            written by a newer wdstools
    |-- BusyError                              another writer holds this dataset                  exit 6
    |-- SkippedError                           an input was refused under ``on_error="fail"``     exit 4
    |-- IntegrityError                         carries a Report; ``report.raise_for_findings()``  exit 1
    `-- WorkerError                            a bug inside a worker, with its traceback          exit 70
        `-- WorkerLostError                    a worker was killed, or its host went away         exit 4

An error has four parts: what (``code`` and message), where, expected and got, and what to do now (``hint``). No part shows
the secrets of a URL, wherever its text came from. ``code`` is stable and append-only: scripts may match on it, never on the
message. All errors pickle, so a worker process can raise them.

An error of wdstools says all that is known. It is raised ``from None``, so that a traceback ends with it, not with the errors
of other libraries. Only if somebody else's function failed (a transform, a module that is not installed) is its error the cause.

A text names an option with ``option("resize", 300)``. It reads ``resize=300`` in Python, and the command line, which
knows its own flags, shows ``--resize 300``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from wdstools.address import display, without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wdstools.results import Report

#: Marks around an option in a text: characters that no text contains, as Unicode reserves them for such use.
_OPEN, _EQUALS, _CLOSE = "\ufdd0", "\ufdd1", "\ufdd2"
_QUOTES = ("'", '"')
_OPTION_RE = re.compile(f"{_OPEN}(\\w+)(?:{_EQUALS}([^{_CLOSE}]*))?{_CLOSE}")


def option(name: str, value: object = None) -> str:
    """An option, and its value if given, as part of an error's text; the error shows it as its reader would type it."""
    return f"{_OPEN}{name}{_CLOSE}" if value is None else f"{_OPEN}{name}{_EQUALS}{value!r}{_CLOSE}"


def _in_python(found: re.Match[str]) -> str:
    return found[1] if found[2] is None else f"{found[1]}={found[2]}"


def _as_flag(found: re.Match[str], flags: Mapping[str, str]) -> str:
    flag = flags.get(found[1]) or "--" + found[1].replace("_", "-")
    value = found[2]
    if value is None or value == "True":
        return flag
    return f"{flag} {value[1:-1] if value.startswith(_QUOTES) else value}"


class WdsError(Exception):
    """The base class; catch this to catch everything that wdstools raises on purpose."""

    code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str = "",
        expected: str = "",
        got: str = "",
        hint: str = "",
    ) -> None:
        given = {"message": message, "where": display(where), "expected": expected, "got": got, "hint": hint}
        given = {name: without_secrets(text) for name, text in given.items()}
        message, where, expected, got, hint = given.values()
        self._with_options = {name: text for name, text in given.items() if _OPEN in text}
        super().__init__(_OPTION_RE.sub(_in_python, message))
        self.message = _OPTION_RE.sub(_in_python, message)
        self.code = code or type(self).code
        self.where = _OPTION_RE.sub(_in_python, where)
        self.expected = _OPTION_RE.sub(_in_python, expected)
        self.got = _OPTION_RE.sub(_in_python, got)
        self.hint = _OPTION_RE.sub(_in_python, hint)
        if self.hint:
            self.add_note(f"  hint: {self.hint}")  # for tracebacks; the command line prints the hint itself

    def name_flags(self, flags: Mapping[str, str]) -> None:
        """Name options as the command line does: ``flags`` maps names to flags; others become ``--name``."""
        for name, text in self._with_options.items():
            setattr(self, name, _OPTION_RE.sub(lambda found: _as_flag(found, flags), text))

    def __str__(self) -> str:
        lines = [self.message + (f": {self.where}" if self.where else "")]
        if self.expected or self.got:
            known = (("expected", self.expected), ("got", self.got))
            lines.append("  " + "  ".join(f"{name} {value}" for name, value in known if value))
        return "\n".join(lines)

    def to_dict(self) -> dict[str, str]:
        """The error as flat strings, as ``--json`` prints it."""
        names = ("code", "message", "where", "expected", "got", "hint")
        return {name: value for name in names if (value := getattr(self, name))}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.__dict__.copy())


def _rebuild(cls: type[WdsError], message: str, state: dict[str, Any]) -> WdsError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class UsageError(WdsError, ValueError):
    """A bad argument or an impossible combination of arguments."""

    code = "usage"


class StoreError(WdsError, OSError):
    """Storage could not be reached, read or written."""

    code = "storage-failed"


class NotFoundError(StoreError, FileNotFoundError):
    """Nothing is stored under this name."""

    code = "not-found"


class TransientError(StoreError):
    """Storage failed in a way that may pass; ``retry_after`` is the delay that the server asked for, in seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: float | None = None, **parts: str) -> None:
        super().__init__(message, **parts)
        self.retry_after = retry_after


class SourceChangedError(StoreError):
    """An input file changed while it was being read."""

    code = "source-changed"


class FormatError(WdsError, ValueError):
    """Bytes that do not follow FORMAT.md."""

    code = "format"


class UnsupportedVersionError(FormatError):
    """A format version that is newer than this wdstools supports."""

    code = "format-version"


class BusyError(WdsError):
    """Another writer is at work on the same dataset."""

    code = "busy"


class SkippedError(WdsError):
    """An input sample was refused, and the caller asked to stop at the first one (``on_error="fail"``)."""

    code = "sample-skipped"


class IntegrityError(WdsError):
    """A check found damage; ``report`` holds the findings."""

    code = "damaged"

    def __init__(self, message: str, *, report: Report | None = None, **parts: str) -> None:
        super().__init__(message, **parts)
        self.report = report


class WorkerError(WdsError):
    """An unexpected exception inside a worker: a bug. ``traceback`` is the worker's own."""

    code = "worker-failed"

    def __init__(self, message: str, *, traceback: str = "", **parts: str) -> None:
        super().__init__(message, **parts)
        self.traceback = without_secrets(traceback)


class WorkerLostError(WorkerError):
    """A worker ended without a result each time that its item was tried: it was killed, or its host went away."""

    code = "worker-lost"
