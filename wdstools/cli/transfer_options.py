"""The options of ``mirror`` and ``pull``, as data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools.reader.select import Selection

MIRROR_OPTIONS = (
    ("replace", Annotated[bool, typer.Option("--replace", help="Let another dataset there go: it is absent until this one is whole.")], False),
    ("delete", Annotated[bool, typer.Option("--delete", help="Remove files there that are not of this dataset.")], False),
    ("allow_older", Annotated[bool, typer.Option("--allow-older", help="Let a newer version be replaced.")], False),
)  # fmt: skip
SELECTION_OPTIONS = (
    ("split", Annotated[Optional[list[str]], typer.Option("--split", metavar="NAME", help="Only this split; may be repeated.")], None),
    ("where", Annotated[Optional[str], typer.Option("--where", metavar="EXPR", help="Only samples for which this holds, as: label == 'newyork'")], None),
    ("keys", Annotated[Optional[str], typer.Option("--keys", metavar="FILE", help="Only samples with these keys, one a line.")], None),
)  # fmt: skip
PULL_OPTIONS = (
    ("root", Annotated[Optional[str], typer.Option("--root", metavar="DIGEST", help="Refuse any dataset but this one, whoever serves it.")], None),
    ("gap", Annotated[str, typer.Option("--gap", metavar="SIZE", help="Fetch along holes up to this size, instead of asking twice.")], "64KiB"),
    ("seed", Annotated[Optional[list[str]], typer.Option("--seed", metavar="DATASET", help="Take from this local dataset what it has already; may be repeated.")], None),
    ("restart", Annotated[bool, typer.Option("--restart", help="Throw away an unfinished pull of something else.")], False),
)  # fmt: skip

_SIZE_RE = re.compile(r"(\d{1,15}) ?(?:(k|m|g)(i)?b?|b)?", re.IGNORECASE)


def make_selection(split: list[str] | None, where: str | None, keys: str | None) -> Selection:
    """The samples that these options choose."""
    from wdstools.reader.select import Selection, Where, parse_keys
    from wdstools.stores.local import LocalStore

    return Selection(
        tuple(split) if split else None,
        parse_keys(LocalStore("").get(keys), where=keys) if keys is not None else None,
        Where(where) if where is not None else None,
    )


def pull_arguments(options: dict[str, Any], selection: dict[str, Any]) -> dict[str, Any]:
    """The options as ``plan_pull`` takes them."""
    given = {**options, "selection": make_selection(**selection), "gap": parse_size(options["gap"], "--gap")}
    given["seeds"] = tuple(given.pop("seed") or ())
    return given


def parse_size(text: str, where: str) -> int:
    """``64KiB``, ``1MB``, ``65536`` as bytes; raises UsageError."""
    match = _SIZE_RE.fullmatch(text.strip())
    if match is None:
        raise UsageError("not a size", where=where, expected="as 65536, 64KiB or 1MB", got=text)
    number, prefix, binary = match.groups()
    power = " kmg".index(prefix.lower()) if prefix else 0
    unit: int = (1024 if binary else 1000) ** power
    return int(number) * unit
