"""Turns typer's usage errors into UsageErrors, so that every refusal has the same form, in JSON too."""

from __future__ import annotations

from typing import Any

import typer

from wdstools.cli.program import NAME
from wdstools.errors import UsageError

#: What typer raises for wrong usage; the class depends on its version.
NOT_UNDERSTOOD: tuple[type[Exception], ...] = tuple(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def refuse(error: Any) -> int:
    """Print the help if no arguments were given, and return the exit code; raises UsageError for anything else."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        return 2
    raise _wrong_usage(error) from None


def _wrong_usage(error: Any) -> UsageError:
    kind = type(error).__name__
    path = getattr(getattr(error, "ctx", None), "command_path", NAME)
    hint = f"{path} --help shows its arguments and options"
    if kind == "NoSuchOption":
        near = sorted(error.possibilities or ())
        hint = f"did you mean {' or '.join(near)}? {hint}" if near else hint
        return UsageError("no such option", code="no-such-option", where=f"{path} {error.option_name}", hint=hint)
    parameter = getattr(error, "param", None)
    if kind == "MissingParameter" and parameter is not None:
        named = parameter.metavar or parameter.name.upper()
        return UsageError("an argument is missing", code="argument-missing", where=path, expected=named, hint=hint)
    said = str(getattr(error, "message", "") or error.format_message()).rstrip(".")
    where = path if parameter is None else f"{path} {_named(parameter)}"
    return UsageError(said[:1].lower() + said[1:], where=where, hint=hint)


def _named(parameter: Any) -> str:
    flag: str = parameter.opts[0]
    metavar: str | None = parameter.metavar
    return flag if flag.startswith("-") else metavar or flag
