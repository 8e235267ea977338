"""Every command that a text of the package tells people to type is one that there is, with options that it has."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

import typer

from tests.support.came import came
from tests.support.syntax import modules
from wdstools.cli import commands
from wdstools.cli.program import app

if TYPE_CHECKING:
    from collections.abc import Iterator

commands.load_all()
GROUP: Any = typer.main.get_command(app)
#: A command as texts have it: up to what is said of it (behind four spaces), or the end of the sentence.
_TYPED = re.compile(r"wdstools ((?:[a-z]+)\b(?: (?!   )[^;,\n()`]*?)?)(?=    |[;,\n()`]|$)")
#: What follows the name of the program in sentences: no command.
_VERBS = {
    "as",
    "knows",
    "marks",
    "needed",
    "reads",
    "has",
    "is",
    "on",
    "and",
    "itself",
    "can",
    "does",
    "decides",
    "wrote",
    "writes",
    "did",
    "made",
    "keeps",
    "cannot",
}
_FLAG = re.compile(r"--[a-z][a-z-]+|(?<= )-[a-zA-Z]\b")


def _texts() -> Iterator[tuple[str, str]]:
    """Every text in the package, where it stands; what is put into it is X."""
    for path, _, nodes in modules():
        within = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
        documented = {
            id(node.body[0].value)
            for node in nodes
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in nodes:
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                yield (
                    where,
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else _put_in(part) for part in node.values
                    ),
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within | documented:
                yield where, node.value


def _put_in(part: ast.expr) -> str:
    """What stands in place of a value: an option as it is typed, else X."""
    inner = part.value if isinstance(part, ast.FormattedValue) else part
    if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "option" and isinstance(inner.args[0], ast.Constant):
        return "--" + str(inner.args[0].value).replace("_", "-")
    return "X"


def typed(texts: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each command that a text names."""
    for where, text in texts:
        for found in _TYPED.finditer(text):
            if found[1].split()[0] not in _VERBS:
                yield where, found[1]


def wrong(line: str) -> str:
    """What is wrong with a command; empty if nothing is."""
    words = line.split()
    command = GROUP.commands.get(words[0])
    if command is None:
        return f"no command {words[0]}"
    if hasattr(command, "commands"):
        command = command.commands.get(words[1])
        if command is None:
            return f"no command {words[0]} {words[1]}"
    known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    strange = [flag for flag in _FLAG.findall(line) if flag not in {*known, "--help"}]
    return f"no option {strange} of {words[0]}" if strange else ""


def test_every_command_in_a_text_exists() -> None:
    found = list(typed(_texts()))
    assert len(found) > 40
    assert [(where, line, wrong(line)) for where, line in came(found) if wrong(line)] == []


def test_what_is_wrong_would_be_found() -> None:
    texts = iter([("x", "hint: wdstools mend X --from COPY    makes it whole"), ("y", "wdstools verify X --lvel size")])
    assert [wrong(line) for _, line in came(typed(texts))] == ["no command mend", "no option ['--lvel'] of verify"]
