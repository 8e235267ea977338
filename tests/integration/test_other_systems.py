"""What Linux alone has is taken away: pack, verify, read in threads and in processes as on another system."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.city_pairs import write_city_pairs

if TYPE_CHECKING:
    from pathlib import Path

MASKED = """
import mmap, multiprocessing, os, sys

for module, names in (
    (os, ("sched_getaffinity", "posix_fadvise", "memfd_create", "O_TMPFILE", "O_DIRECT", "copy_file_range")),
    (mmap, ("MADV_HUGEPAGE",)),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    import wdstools as wt

    packed = wt.pack("source", "shards", resize=24, jobs=2)
    assert wt.verify("shards", level="decode", executor=wt.open_executor("processes", 2)).ok
    assert len(list(wt.stream("shards"))) == 12
    for workers in ("threads", "processes"):
        with wt.loader("shards", batch_size=4, threads=2, workers=workers) as loader:
            print(workers, sum(int(batch.mask.sum()) for batch in loader))
    print(wt.extract("shards", "files").samples)
"""


def test_nothing_needs_what_linux_alone_has(tmp_path: Path) -> None:
    write_city_pairs(tmp_path / "source", train=12, val=2)
    (tmp_path / "masked.py").write_text(MASKED)
    done = subprocess.run(
        [sys.executable, "masked.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["threads", "12", "processes", "12", "14"]
