"""What the library tells ``logging``, under the logger ``wdstools``: requests, shards and decisions. Silent unless somebody listens.

``logging`` is not imported for it: who has not imported it has no handler, and every command begins sooner without it. No
message shows what is secret in an address.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from wdstools.address import without_secrets

if TYPE_CHECKING:
    import logging

#: Of the standard library: requests are for who looks for something, shards and decisions for who keeps a record.
DEBUG, INFO = 10, 20


def listener(area: str, level: int = INFO) -> logging.Logger | None:
    """The logger of an area (``wdstools.AREA``), if somebody listens to this level; None, which costs next to nothing, if not."""
    if "logging" not in sys.modules:
        return None
    import logging

    top = logging.getLogger("wdstools")
    if not top.handlers:
        top.addHandler(logging.NullHandler())
    logger = top.getChild(area)
    return logger if logger.isEnabledFor(level) else None


def tell(area: str, what: str, level: int = INFO, **facts: object) -> None:
    """Tell who listens: ``what`` happened, and what is known of it. Facts that are None are left out."""
    logger = listener(area, level)
    if logger is not None:
        known = (f"{name}={value}" for name, value in facts.items() if value is not None)
        logger.log(level, "%s", without_secrets(" ".join((what, *known))))


class Clock:
    """How long something takes, in seconds with a few digits."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    def __str__(self) -> str:
        return f"{time.perf_counter() - self._began:.3f}"
