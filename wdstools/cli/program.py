"""The program: its exit codes, and the areas of its commands."""

from __future__ import annotations

import typer
from typer.core import TyperCommand, TyperGroup

from wdstools import __version__
from wdstools.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

    #: What a command is for: the headings of ``wdstools --help``, in this order.
    Area = Literal["make", "look", "check", "change", "move", "train"]

NAME = "wdstools"
EXIT_CODES = (
    (0, "done; or checked, and the answer is yes"),
    (1, "checked, and the answer is no: damage, duplicates, a difference"),
    (2, "wrong usage"),
    (3, "done, but some inputs were skipped"),
    (4, "storage, disk or network failed; or it could not be proved"),
    (5, "the data does not follow the format"),
    (6, "another writer is at work"),
    (70, "a bug in wdstools"),
    (130, "interrupted"),
)
AREAS = {
    "make": "Make a dataset",
    "look": "Look at it",
    "check": "Check it",
    "change": "Change it",
    "move": "Move and share it",
    "train": "Train with it",
}


class Interrupted(Exception):  # noqa: N818
    """A command was interrupted. On its own, typer would end without a message."""


def _help(command: TyperCommand | TyperGroup, ctx: typer.Context, formatter: Any) -> None:
    from wdstools.cli.help import render

    formatter.write(render(command, ctx, AREAS, EXIT_CODES))


class Command(TyperCommand):
    """A command whose help is readable at any width."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _help(self, ctx, formatter)


class Program(TyperGroup):
    """A group of commands; help lists them by area."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        _help(self, ctx, formatter)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, in the order of the headings."""
        del ctx
        return list(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of this name; raises UsageError (``no-such-command``)."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = get_close_matches(name, self.commands, 1)
            path = ctx.command_path
            hint = f"did you mean {path} {near[0]}?" if near else f"{path} --help lists the commands"
            raise UsageError("no such command", code="no-such-command", where=name, hint=hint)
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name=NAME,
    cls=Program,
    help="Pack images and captions into checksummed WebDataset shards; verify, repair, read and mirror them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Pack images and captions into checksummed WebDataset shards; verify, repair, read and mirror them."""
    del version
