"""What users and scripts see: text or JSON lines on stdout; progress, hints and errors on stderr."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from wdstools.cli.standard import hide, say
from wdstools.errors import StoreError, UsageError
from wdstools.log import tell
from wdstools.progress import Progress, Silent
from wdstools.results import to_dict
from wdstools.stores.abilities import weaknesses
from wdstools.units import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wdstools.errors import WdsError

_PLAIN_SECONDS = 30.0
_SIGPIPE, _INTERRUPTED, _BUG = 128 + 13, 130, 70
_FEW = 20
COLORS = ("auto", "always", "never")
#: The version of the JSON lines. Within one version, fields may be added, but never renamed or removed.
JSON_SCHEMA = 1


class Output:
    """One command's output. ``color`` is auto, always or never; NO_COLOR is honoured by rich."""

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        no_progress: bool = False,
        color: str = "auto",
    ) -> None:
        if color not in COLORS:
            raise UsageError("no such choice", where="--color", expected=" or ".join(COLORS), got=color)
        self.json = json
        self.quiet = quiet
        self.verbose = verbose
        self._no_progress = no_progress
        self._color = color

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Output:
        """The output that these arguments ask for, when parsing them has failed or has ended."""
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        return cls(json="--json" in own)

    def line(self, text: str = "") -> None:
        """Write a line of the answer, for people."""
        if not self.json:
            self._write(printable(text) + "\n")

    def note(self, text: str) -> None:
        """Write a line that explains the answer; left out with ``--quiet``."""
        if not self.quiet:
            self.line(text)

    def payload(self, data: bytes) -> None:
        """Write bytes of the answer, as they are."""
        with _stdout():
            sys.stdout.buffer.write(data)

    def page(self, path: str, html: str) -> None:
        """Write a page to a file, completely or not at all, and its path to stderr."""
        from wdstools.landing.answer import write_page

        write_page(path, html)
        self.hint(f"page: {path}")

    def flush(self) -> None:
        """Flush what has been written; raises what a write raises."""
        with _stdout():
            sys.stdout.flush()

    def _write(self, text: str) -> None:
        with _stdout():
            sys.stdout.write(hide(text))

    def record(self, kind: str, value: object) -> None:
        """Write a JSON line of the answer, for scripts."""
        if self.json:
            document = {"type": kind, **to_dict(value)}
            self._write(json.dumps(document, ensure_ascii=True, sort_keys=True) + "\n")

    def summary(self, value: object, *, exit_code: int, ok: bool) -> None:
        """Write the last JSON line."""
        if self.json:
            document = {**to_dict(value), "type": "summary", "schema": JSON_SCHEMA, "ok": ok, "exit_code": exit_code}
            if found := weaknesses():
                document["weaker"] = [to_dict(one) for one in found]
            self._write(json.dumps(document, ensure_ascii=True, sort_keys=True) + "\n")

    def weaker(self) -> None:
        """Say once, on stderr, which guarantees the places that were written to lack."""
        for one in weaknesses():
            self.hint(f"weaker: {one.code}: {one.message}" + (f": {one.where}" if one.where else ""))

    def few(self, lines: Iterable[str]) -> None:
        """Write some lines; only the first twenty unless ``--verbose``."""
        shown = list(lines)
        for line in shown if self.verbose else shown[:_FEW]:
            self.line(line)
        if len(shown) > _FEW and not self.verbose:
            self.line(f"... and {len(shown) - _FEW:,} more (-v shows all)")

    def hint(self, text: str) -> None:
        """Say on stderr what to do next."""
        if not self.quiet and not self.json:
            say(printable(text) + "\n")

    def error(self, error: WdsError, code: int) -> None:
        """Write a fatal error to stderr."""
        tell("cli", f"error: {error.code}: {error}")
        if self.json:
            trace = getattr(error, "traceback", "")  # of a worker
            self._fatal(code, **error.to_dict(), **({"traceback": trace} if trace else {}))
            return
        text = f"error: {error.code}: {error}"
        if error.hint:
            text += f"\n  hint: {error.hint}"
        say(printable(text) + "\n")

    def end(self, message: str, exit_code: int, *, code: str, hint: str = "") -> int:
        """Write to stderr why the command ends, where no error of wdstools says it; returns the exit code."""
        tell("cli", f"error: {code}: {message}")
        if self.json:
            self._fatal(exit_code, code=code, message=message, **({"hint": hint} if hint else {}))
        else:
            kind = code if exit_code == _INTERRUPTED else "error"
            say(printable(f"{kind}: {message}" + (f"\n  hint: {hint}" if hint else "")) + "\n")
        return exit_code

    def bug(self, trace: str) -> int:
        """Write an unexpected exception to stderr; returns the exit code."""
        tell("cli", f"error: bug: {trace}")
        request = "this is a bug in wdstools: please report it with the lines above"
        if self.json:
            self._fatal(_BUG, code="bug", message=request.replace("above", "in traceback"), traceback=trace)
        else:
            say(f"{trace}{request}\n")
        return _BUG

    def _fatal(self, exit_code: int, **parts: str) -> None:
        document = {"type": "error", "schema": JSON_SCHEMA, **parts, "exit_code": exit_code}
        say(json.dumps(document, sort_keys=True) + "\n")

    def progress(self) -> Progress:
        """A bar on a terminal, a plain line every 30 seconds elsewhere, nothing if the options say so."""
        if self.quiet or self._no_progress or self.json:
            return Silent()
        if sys.stderr.isatty() and self._color != "never":
            return _Bar(force_color=self._color == "always")
        return _PlainLines()


