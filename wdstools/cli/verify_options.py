"""The options of ``verify``, as data."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

VERIFY_OPTIONS = (
    ("at", Annotated[Optional[str], typer.Option("--at", metavar="WHERE", help="Where the shards are, if not beside the manifest.")], None),
    ("level", Annotated[str, typer.Option(help="size, digest, samples or decode: each checks what the one before does, and more.")], "digest"),
    ("digest", Annotated[str, typer.Option(help="xxh3_128 finds accidents at memory speed, sha256 withstands forgers.")], "xxh3_128"),
    ("part", Annotated[str, typer.Option(help="Check the i-th of n parts, as 3/7.")], "1/1"),
)  # fmt: skip
