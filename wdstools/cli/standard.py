"""Standard input, output and error of a process: there, even where it was started without them, and never in the way."""

from __future__ import annotations

import io
import os
import sys
from functools import lru_cache

from wdstools.address import secrets_of


def open_missing() -> None:
    """Give the process the standard files that it was started without (``>&-``, some daemons); call it first.

    Otherwise the next file that is opened gets their number, and what is meant for people is written into it. A missing
    input cannot be read, and a missing output refuses what is written, so that nothing is lost without a word; messages
    go nowhere.
    """
    for number, name, flags in ((0, "stdin", os.O_WRONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            given = os.open(os.devnull, flags)
            os.dup2(given, number)
            if given != number:
                os.close(given)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def show_all() -> None:
    """What the encoding of an output does not have (``PYTHONIOENCODING=ascii``) is escaped, and nothing fails for it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def hide(text: str) -> str:
    """A text without the passwords, signatures and tokens of the URLs that this command was given.

    What makes a text shows addresses by ``address.display``; this is for what it forgot.
    """
    for secret in _secrets_of("\n".join((*sys.argv, *os.environ.values()))):
        text = text.replace(secret, "...")
    return text


@lru_cache(1)
def _secrets_of(given: str) -> tuple[str, ...]:
    return secrets_of(given)


def say(text: str) -> None:
    """Write to standard error, if that can be written: a message that is lost changes no result."""
    try:
        sys.stderr.write(hide(text))
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # what is still buffered goes nowhere
