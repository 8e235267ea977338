"""The options of commands that read samples, which may lie far away, as data."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.options import At
from wdstools.units import parse_size

_AFAR = "Reading from afar"

READING_OPTIONS = (
    ("at", At, None),
    ("mirror", Annotated[Optional[list[str]], typer.Option("--mirror", metavar="URL", help="Another copy of the shards, read where a sample is damaged or cannot be had; may be repeated.", rich_help_panel=_AFAR)], None),
    ("cache", Annotated[Optional[str], typer.Option("--cache", metavar="DIR", help="Keep what was read of shards from afar in this folder.", rich_help_panel=_AFAR)], None),
    ("cache_size", Annotated[str, typer.Option("--cache-size", metavar="SIZE", help="How much the cache may hold.", rich_help_panel=_AFAR)], "20GiB"),
)  # fmt: skip


def reading(options: dict[str, Any]) -> dict[str, Any]:
    """The options as ``open_dataset`` takes them."""
    return {
        "at": options["at"],
        "mirrors": tuple(options["mirror"] or ()),
        "cache": options["cache"],
        "cache_bytes": parse_size(options["cache_size"], "--cache-size"),
    }
