"""The options of ``mirror`` and ``pull``, as data."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.select_options import selection
from wdstools.units import parse_size

MIRROR_OPTIONS = (
    ("replace", Annotated[bool, typer.Option("--replace", help="Let another dataset there go: it is absent until this one is whole.")], False),
    ("delete", Annotated[bool, typer.Option("--delete", help="Remove files there that are not of this dataset.")], False),
    ("allow_older", Annotated[bool, typer.Option("--allow-older", help="Let a newer version be replaced.")], False),
    ("emitted", Annotated[bool, typer.Option("--emitted", help="Take along what emit wrote for other readers.")], False),
)  # fmt: skip
PULL_OPTIONS = (
    ("root", Annotated[Optional[str], typer.Option("--root", metavar="DIGEST", help="Refuse any dataset but this one, whoever serves it.")], None),
    ("gap", Annotated[str, typer.Option("--gap", metavar="SIZE", help="Fetch along holes up to this size, instead of asking twice.")], "64KiB"),
    ("seed", Annotated[Optional[list[str]], typer.Option("--seed", metavar="DATASET", help="Take from this local dataset what it has already; may be repeated.")], None),
    ("restart", Annotated[bool, typer.Option("--restart", help="Throw away an unfinished pull of something else.")], False),
)  # fmt: skip


def pull_arguments(options: dict[str, Any], select: dict[str, Any]) -> dict[str, Any]:
    """The options as ``plan_pull`` takes them."""
    given = {**options, "selection": selection(**select), "gap": parse_size(options["gap"], "--gap")}
    given["seeds"] = tuple(given.pop("seed") or ())
    return given
