"""Compiled loops: kept where nobody else can put code, compiled once, and that is said."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numba
import pytest

import wdstools as wt
from tests.support.alike_pairs import write_alike_pairs
from tests.support.command import environment
from wdstools import kernels
from wdstools.dedup import few
from wdstools.dedup.levels import LEVELS
from wdstools.planning import compiling
from wdstools.progress import Silent

if TYPE_CHECKING:
    from pathlib import Path

#: Where a small loop is kept, by a program that has this environment.
_WHERE = """
import numba
from wdstools import kernels

@kernels.jit
def add(a, b):
    return a + b

assert add(1, 2) == 3
print(add.stats.cache_path, numba.config.CACHE_DIR == "", kernels.uncompiled([add]))
"""


def kept(tmp_path: Path, **variables: str) -> tuple[str, str, str]:
    script = tmp_path / "script.py"
    script.write_text(_WHERE)
    env = {k: v for k, v in environment(**variables).items() if k != "NUMBA_CACHE_DIR" or k in variables}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=env, check=True)
    path, alone, uncompiled = done.stdout.split()
    return path, alone, uncompiled


def test_they_are_kept_in_the_users_cache_folder_and_numbas_own_choice_is_left_alone(tmp_path: Path) -> None:
    path, alone, uncompiled = kept(tmp_path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert path.startswith(str(tmp_path / "cache/wdstools/kernels"))
    assert (alone, uncompiled) == ("True", "False")
    assert any(name.endswith(".nbi") for name in os.listdir(path))


def test_numba_cache_dir_is_respected(tmp_path: Path) -> None:
    path, *_ = kept(tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "mine"), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert path.startswith(str(tmp_path / "mine"))
    assert not (tmp_path / "cache").exists()


def test_without_a_cache_folder_they_are_kept_in_a_temporary_one_of_this_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "tmp").mkdir()
    given = {"XDG_CACHE_HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "tmp")}
    path, *_ = kept(tmp_path, **given)
    (folder,) = (tmp_path / "tmp").glob("wdstools-kernels-*")
    assert path.startswith(str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / f"tmp/wdstools-kernels-{os.getuid()}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    path, *_ = kept(tmp_path, XDG_CACHE_HOME=str(tmp_path / "file"), TMPDIR=str(tmp_path / "tmp"))
    assert not path.startswith(str(folder))
    assert list(folder.iterdir()) == []


def test_what_a_process_forked_meanwhile_holds_does_not_keep_others_from_compiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    opened: list[int] = []
    open_file = os.open

    def noted(*given: Any) -> int:
        opened.append(open_file(*given))
        return opened[-1]

    monkeypatch.setattr(os, "open", noted)
    with kernels.alone() as first, kernels.alone() as second:
        inherited = os.dup(opened[0])
    with kernels.alone() as third:
        pass
    os.close(inherited)
    assert (first, second, third) == (True, False, True)


def test_the_search_is_not_compiled_for_images_that_are_byte_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(few, "FEW_CODES", 1)
    monkeypatch.setattr(compiling, "_compile", lambda kernels, *_: told.append(kernels[0].py_func.__module__))
    wt.pack(write_alike_pairs(tmp_path / "pairs"), tmp_path / "packed", duplicates="drop", level="exact")
    assert told == []


@pytest.mark.parametrize(
    ("images", "level", "compiled"), [(200_000, 0, False), (400_000, 0, True), (16_384, 1, False), (16_385, 1, True)]
)
def test_the_search_is_compiled_for_so_many_images_at_a_level(
    images: int, level: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(compiling, "_compile", lambda kernels, *_: told.append(kernels[0].py_func.__module__))
    compiling.compile_search(Silent(), images, widest=LEVELS[level])
    assert bool(told) == compiled


def test_a_few_images_are_compared_without_a_compiler(tmp_path: Path) -> None:
    write_alike_pairs(tmp_path / "pairs")
    script = """
import sys
import wdstools as wt

wt.pack("pairs", "packed")
print(len(wt.find_duplicates("packed", level="edited").groups))
print(len(wt.find_shared("packed", ["pairs"], level="edited")) > 0)
print("numba" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), cwd=tmp_path, check=True
    )
    assert done.stdout.split() == ["3", "True", "False"]


@pytest.mark.slow
def test_the_first_run_says_that_it_compiles_and_the_next_one_does_not(tmp_path: Path) -> None:
    script = """
import sys
from wdstools.planning.compiling import compile_hashing
from wdstools.progress import Silent

class Told(Silent):
    def start(self, task, total, unit):
        print(task)

compile_hashing(Told(), 1000)
"""
    env = environment(NUMBA_CACHE_DIR=str(tmp_path / "kernels"))
    command = [sys.executable, "-c", script]
    runs = [subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout for _ in range(2)]
    assert runs == ["compiling, once\n", ""]
