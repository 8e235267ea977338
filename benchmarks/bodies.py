"""What ranges of S3 objects cost the client, by obstore and by Python's sockets: ``python -m benchmarks.bodies``.

Swift on loopback (installed at the first use), four readers at once, of each size as many ranges as make 400 MB, 4,000 at
most. Prints processor milliseconds of this process for each MB, and which of the two ways a store takes for that size.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.machine import facts
from tests.servers.swift import swift_server
from wdstools.stores import cloud
from wdstools.stores.remote import RemoteStore, open_remote

_SIZES = (20_000, 200_000, 1 << 20, 4 << 20, 16 << 20, 45_000_000)
_BYTES, _MOST_RANGES = 400_000_000, 4_000
_READERS = 4


def cost(store: RemoteStore, size: int, *, large: bool) -> float:
    """Processor milliseconds for each MB of ranges of a size."""
    cloud.LARGE_BYTES = 1 if large else 1 << 62
    count = min(_MOST_RANGES, -(-_BYTES // size))

    def read(_: int) -> None:
        for _block in store.stream("x", 0, size):
            pass

    with ThreadPoolExecutor(_READERS) as pool:
        list(pool.map(read, range(_READERS)))  # connections are made
        start = time.process_time()
        list(pool.map(read, range(count)))
        return (time.process_time() - start) * 1e3 / (count * size / 1e6)


def main() -> None:
    """The command line."""
    threshold = cloud.LARGE_BYTES
    with tempfile.TemporaryDirectory() as scratch, swift_server(Path(scratch)) as server:
        os.environ.update(server.env)
        store = open_remote(f"s3://{server.new_bucket()}/bodies")
        store.put("x", os.urandom(max(_SIZES)))
        rows = [(size, cost(store, size, large=False), cost(store, size, large=True)) for size in _SIZES]
        print("\n".join(f"{name + ':':<13}{fact}" for name, fact in facts(scratch).items()))
    print("\n   range bytes   obstore, ms/MB   sockets, ms/MB   ratio   taken")
    for size, ours, theirs in rows:
        taken = "sockets" if size >= threshold else "obstore"
        print(f"{size:>14,}{ours:>17.2f}{theirs:>17.2f}{theirs / ours:>8.2f}   {taken}")


if __name__ == "__main__":
    main()
