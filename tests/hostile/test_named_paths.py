"""Whatever path a person types: what is no plain file there is refused, and never waited for."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import typer

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from wdstools.cli import commands
from wdstools.cli.program import app

if TYPE_CHECKING:
    from pathlib import Path

#: A command waits for nothing here: one that does fails its own test.
_SECONDS = 60
_FIFO = "odd"
#: How each command is called: words of ``places``, and what is not there yet.
CALLS: dict[str, tuple[str, ...]] = {
    "adopt": ("shards", "-o", "NEW"),
    "append": ("dataset", "folder", "-o", "NEW", "-n"),
    "bench": ("dataset", "--seconds", "0.1", "--threads", "1"),
    "cat": ("dataset", "a/0.txt"),
    "columns add": ("dataset", "table.csv", "-n"),
    "columns ls": ("dataset",),
    "columns rm": ("dataset", "scores", "-n"),
    "demo": ("NEW", "--samples", "0"),
    "diff": ("dataset", "dataset"),
    "doctor": ("dataset", "--for", "timm"),
    "duplicates": ("dataset", "--level", "exact"),
    "emit": ("dataset", "--for", "huggingface", "-n"),
    "extract": ("dataset", "NEW"),
    "head": ("dataset", "-n", "1"),
    "info": ("dataset",),
    "ls": ("dataset", "train"),
    "mirror": ("dataset", "NEW", "-n"),
    "pack": ("folder", "NEW", "-n"),
    "pull": ("dataset", "NEW", "-n"),
    "remove": ("dataset", "-o", "NEW", "--where", "label == 'x'", "-n"),
    "repair": ("dataset", "-n"),
    "scan": ("folder",),
    "schema": ("info",),
    "sign": ("dataset", "--key", "key.pem"),
    "stats": ("dataset",),
    "verify": ("dataset",),
    "view": ("dataset", "--html", "NEW"),
}
#: What the quick test tries: an option that several commands have is one, and is tried with one of them.
_ELSEWHERE = ("ls", "stats", "head", "bench", "view", "cat", "append", "scan")


#: Options that take paths and whose metavar does not say so.
_PATHS = ("--like", "--authorities", "--hashes-to", "--mirror", "--envs")
_PATH_RE = re.compile(r"FILE|DIR|WHERE|COPY|DATASET|OTHER")


class Try(NamedTuple):
    """A command line in which one thing is a pipe."""

    command: str
    flag: str
    metavar: str
    call: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.command} {self.flag}"


@pytest.fixture(scope="module", name="places")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("places")
    files = {f"a/{name}": data for n in range(2) for name, data in ((f"{n}.jpg", tiny_jpeg(n)), (f"{n}.txt", b"x"))}
    write_files(work / "folder", files)
    assert run_command("pack", work / "folder", work / "dataset", "--split", "train").code == 0
    (work / "shards").symlink_to("dataset/train")
    (work / "table.csv").write_text("key,score\na/0,1\na/1,2\n")
    os.mkfifo(work / _FIFO)
    return work


def _program() -> dict[str, Any]:
    """Every command by its name."""
    commands.load_all()
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, one in group.commands.items():
        parts = getattr(one, "commands", None)
        found |= {f"{name} {part}": inner for part, inner in parts.items()} if parts else {name: one}
    return found


def _is_text(parameter: Any) -> bool:
    """Whether any text may be given, as a path may be."""
    choices = parameter.metavar or ""
    return parameter.type.name == "str" and not parameter.is_flag and not ("|" in choices and choices.islower())


def _tries() -> list[Try]:
    """Every option that takes a text, and every argument, in turn."""
    tries = []
    for name, one in sorted(_program().items()):
        call = CALLS[name]
        for parameter in one.params:
            if parameter.param_type_name == "option" and _is_text(parameter):
                flag = next(flag for flag in parameter.opts if flag.startswith("--"))
                value = f"train={_FIFO}" if name in ("pack", "append") and flag == "--split" else _FIFO
                tries.append(Try(name, flag, parameter.metavar or "", (*call, flag, value)))
        at = [n for n in range(len(call)) if not call[n].startswith("-") and not (n and call[n - 1].startswith("-"))]
        tries += [Try(name, f"argument {n}", "", (*call[:n], _FIFO, *call[n + 1 :])) for n in at]
    return tries


_TRIES = _tries()


def _quick() -> list[Try]:
    """One try for each option that takes a path, wherever it stands."""
    chosen: dict[str, Try] = {}
    for one in sorted(_TRIES, key=lambda one: one.command in _ELSEWHERE):
        if _PATH_RE.search(one.metavar) or one.flag in _PATHS or "=" in one.call[-1]:
            chosen.setdefault(one.flag, one)
    return list(chosen.values())


def _try_it(one: Try, places: Path, tmp_path: Path) -> None:
    words = [str(tmp_path / "new") if word == "NEW" else word for word in one.call]
    ran = run_command(*one.command.split(), *words, cwd=places, hang_seconds=_SECONDS)
    assert ran.code in (0, 1, 2, 3, 4, 5), (ran.code, ran.err)
    assert "Traceback" not in ran.err


def test_every_command_is_tried() -> None:
    assert set(_program()) == set(CALLS)


@pytest.mark.parametrize("one", _quick(), ids=str)
def test_no_option_waits_for_a_pipe(one: Try, places: Path, tmp_path: Path) -> None:
    _try_it(one, places, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("one", _TRIES, ids=str)
def test_nor_does_any_option_or_argument_of_any_command(one: Try, places: Path, tmp_path: Path) -> None:
    _try_it(one, places, tmp_path)


#: No path, and where one belongs it would be made as a folder of that name. Nothing listens there.
_ADDRESS = "http://canary1:canary2@127.0.0.1:9/ds?sig=canary3"


def _give_an_address(one: Try, places: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in os.listdir(places):
        (work / name).symlink_to(places / name)
    words = [str(tmp_path / "new") if word == "NEW" else word.replace(_FIFO, _ADDRESS) for word in one.call]
    resumed = ("--resume",) if one.flag == "--state" else ()
    ran = run_command(*one.command.split(), *words, *resumed, cwd=work, hang_seconds=_SECONDS)
    assert ran.code in (0, 1, 2, 3, 4, 5), (ran.code, ran.err)
    assert "canary" not in ran.out + ran.err
    assert [path for folder in (places, tmp_path) for path in folder.rglob("*") if "http" in path.name] == []


_KEPT_HERE = ("verify --state", "demo argument 0", "head --cache", "remove --cache", "info --log-file")


@pytest.mark.parametrize("one", [one for one in _TRIES if str(one) in _KEPT_HERE], ids=str)
def test_an_address_becomes_no_folder_of_its_name(one: Try, places: Path, tmp_path: Path) -> None:
    _give_an_address(one, places, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("one", _TRIES, ids=str)
def test_nor_does_it_for_any_option_or_argument(one: Try, places: Path, tmp_path: Path) -> None:
    _give_an_address(one, places, tmp_path)
