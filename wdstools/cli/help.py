"""Help as text, wrapped to the width of the terminal; option names are never broken."""

from __future__ import annotations

import re
import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_LEAST, _MOST = 32, 100
#: In a narrower terminal, the description of an option goes below its name.
_TWO_COLUMNS = 72
_NAMES = 26
_INDENT = 4
#: The placeholder of a value without a metavar, by typer's name of its type.
_VALUES = {"int": "N", "integer": "N", "int range": "N", "integer range": "N", "float": "NUMBER"}
_SWITCHES = ("bool", "boolean")
_OPTIONS = "Options"
_WORDS = re.compile(r'(?:"[^"]*"|\S)+')

Entry = tuple[str, str]


def render(command: Any, ctx: Any, areas: Mapping[str, str], exit_codes: Iterable[tuple[int, str]]) -> str:
    """The help of a command, or of the program, which lists its commands under the titles of ``areas``."""
    width = max(_LEAST, min(_MOST, shutil.get_terminal_size().columns))
    paragraphs, examples = _described(command.help or "")
    commands = getattr(command, "commands", {})
    lines = [*_usage(command, ctx, width), ""]
    for paragraph in paragraphs:
        lines += [*textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False), ""]
    if examples:
        lines += [_heading("Example" if len(examples) == 1 else "Examples")]
        lines += [line for example in examples for line in _example(example, width)] + [""]
    for title, entries in (*_parameters(command), *_commands(commands, areas.values())):
        lines += [_heading(title), *_listed(entries, width), ""]
    if commands:
        lines += [*textwrap.wrap(f"{ctx.command_path} COMMAND --help shows the options of a command.", width), ""]
    lines += [_heading("Exit codes"), *_listed(((str(code), text) for code, text in exit_codes), width), ""]
    return "\n".join((*lines, *textwrap.wrap(f"Documentation: {documentation()}", width, break_long_words=False)))


def documentation() -> str:
    """Where the documentation is, from the metadata of the installed package."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        links = dict(link.split(", ", 1) for link in metadata("wdstools").get_all("Project-URL") or ())
    except PackageNotFoundError:
        links = {}
    return links.get("Documentation") or links.get("Homepage") or "README.md and docs/ of the source"


def _heading(title: str) -> str:
    return typer.style(f"{title}:", bold=True)


def _described(text: str) -> tuple[list[str], list[str]]:
    """A docstring's paragraphs, and its examples."""
    lines = text.splitlines()
    examples = [line.partition("Example:")[2].strip() for line in lines if line.strip().startswith("Example:")]
    prose = "\n".join(line for line in lines if not line.strip().startswith("Example:"))
    return [" ".join(part.split()) for part in prose.split("\n\n") if part.strip()], examples


def _usage(command: Any, ctx: Any, width: int) -> list[str]:
    if getattr(command, "commands", None):
        words = ["COMMAND", "..."]
    else:
        words = ["[OPTIONS]", *(_argument(one) for one in command.params if one.param_type_name == "argument")]
    return _wrapped(["Usage:", *ctx.command_path.split(), *words], width, "    ")


def _wrapped(words: Sequence[str], width: int, indent: str) -> list[str]:
    """Wrap words into lines; a word longer than a line is broken after a ``|``."""
    lines = [""]
    for word in words:
        for number, part in enumerate(
            re.findall(r"[^|]*\|?", word)[:-1] if len(word) > width - len(indent) else [word]
        ):
            glue = "" if number or not lines[-1].strip() else " "
            if len(lines[-1]) + len(glue) + len(part) > width and lines[-1].strip():
                lines.append(indent + part)
            else:
                lines[-1] += glue + part
    return lines


def _example(text: str, width: int) -> Iterator[str]:
    """A command to copy and paste; if it is too long for a line, it continues after a backslash."""
    line = " "
    for word in _WORDS.findall(text):
        if len(line) + 1 + len(word) > width - 2 and line.strip():
            yield f"{line} \\"
            line = "   "
        line += f" {word}"
    yield line


def _argument(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _parameters(command: Any) -> list[tuple[str, list[Entry]]]:
    """Arguments, then options under their headings, in the order in which the headings first occur."""
    panels: dict[str, list[Entry]] = {"Arguments": [], _OPTIONS: []}
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            panels["Arguments"].append((_argument(parameter).strip("[]"), parameter.help or ""))
        else:
            panels.setdefault(parameter.rich_help_panel or _OPTIONS, []).append(
                (_flags(parameter), _meaning(parameter))
            )
    return [(title, entries) for title, entries in panels.items() if entries]


def _commands(commands: dict[str, Any], titles: Iterable[str]) -> list[tuple[str, list[Entry]]]:
    panels: dict[str, list[Entry]] = {title: [] for title in titles}
    for name, command in commands.items():
        panels[command.rich_help_panel].append((name, _described(command.help or "")[0][0]))
    return [(title, entries) for title, entries in panels.items() if entries]


def _flags(parameter: Any) -> str:
    short = [flag for flag in parameter.opts if not flag.startswith("--")]
    names = [*short, *(flag for flag in parameter.opts if flag not in short), *parameter.secondary_opts]
    if parameter.type.name in _SWITCHES or getattr(parameter, "is_flag", False):
        return ", ".join(names)
    return f"{', '.join(names)} {parameter.metavar or _VALUES.get(parameter.type.name, 'TEXT')}"


def _meaning(parameter: Any) -> str:
    text = parameter.help or ""
    if parameter.default not in (None, False, "", (), []) and not callable(parameter.default):
        text += f" Default: {'yes' if parameter.default is True else parameter.default}."
    if parameter.envvar:
        text += f" Environment: {parameter.envvar}."
    return text


def _listed(entries: Iterable[Entry], width: int) -> Iterator[str]:
    """Names and their descriptions: side by side if there is room for both."""
    shown = list(entries)
    beside = width >= _TWO_COLUMNS or max(len(name) for name, _ in shown) <= width // 4
    column = min(_NAMES, max(len(name) for name, _ in shown)) + 4 if beside else _INDENT
    for name, text in shown:
        broken = _wrapped(name.split(" "), width - 2, "    ")
        texts = textwrap.wrap(text, width - column, break_long_words=False, break_on_hyphens=False)
        if beside and len(broken) == 1 and len(name) <= column - 4:
            yield f"  {name:<{column - 2}}{''.join(texts[:1])}".rstrip()
            texts = texts[1:]
        else:
            yield from (f"  {line}" for line in broken)
        yield from (" " * column + line for line in texts)
