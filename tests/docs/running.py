"""Where the blocks of a page run: a folder in which the names that pages use exist, and a shell that knows wdstools."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.docs.pages import ROOT
from tests.support.command import HANG_SECONDS, environment, run_command
from wdstools.executors.open import open_executor
from wdstools.ops.demo.source import make_source
from wdstools.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Mapping


def maker(name: str) -> Any:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BLOCKS = maker("blocks")
_CITIES = ("london", "newyork", "sydney")


def make_place(folder: Path, *, samples: int = 60) -> None:
    """``InstaCities1M``, ``photos`` (classes with captions beside the images) and ``shards``, the same on every machine."""
    made = folder / "made"
    make_source(str(made), samples, executor=open_executor("serial"), progress=Silent())
    shutil.copytree(made, folder / "InstaCities1M")
    for city in _CITIES:
        (folder / "photos" / city).mkdir(parents=True)
    images = sorted(path for path in made.rglob("*.jpg"))
    for number, image in enumerate(images):
        caption = Path(str(image).replace("/img/", "/captions/")).with_suffix(".txt")
        place = folder / "photos" / _CITIES[number % len(_CITIES)] / f"{number // len(_CITIES) + 1}"
        shutil.copy(image, place.with_suffix(".jpg"))
        shutil.copy(caption, place.with_suffix(".txt"))
    shutil.rmtree(made)
    assert run_command("pack", "InstaCities1M", "shards", "--name", "cities", cwd=folder).code == 0


@dataclass
class Shell:
    """Runs what a page shows, in a folder of its own."""

    place: Path
    more: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)
    code: int = 0

    def __post_init__(self) -> None:
        programs = self.place / ".bin"
        programs.mkdir(exist_ok=True)
        program = programs / "wdstools"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m wdstools "$@"\n')
        program.chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        fixed = {"PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100", "XDG_CACHE_HOME": str(self.place / ".cache")}
        self.env = environment(**fixed, **self.more)

    def run(self, command: str) -> str:
        """What a command prints on stdout; ``code`` is then how it ended."""
        for old, new in self.replaced.items():
            command = command.replace(old, new)
        out = self._run(command)
        for old, new in self.replaced.items():
            out = out.replace(new, old)
        return out

    def _run(self, command: str) -> str:
        plain = BLOCKS.arguments(command)
        if plain is not None:
            cared = {name: value for name, value in self.env.items() if name not in ("PATH", "PYTHONPATH")}
            ran = run_command(*plain, cwd=self.place, env=cared)
            self.code, self.told = ran.code, ran.err
            return ran.out
        return self._start(["bash", "-c", command]).stdout

    def python(self, code: str) -> None:
        """Run a script of a page."""
        for old, new in self.replaced.items():
            code = code.replace(old, new)
        self._start([sys.executable, "-c", code])

    def _start(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.place, env=self.env, capture_output=True, text=True, check=False, timeout=HANG_SECONDS
        )
        self.code, self.told = done.returncode, done.stderr
        return done

    def prepare(self, block: Any) -> None:
        """Run what stands before a block, and the block, if it is to be run; each must end as the page says."""
        self.set_up(block)
        if block.not_run:
            return
        if block.language == "python":
            if "import torch" in block.text and importlib.util.find_spec("torch") is None:
                return
            self.python(
                block.text if re.search(r"import wdstools", block.text) else f"import wdstools as wt\n{block.text}"
            )
            assert self.code == 0, (block.line, self.told)
        elif block.language in ("sh", "console"):
            for command in block.commands:
                self.run(command)
                self.check(block, command)

    def set_up(self, block: Any) -> None:
        """Run what stands before a block."""
        for command in block.setup:
            self.run(command)
            assert self.code == 0, (block.line, command, self.told)

    def output_of(self, block: Any, command: str) -> str:
        """What a command of a console block prints, which may say that something is wrong."""
        self.set_up(block)
        if command == "echo $?":
            return f"{self.code}\n"
        out = self.run(command)
        assert self.code in {0, 1, 3}, (block.line, command, self.code, self.told)
        return "".join(line.rstrip() + "\n" for line in out.splitlines())

    def check(self, block: Any, command: str) -> None:
        """Whether a command ended as the page says."""
        assert self.code in block.exits, (block.line, command, self.code, self.told)
        assert "Traceback" not in self.told, (block.line, command, self.told)
