"""The program: its exit codes, and what every command belongs to."""

from __future__ import annotations

import typer

from wdstools import __version__

EXIT_CODES = (
    (0, "yes, or done"),
    (1, "checked, and the answer is no: damage, duplicates, a difference"),
    (2, "wrong usage"),
    (3, "done, but some inputs were skipped"),
    (4, "could not: storage, disk or network; or it could not be proved"),
    (5, "bytes that are not understood"),
    (6, "another writer is at work"),
    (70, "a bug in wdstools"),
    (130, "interrupted"),
)
EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES) + "."


class Interrupted(Exception):  # noqa: N818
    """A command was told to stop: by itself typer would end without a word."""


app = typer.Typer(
    name="wdstools",
    help="Pack images and captions into checksummed WebDataset shards; verify and read them.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"wdstools {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Pack images and captions into checksummed WebDataset shards; verify and read them."""
    del version
