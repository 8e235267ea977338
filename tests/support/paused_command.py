"""The command line, held at a known place: ``python -m tests.support.paused_command PLACE ARGUMENTS``.

PLACE is the number of shards that a pack has noted in its journal, or what the first write of that name is about
(``os.rename files``). There it prints a line on stderr and waits for a signal, so that a test can stop it.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from tests.support.command import PAUSED
from tests.support.write_points import WritePoints
from wdstools.cli.app import main
from wdstools.landing.site import PackSite

if TYPE_CHECKING:
    from types import FrameType


#: Filled by an interrupt, so that a thread that is held at the place is let go when the command gives up. No Event: a
#: handler that sets it while its own thread begins to wait for it would wait for ever for the Event's lock.
_told: list[int] = []


def _interrupt(number: int, frame: FrameType | None) -> None:
    _told.append(number)
    signal.default_int_handler(number, frame)


def pause() -> None:
    """Say so, and wait for a signal."""
    sys.stderr.buffer.write(PAUSED)
    sys.stderr.flush()
    while not _told:
        time.sleep(0.01)


def pause_after(records: int) -> None:
    """Pause the packer once it has noted this many finished shards."""
    real = PackSite.record
    noted = 0

    def record(site: PackSite, line: dict[str, Any]) -> None:
        nonlocal noted
        real(site, line)
        noted += 1
        if noted == records:
            pause()

    setattr(PackSite, "record", record)  # noqa: B010  a plain assignment does not type-check


if __name__ == "__main__":
    signal.signal(signal.SIGINT, _interrupt)  # a shell's background jobs are started without a handler
    place = sys.argv.pop(1)
    if place.isdigit():
        pause_after(int(place))
        main()
    else:
        with WritePoints(1, pause, about=place):
            main()