@contextlib.contextmanager
def _stdout() -> Iterator[None]:
    """Around writing the answer: a closed pipe ends the process, as SIGPIPE would; any other failure is an error."""
    try:
        yield
    except OSError as error:
        raise lost(error) from error


def lost(error: OSError) -> BaseException:
    """What to raise if the answer cannot be written; what is still buffered is discarded."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return SystemExit(_SIGPIPE)
    return StoreError(
        "the answer cannot be written", code="output-failed", where="standard output", got=error.strerror or ""
    )


class _PlainLines:
    """Progress as plain lines, for logs."""

    def __init__(self) -> None:
        self._task, self._unit = "", ""
        self._total = self._done = 0
        self._began = self._last = 0.0

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task."""
        self._task, self._total, self._unit, self._done = task, total, unit, 0
        self._began = self._last = time.monotonic()

    def advance(self, count: int) -> None:
        """Count, and print every 30 seconds."""
        self._done += count
        now = time.monotonic()
        if now - self._last >= _PLAIN_SECONDS:
            self._last = now
            rate = self._done / (now - self._began)
            left = f", {(self._total - self._done) / rate:.0f} s left" if rate and self._total else ""
            say(f"{self._task}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.0f}/s{left}\n")

    def finish(self) -> None:
        """Do nothing: there is nothing to clean up."""


class _Bar:
    """Progress as a bar, for people. Drawn only inside calls: it has no thread, so that workers can still be forked."""

    def __init__(self, *, force_color: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True, force_terminal=force_color or None),
            auto_refresh=False,
            transient=True,
        )
        self._task: Any = None
        self._unit = ""
        self._began = self._drawn = 0.0

    def start(self, task: str, total: int, unit: str) -> None:
        """Begin a task."""
        self._unit = unit
        self._began = time.monotonic()
        self._progress.start()
        self._task = self._progress.add_task(task, total=total or None, rate="")

    def advance(self, count: int) -> None:
        """Count, and redraw at most ten times a second."""
        self._progress.advance(self._task, count)
        now = time.monotonic()
        if now - self._drawn > 0.1:
            self._drawn = now
            done = self._progress.tasks[-1].completed
            rate = done / max(now - self._began, 1e-3)
            text = f"{size(int(rate))}/s" if self._unit == "bytes" else f"{rate:,.0f} {self._unit}/s"
            self._progress.update(self._task, rate=text, refresh=True)

    def finish(self) -> None:
        """Remove the bar."""
        self._progress.stop()
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None


def printable(text: str) -> str:
    """Text from outside, made safe for a terminal: control characters and lone surrogates are escaped."""
    return "".join(
        c if c == "\n" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else ascii(c)[1:-1] for c in text
    )


def one_line(text: str) -> str:
    """A name from outside on one line: it must not pass for a line of the answer."""
    return printable(text.replace("\n", "\\n"))
