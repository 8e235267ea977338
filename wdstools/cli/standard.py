"""The standard input, output and error of the process, even if it was started without them."""

from __future__ import annotations

import io
import os
import sys
from functools import lru_cache

from wdstools.address import secrets_of


def open_missing() -> None:
    """Open the standard files that the process was started without (``>&-``, some daemons); call this first.

    Otherwise the next file that is opened gets their number, and messages are written into it. The replacement of a
    missing input cannot be read, and that of a missing output refuses writes, so that nothing is lost silently; error
    messages are discarded.
    """
    for number, name, flags in ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            given = os.open(os.devnull, flags)
            os.dup2(given, number)
            if given != number:
                os.close(given)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def show_all() -> None:
    """Escape characters that the encoding of an output lacks (``PYTHONIOENCODING=ascii``), instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def hide(text: str) -> str:
    """A text without the passwords, signatures and tokens in the URLs given to this command.

    Code that writes addresses uses ``address.display``; this catches what it forgot.
    """
    for secret in _secrets_of("\n".join((*sys.argv, *os.environ.values()))):
        text = text.replace(secret, "...")
    return text


@lru_cache(1)
def _secrets_of(given: str) -> tuple[str, ...]:
    return secrets_of(given)


def say(text: str) -> None:
    """Write to standard error if possible: a lost message must not change the result."""
    try:
        sys.stderr.write(hide(text))
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # discards what is still buffered
