"""Help that can be read in any width, refusals in one shape, and what a shell completes."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import subprocess
import tarfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import typer

from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from wdstools import open_dataset
from wdstools.cli import commands
from wdstools.cli.complete import KINDS, completer
from wdstools.cli.output import JSON_SCHEMA
from wdstools.cli.program import AREAS, app

if TYPE_CHECKING:
    from pathlib import Path

commands.load_all()
GROUP: Any = typer.main.get_command(app)
NARROW = 50


def _all(group: Any, name: str = "") -> dict[str, Any]:
    found = {name: group}
    for one, command in getattr(group, "commands", {}).items():
        found |= _all(command, f"{name} {one}".strip())
    return found


ALL = _all(GROUP)


def test_every_command_has_a_place_in_the_help() -> None:
    assert {command.rich_help_panel for command in GROUP.commands.values()} == set(AREAS.values())


@pytest.mark.parametrize("columns", [40, NARROW, 72, 80, 200])
@pytest.mark.parametrize("name", ALL)
def test_no_line_of_help_is_longer_than_the_terminal_and_no_name_is_broken(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    command = ALL[name]
    parent = typer.Context(GROUP, info_name="wdstools")
    told = re.sub(
        r"\x1b\[[0-9;]*m",
        "",
        command.get_help(typer.Context(command, info_name=name, parent=parent) if name else parent),
    )
    for line in came(told.splitlines()):
        assert len(line) <= columns or len(line.split('"')) > 2, line  # a quoted word of an example is one word
    words = {word.rstrip(",") for word in told.split()}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert set(parameter.opts) <= words
        if parameter.metavar and len(parameter.metavar) < columns - 8:
            assert parameter.metavar.strip("[]") in told


def test_help_is_as_wide_as_the_terminal() -> None:
    ran = run_command("verify", "--help", env={"COLUMNS": str(NARROW)})
    assert (ran.code, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= NARROW
    assert "  --level size|remote|digest|samples|decode\n" in ran.out


def test_choices_are_shown_and_checked_alike() -> None:
    assert "--level size|remote|digest|samples|decode" in run_command("verify", "--help").out
    assert "--port N" in run_command("view", "--help").out
    refused = run_command("verify", ".", "--level", "deep", "--json")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    assert "samples" in refused.error["expected"]


def test_help_tells_where_the_documentation_is() -> None:
    assert "Documentation: " in run_command("--help").out
    assert "Documentation: " in run_command("info", "--help").out


REFUSED = {
    "no-such-option": ("verify", ".", "--nonsense"),
    "no-such-command": ("verifi",),
    "argument-missing": ("verify",),
    "usage": ("bench", ".", "--threads", "many"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_is_not_understood_is_refused_as_everything_else_is(code: str) -> None:
    ran = run_command(*REFUSED[code])
    assert ran.code == 2
    assert ran.err.startswith(f"error: {code}: ")
    assert "\n  hint: " in ran.err
    told = run_command(*REFUSED[code], "--json")
    assert (told.code, told.out) == (2, "")
    found = told.error
    assert (found["type"], found["schema"], found["code"], found["exit_code"]) == ("error", JSON_SCHEMA, code, 2)
    assert found["hint"]


def test_near_names_are_proposed() -> None:
    assert "wdstools verify" in run_command("verifi", "--json").error["hint"]
    assert "--level" in run_command("verify", ".", "--levl", "x", "--json").error["hint"]


def test_a_flag_behind_two_dashes_is_a_name_and_no_flag() -> None:
    ran = run_command("info", "--", "--json")
    assert ran.code == 4
    assert ran.err.startswith("error: ")


@pytest.fixture(scope="module", name="dataset")
def _dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("complete")
    assert run_command("pack", write_city_pairs(folder / "source"), folder / "dataset").code == 0
    return folder / "dataset"


def _completed(*words: str) -> list[str]:
    """What bash is given for the last of these words."""
    env = {
        "_WDSTOOLS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("wdstools", *words)),
        "COMP_CWORD": str(len(words)),
    }
    ran = run_command(env=env)
    assert (ran.code, ran.err) == (0, "")
    return ran.out.split()


def test_a_shell_completes_choices_and_names_of_the_dataset(dataset: Path) -> None:
    assert _completed("verify", str(dataset), "--level", "s") == ["size", "samples"]
    assert _completed("ls", str(dataset), "--split", "t") == ["train"]


def _of(kind: str, incomplete: str, **params: Any) -> list[str]:
    complete = completer(kind=kind)
    assert complete is not None
    return complete(SimpleNamespace(params=params, args=[]), incomplete)  # type: ignore[arg-type]  # as much of it as is asked


def test_values_that_only_a_dataset_knows_are_completed(dataset: Path) -> None:
    key = run_command("ls", dataset, "train").out.splitlines()[0]
    assert _of("member", key[:-1], dataset=str(dataset)).count(key) == 1
    assert _of("member", f"{key}.t", dataset=str(dataset)) == [f"{key}.txt"]
    assert _of("split-or-shard", "train/", dataset=str(dataset)) == ["train/train-000000.tar"]
    assert "split-pairs" in _of("recipe", "split-")
    assert _of("consumers", "timm,ener") == ["timm,energon"]
    assert "timm" not in _of("consumers", "timm,")


def test_conditions_and_column_sets_are_completed(dataset: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dataset, tmp_path / "copy")
    key = run_command("ls", copy, "train").out.splitlines()[0]
    (tmp_path / "scores.csv").write_text(f"key,sharpness\n{key},1.5\n")
    assert run_command("columns", "add", copy, tmp_path / "scores.csv", "-y").code == 0
    assert _of("columns", "", dataset=str(copy)) == ["scores"]
    assert _of("where", "width > 3 and sh", dataset=str(copy)) == ["width > 3 and sharpness"]
    assert _of("where", "label == 'os", dataset=str(copy)) == ["label == 'oslo'"]
    assert _of("where", "label in ('oslo', 'ny", dataset=str(copy)) == []


LABELS = [
    "o'brien",
    "a<b>",
    "x (y)",
    "$HOME",
    "`id`",
    'say "so"',
    "back\\slash",
    "two\nlines",
    "wow!",
    "a*",
    "\u2028",
    "côte d'or",
]


@pytest.fixture(scope="module", name="labelled")
def _labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    (folder / "src").mkdir()
    rows = [json.dumps({"file_name": f"{at}.jpg", "label": label}) for at, label in enumerate(LABELS)]
    for at in range(len(LABELS)):
        (folder / f"src/{at}.jpg").write_bytes(tiny_jpeg(at))
    (folder / "src/metadata.jsonl").write_text("\n".join(rows) + "\n")
    assert run_command("pack", folder / "src", folder / "dataset").code == 0
    return folder / "dataset"


def test_any_label_is_completed_to_a_condition_that_selects_it_and_no_shell_carries_out(labelled: Path) -> None:
    dataset = open_dataset(labelled)
    assert sorted(dataset.manifest.labels) == sorted(LABELS)
    offered = _of("where", "width > 0 and label == '", dataset=str(labelled))
    assert len(offered) == len(LABELS)
    assert {ast.literal_eval(word.partition("== ")[2]) for word in offered} == set(LABELS)
    through = "".join(f'printf "%s\\0" "{word}"\n' for word in offered)
    assert (
        subprocess.run(["bash", "-c", through], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
        == offered
    )
    (brien,) = _of("where", "label == 'o\\'b", dataset=str(labelled))
    assert brien == "label == 'o\\'brien'"
    chosen = run_command("ls", labelled, "--where", " or ".join(f"({word})" for word in offered))
    assert len(chosen.out.splitlines()) == len(LABELS)


def test_a_shell_is_given_no_words_that_it_would_carry_out(tmp_path: Path) -> None:
    names = [
        "a/plain",
        "a/$(touch${IFS}pwned)",
        "a/`id`",
        "a/;id;",
        "a/x&id",
        "a/x|id",
        "a/x>y",
        "a/\x1b[2J",
        "a/x\ny",
        "-rf",
        "~root",
    ]
    (tmp_path / "theirs").mkdir()
    with tarfile.open(tmp_path / "theirs/x.tar", "w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(f"{name}.jpg"), io.BytesIO())
    assert run_command("adopt", tmp_path / "theirs").code in (0, 3)
    assert _of("member", "", dataset=str(tmp_path / "theirs")) == ["a/plain"]


@pytest.mark.parametrize("kind", KINDS)
def test_completing_is_silent_whatever_lies_there(kind: str, dataset: Path, tmp_path: Path) -> None:
    hurt = tmp_path / "hurt"
    hurt.mkdir()
    (hurt / "manifest.json").write_bytes(b'{"format":1,"splits":[')
    places = (str(hurt), str(tmp_path / "nowhere"), "s3://bucket/never-asked", "\0")
    assert [_of(kind, "no such beginning", dataset=place) for place in places] == [[]] * len(places)


def test_no_server_is_asked_for_a_completion() -> None:
    assert _of("split", "", dataset="http://192.0.2.1/never") == []
    assert _of("split", "", dataset="manifest.json", at="http://192.0.2.1/never") == []


def test_headings_are_bold_on_a_terminal_alone() -> None:
    assert not re.search(r"\x1b", run_command("--help").out)
