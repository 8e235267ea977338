"""What a command loads: its own module of commands, and no library that it does not need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wdstools
from tests.support.city_pairs import write_city_pairs
from tests.support.command import environment
from wdstools.cli import commands
from wdstools.cli.program import app
from wdstools.executors.open import open_executor

#: Loading one takes between 10 ms and half a second.
HEAVY = (
    "numpy",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.parquet",
    "numpy.ma",
    "PIL",
    "numba",
    "pandas",
    "torch",
    "rich",
)
#: What each command loads of these, in the process that was started.
LOADED = {
    "--version": set[str](),
    "info": set[str](),
    "scan": {"numpy", "pyarrow"},
    "pack": {"numpy", "pyarrow"},
    "verify": {"numpy", "pyarrow", "pyarrow.parquet"},
    "ls": {"numpy", "pyarrow"},
    "diff": set[str](),  # of a dataset and itself: the roots are the same
    "pull": {"numpy", "pyarrow", "pyarrow.parquet"},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_city_pairs(folder / "source", train=4, val=2)
    wdstools.pack(folder / "source", folder / "shards", executor=open_executor("serial"))
    return folder


@pytest.mark.parametrize("name", LOADED)
def test_a_command_loads_only_what_it_needs(name: str, place: Path) -> None:
    given = {"scan": ["source"], "pack": ["source", "packed", "-j2"], "pull": ["shards", "pulled"]}
    given |= {"verify": ["shards", "-j1"], "info": ["shards"], "ls": ["shards"], "diff": ["shards", "shards"]}
    code = (
        f"import sys; sys.argv = ['wdstools', *{[name, *given.get(name, ())]!r}]\n"
        "from wdstools.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code in (0, None), end.code\n"
        "print(*sys.modules)"
    )
    env = {**environment(), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=env, capture_output=True, text=True, check=True
    ).stdout.splitlines()[-1]
    modules = set(done.split())
    assert modules & set(HEAVY) == LOADED[name]
    homes = {module.rpartition(".")[2] for module in modules if module.startswith("wdstools.cli.commands.")}
    assert homes == {home for home, names in commands.HOMES.items() if name in names}


def test_the_table_of_homes_has_every_command_where_it_is_declared() -> None:
    """One that is missing there is loaded with all others only, and is slow to start."""
    commands.load_all()
    found = {entry.name for entry in app.registered_commands} | {entry.name for entry in app.registered_groups}
    assert found == {name for names in commands.HOMES.values() for name in names}
    for home, names in commands.HOMES.items():
        text = Path(commands.__file__).with_name(f"{home}.py").read_text()
        declared = re.findall(
            r'^(?:@command|app.add_typer)\((?:\w+, name=)?"(\w+)", (?!"\w+", columns)', text, re.MULTILINE
        )
        assert declared == [*names]
