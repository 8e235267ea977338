"""The options of ``columns``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option

#: What to do with an existing set of the same name.
Existing = Literal["refuse", "replace", "update", "fill"]


def parse_names(text: str, where: str) -> tuple[str, ...]:
    """Split a comma-separated list of names."""
    del where
    return tuple(name.strip() for name in text.split(",") if name.strip())


class ColumnsChoices(TypedDict, total=False):
    """Which columns of a table to add, and under which name."""

    name: Annotated[
        str | None, Option(None, "The name of the set of columns. Default: the file's name.", metavar="NAME")
    ]
    key_column: Annotated[
        str | None, Option(None, "The table's column of sample keys. Default: the column named key.", metavar="COL")
    ]
    fields: Annotated[
        Sequence[str] | None,
        Option(None, "The columns to add, separated by commas. Default: all.", metavar="A,B", read=parse_names),
    ]
    existing: Annotated[
        Existing,
        Option(
            "refuse",
            "What to do if a set with this name exists: refuse; replace it; update the values of the samples in the "
            "table; or fill in missing values only.",
        ),
    ]
