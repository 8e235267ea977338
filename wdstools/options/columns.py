"""The options of ``columns``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from wdstools.options.declare import Option

#: What becomes of a set that has the name already.
Existing = Literal["refuse", "replace", "update", "fill"]


def parse_names(text: str, where: str) -> tuple[str, ...]:
    """Names between commas."""
    del where
    return tuple(name.strip() for name in text.split(",") if name.strip())


class ColumnsChoices(TypedDict, total=False):
    """What of a table becomes columns, and under which name."""

    name: Annotated[
        str | None, Option(None, "What the set of columns is called; without it, the file's name.", metavar="NAME")
    ]
    key_column: Annotated[
        str | None,
        Option(None, "The column that holds the samples' keys; without it, the one called key.", metavar="COL"),
    ]
    fields: Annotated[
        Sequence[str] | None,
        Option(None, "The columns to add, with commas between; without it, all.", metavar="A,B", read=parse_names),
    ]
    existing: Annotated[
        Existing,
        Option(
            "refuse",
            "Where a set has this name: refuse; replace it; update the values of the table's samples; or fill in "
            "those that are missing.",
        ),
    ]
