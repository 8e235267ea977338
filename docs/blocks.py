"""The code blocks on a page, and what a comment before a block says about it.

A page may hold, on lines of their own before a block:

    <!-- setup: COMMANDS -->     run before the block; readers do not see them
    <!-- exits: 1 4 -->          exit codes that are accepted in addition to 0 and 3
    <!-- not run: REASON -->     the block is only shown, and why

``sh`` and ``python`` blocks are run. In a ``console`` block lines that begin with ``$ `` are commands, and everything
else is what they print, which `make docs-outputs` writes.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = re.compile(r"((?:^<!-- .*? -->\n)*)^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"^<!-- (setup|exits|not run): (.*?) -->$", re.MULTILINE)
RUN = ("sh", "console", "python")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text, the line where it begins, and what comments say about it."""

    language: str
    text: str
    line: int
    setup: tuple[str, ...] = ()
    exits: frozenset[int] = frozenset({0, 3})
    not_run: str = ""

    @property
    def commands(self) -> list[str]:
        """The commands of a sh or console block, one per line, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.startswith("#")]


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page, in order."""
    found = []
    for match in _BLOCK.finditer(page):
        block = Block(match[2], match[3], page[: match.start(2)].count("\n") + 1)
        for name, value in _MARK.findall(match[1]):
            if name == "setup":
                block = replace(block, setup=(*block.setup, value))
            elif name == "exits":
                block = replace(block, exits=block.exits | {int(code) for code in value.split()})
            else:
                block = replace(block, not_run=value)
        found.append(block)
    return found


def arguments(command: str) -> list[str] | None:
    """The arguments of a plain ``wdstools ...`` command; None for anything that needs a shell."""
    parts = shlex.split(command, comments=True)
    quoted = re.sub(r"'[^']*'|\"[^\"$]*\"|#.*", "", command)
    plain = parts[:1] == ["wdstools"] and not re.search(r"[|;&<>$`*?{]", quoted)
    return parts[1:] if plain else None


def with_outputs(page: str, output_of: Callable[[Block, str], str], *, prepare: Callable[[Block], None]) -> str:
    """The page with the output of its console commands, run in order; ``prepare`` gets every other block."""
    found = iter(blocks(page))

    def _written(match: re.Match[str]) -> str:
        block = next(found)
        if block.language != "console" or block.not_run:
            prepare(block)
            return match[0]
        lines = []
        for number, command in enumerate(block.commands):
            output = output_of(block if number == 0 else replace(block, setup=()), command)
            lines.append(f"$ {command}\n{output}")
        return f"{match[1]}```console\n{''.join(lines)}```"

    return _BLOCK.sub(_written, page)
