"""Every error that wdstools raises on purpose.

    WdsError
    |-- UsageError        (ValueError)         a bad argument or an impossible combination        exit 2
    |-- StoreError        (OSError)            could not reach, read or write storage             exit 4
    |   |-- NotFoundError (FileNotFoundError)  nothing is there
    |   |-- TransientError                     not at the moment; trying again may help
    |   `-- SourceChangedError                 an input changed while it was read
    |-- FormatError       (ValueError)         bytes do not follow FORMAT.md                      exit 5
    |   `-- UnsupportedVersionError            written by a newer wdstools
    |-- BusyError                              another writer holds this dataset                  exit 6
    |-- SkippedError                           an input was refused under ``on_error="fail"``     exit 4
    |-- IntegrityError                         carries a Report; ``report.raise_for_findings()``  exit 1
    `-- WorkerError                            a bug inside a worker, with its traceback          exit 70

An error has four parts: what (``code`` and message), where, expected and got, and what to do now (``hint``).
``code`` is stable and append-only: scripts may match on it, never on the message. All of them pickle, so a
worker process can raise them.
"""

from __future__ import annotations

from typing import Any


class WdsError(Exception):
    """The root of the tree; catch this to catch everything that wdstools raises on purpose."""

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
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.where = where
        self.expected = expected
        self.got = got
        self.hint = hint
        if hint:
            self.add_note(f"  hint: {hint}")  # tracebacks show it; the command line prints it itself

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
    """Storage did not answer as it should, and may when asked again; ``retry_after`` is the server's wish, in seconds."""

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
    """A format version newer than this wdstools knows."""

    code = "format-version"


class BusyError(WdsError):
    """Another writer is at work on the same dataset."""

    code = "busy"


class SkippedError(WdsError):
    """An input sample was refused and the caller asked to stop at the first (``on_error="fail"``)."""

    code = "sample-skipped"


class IntegrityError(WdsError):
    """A check found damage; ``report`` holds the findings."""

    code = "damaged"

    def __init__(self, message: str, *, report: object = None, **parts: str) -> None:
        super().__init__(message, **parts)
        self.report = report


class WorkerError(WdsError):
    """An unexpected exception inside a worker: a bug. ``traceback`` is the worker's own."""

    code = "worker-failed"

    def __init__(self, message: str, *, traceback: str = "", **parts: str) -> None:
        super().__init__(message, **parts)
        self.traceback = traceback
