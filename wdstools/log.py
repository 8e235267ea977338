"""What the library logs, under the logger ``wdstools``: requests, shards and decisions. Silent unless there is a listener.

``logging`` is not imported for this: a program that has not imported it has no handler, and every command starts faster
without it. No message shows the secrets of an address.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from wdstools.address import without_secrets

if TYPE_CHECKING:
    import logging

#: The levels of the standard library: DEBUG for requests, INFO for shards and decisions.
DEBUG, INFO = 10, 20


def listener(area: str, level: int = INFO) -> logging.Logger | None:
    """The logger of an area (``wdstools.AREA``) if it is enabled for this level, else None, at almost no cost."""
    if "logging" not in sys.modules:
        return None
    import logging

    top = logging.getLogger("wdstools")
    if not top.handlers:
        top.addHandler(logging.NullHandler())
    logger = top.getChild(area)
    return logger if logger.isEnabledFor(level) else None


def tell(area: str, what: str, level: int = INFO, **facts: object) -> None:
    """Log ``what`` happened, with its facts. Facts that are None are left out."""
    logger = listener(area, level)
    if logger is not None:
        known = (f"{name}={value}" for name, value in facts.items() if value is not None)
        logger.log(level, "%s", without_secrets(" ".join((what, *known))))


class Clock:
    """A stopwatch that prints as seconds, to the millisecond."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self._began:.3f}"
