"""The options of ``verify``, as data."""

from __future__ import annotations

import os
from typing import Annotated, Any, Optional

import typer

from wdstools.cli.options import cache_folder

_SCRUB = "A little at a time"

VERIFY_OPTIONS = (
    ("at", Annotated[Optional[str], typer.Option("--at", metavar="WHERE", help="Where the shards are, if not beside the manifest.")], None),
    ("level", Annotated[str, typer.Option(help="size, remote, digest, samples or decode: each checks what the one before does, and more.")], "digest"),
    ("digest", Annotated[str, typer.Option(help="xxh3_128 finds accidents at memory speed, sha256 withstands forgers.")], "xxh3_128"),
    ("probe", Annotated[bool, typer.Option("--probe", help="With --level remote: first see, on an object of its own, that the store refuses wrong checksums.")], False),
    ("part", Annotated[str, typer.Option(help="Check the i-th of n parts, as 3/7.")], "1/1"),
)  # fmt: skip

SCRUB_OPTIONS = (
    ("resume", Annotated[bool, typer.Option("--resume", help="Go on where the last run with --resume stopped; begin anew when all was seen.", rich_help_panel=_SCRUB)], False),
    ("max_age", Annotated[Optional[str], typer.Option("--max-age", metavar="TIME", help="Pass over shards found whole less than this ago, as 7d.", rich_help_panel=_SCRUB)], None),
    ("time_limit", Annotated[Optional[str], typer.Option("--time-limit", metavar="TIME", help="Begin no shard after this long, as 30m.", rich_help_panel=_SCRUB)], None),
    ("state", Annotated[Optional[str], typer.Option("--state", metavar="DIR", help="Where to keep what was seen, instead of the user's cache.", rich_help_panel=_SCRUB)], None),
)  # fmt: skip


def scrub_options(*, resume: bool, max_age: str | None, time_limit: str | None, state: str | None) -> Any:
    """What the options of a scrub ask for; None when they ask for nothing. Raises UsageError."""
    if not (resume or max_age or time_limit):
        return None
    import time

    from wdstools.ops.verify.scrub import ScrubOptions
    from wdstools.units import parse_duration

    return ScrubOptions(
        folder=state or os.path.join(cache_folder(), "scrub"),
        now=time.time,
        max_age=parse_duration(max_age, "--max-age") if max_age else None,
        time_limit=parse_duration(time_limit, "--time-limit") if time_limit else None,
    )
