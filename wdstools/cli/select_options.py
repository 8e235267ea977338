"""The options that choose samples, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

if TYPE_CHECKING:
    from wdstools.reader.select import Selection

_PANEL = "Which samples"

SELECT_OPTIONS = (
    ("split", Annotated[Optional[list[str]], typer.Option("--split", metavar="NAME", help="Those of a split; may be given again.", rich_help_panel=_PANEL)], None),
    ("keys", Annotated[Optional[str], typer.Option("--keys", metavar="FILE", help="Those whose keys are in this file, one a line; - is standard input.", rich_help_panel=_PANEL)], None),
    ("where", Annotated[Optional[str], typer.Option("--where", metavar="EXPR", help="Those for which this holds, as \"label == 'london' and width >= 300\".", rich_help_panel=_PANEL)], None),
)  # fmt: skip


def selection(*, split: list[str] | None, keys: str | None, where: str | None) -> Selection:
    """What the options choose; raises UsageError, StoreError or FormatError."""
    from wdstools.reader.select import Selection, parse_keys, parse_where
    from wdstools.stores.local import read_file

    data = None if keys is None else read_file(keys)
    return Selection(
        splits=tuple(split) if split else None,
        keys=None if data is None else parse_keys(data, where=keys or ""),
        where=parse_where(where) if where is not None else None,
    )
