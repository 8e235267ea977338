"""Commands in a new Python, which the other tests spare themselves: each loads what it needs, in whatever order."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wdstools
from tests.support.city_pairs import write_city_pairs
from tests.support.command import HANG_SECONDS, environment, run_command

if TYPE_CHECKING:
    from pathlib import Path

#: Not ours to import first: torch is an extra, and other loaders' parts run in environments of their own.
_APART = ("wdstools.reader.torch", "wdstools.reader.epochs", "wdstools.__main__", "wdstools.peers.peer_")
MODULES = [
    module.name
    for module in pkgutil.walk_packages(wdstools.__path__, "wdstools.")
    if not module.name.startswith(_APART)
]
#: Loads what is not ours, and then forks for each module, which finds none of ours there.
_IMPORT_EACH = """
import importlib, os, sys, traceback
for library in ("numpy", "pyarrow.parquet", "pyarrow.compute", "typer.main", "rich.console", "numba", "PIL.Image", "awscrt"):
    importlib.import_module(library)
failed = []
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert not [name for name in sys.modules if name.startswith("wdstools")]
            importlib.import_module(name)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        failed.append(name)
print(*failed)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="libraries of a Mac do not survive a fork")
@pytest.mark.parametrize(
    "modules",
    [
        pytest.param([name for name in MODULES if ".cli.commands." in name or name.count(".") == 1], id="entries"),
        pytest.param(MODULES, id="all", marks=pytest.mark.slow),
    ],
)
def test_every_module_may_be_the_first_to_be_imported(modules: list[str]) -> None:
    assert len(modules) > 20
    command = [sys.executable, "-c", _IMPORT_EACH, *modules]
    env = environment(OPENBLAS_NUM_THREADS="1")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANG_SECONDS, env=env)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def test_a_dataset_is_made_looked_at_changed_and_repaired_by_cold_commands(tmp_path: Path) -> None:
    write_city_pairs(tmp_path / "pairs", train=12, val=4)
    for arguments, code in (
        ("scan pairs", 0),
        ("pack pairs shards", 0),
        ("verify shards", 0),
        ("ls shards", 0),
        ("info shards", 0),
        ("extract shards files", 0),
        ("pull shards part --where width>1", 0),
        ("mirror shards copy -y", 0),
        ("diff shards copy", 0),
        ("emit shards --for dali -y", 0),
        ("remove shards -o fewer --where width>1000 -y", 0),
        ("repair copy -y", 0),
        ("adopt shards/train -o adopted", 0),
    ):
        ran = run_command(*arguments.split(), cwd=tmp_path, cold=True)
        assert ran.code == code, (arguments, ran.out, ran.err)
    assert len(os.listdir(tmp_path / "files")) >= 2
