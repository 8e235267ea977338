"""What Linux alone has is taken away: pack, verify, read in threads and in processes as on another system."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.city_pairs import write_city_pairs

if TYPE_CHECKING:
    from pathlib import Path

MASKED = """
import builtins, mmap, multiprocessing, os, sys

for module, names in (
    (os, ("sched_getaffinity", "posix_fadvise", "posix_fallocate", "memfd_create", "pidfd_open", "eventfd", "splice",
          "O_TMPFILE", "O_DIRECT", "O_PATH", "copy_file_range", "sendfile")),
    (mmap, ("MADV_HUGEPAGE",)),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)


HERE = os.getcwd()  # quick tests write to memory


def masked(function):
    def other(path, *rest, **named):
        if isinstance(path, str) and path.startswith(("/proc", "/dev/shm", "/sys")) and not path.startswith(HERE):
            raise FileNotFoundError(path)
        return function(path, *rest, **named)

    return other


builtins.open, os.open, os.stat = masked(open), masked(os.open), masked(os.stat)

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    import numba, numpy, pyarrow  # they ask which system it is, and mean it
    sys.platform = "darwin"
    import wdstools as wt

    packed = wt.pack("source", "shards", jobs=2)
    assert wt.verify("shards", level="decode", executor=wt.open_executor("processes", 2)).ok
    assert len(list(wt.stream("shards"))) == 12
    for workers in ("threads", "processes"):
        with wt.loader("shards", batch_size=4, threads=2, workers=workers, fit="list") as loader:
            print(workers, sum(int(batch.mask.sum()) for batch in loader))
    print(wt.extract("shards", "files").samples)
    with open("shards/train/train-000000.tar", "r+b") as shard:
        shard.seek(700)
        shard.write(b"x")
    assert not wt.verify("shards").ok
    wt.repair("shards", spares=["source"])
    wt.mirror("shards", "mirror")
    wt.remove("shards", wt.select(where="split == 'val'"), output="fewer")
    wt.append("fewer", "source")
    wt.pull("mirror", "pulled")
    for place in ("shards", "mirror", "fewer", "pulled"):
        assert wt.verify(place, level="samples").ok
    print(len(wt.find_duplicates("shards", level="exact").groups))
"""


def test_nothing_needs_what_linux_alone_has(tmp_path: Path) -> None:
    write_city_pairs(tmp_path / "source", train=12, val=2)
    (tmp_path / "masked.py").write_text(MASKED)
    done = subprocess.run(
        [sys.executable, "masked.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["threads", "12", "processes", "12", "14", "0"]


def test_windows_is_refused_in_a_sentence() -> None:
    code = "import sys; sys.platform = 'win32'; from wdstools.cli.entry import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: system-unsupported: ")
    assert "WSL" in done.stderr
    code = "import sys; sys.platform = 'win32'; import wdstools; wdstools.pack"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("ImportError: this system is not supported")
