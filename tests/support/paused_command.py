"""The command line, held when so many shards are in the journal: ``python -m tests.support.paused_command N ARGUMENTS``.

It says so with a line on stderr and waits for a signal, so that a test can stop a pack at a known place.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from wdstools.cli.app import main
from wdstools.ops.pack_site import PackSite

if TYPE_CHECKING:
    from wdstools.writer.shard import ShardResult

PAUSED = b"paused\n"


def pause_after(records: int) -> None:
    """Let the packer stand still once it has noted so many finished shards."""
    real = PackSite.record
    noted = 0

    def record(site: PackSite, result: ShardResult) -> None:
        nonlocal noted
        real(site, result)
        noted += 1
        if noted == records:
            sys.stderr.buffer.write(PAUSED)
            sys.stderr.flush()
            signal.pause()

    setattr(PackSite, "record", record)  # noqa: B010  a plain assignment does not type-check


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are started without it
    pause_after(int(sys.argv.pop(1)))
    main()
