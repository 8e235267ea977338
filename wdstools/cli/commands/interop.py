"""Commands for what others made and what others read."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.options import Session, command
from wdstools.cli.show import interop as show

Shards = Annotated[
    str, typer.Argument(metavar="SHARDS", help="A folder or URL of tars, one tar, or a pattern as x-{000..123}.tar.")
]
Output = Annotated[
    Optional[str],
    typer.Option("-o", "--output", metavar="DIR", help="Where manifest and indexes go; without it, beside the tars."),
]
ADOPT_OPTIONS = (
    ("name", Annotated[str, typer.Option(help="The dataset's name.")], ""),
    ("version", Annotated[int, typer.Option(help="The dataset's version.")], 1),
    ("split", Annotated[Optional[str], typer.Option(help="One split for everything.")], None),
    ("split_from", Annotated[str, typer.Option("--split-from", help="Where splits are written: auto, path, timm, energon, huggingface or one.")], "auto"),
    ("digests", Annotated[str, typer.Option(help="none reads headers alone; xxh3 every byte; all adds sha256 and what clouds speak.")], "xxh3"),
    ("replace", Annotated[bool, typer.Option("--replace", help="Adopt the tars as they are now, in place of an older adoption.")], False),
)  # fmt: skip


@command("adopt", options=ADOPT_OPTIONS)
def adopt(session: Session, shards: Shards, options: dict[str, Any], output: Output = None) -> None:
    """Make a manifest and indexes for tars that something else made, and tell what will go wrong with them, for whom.

    The tars are not touched.

    Example: wdstools adopt their-shards -o theirs
    """
    with session.workers("processes", ("wdstools.foreign.shard",)) as executor:
        from wdstools.ops.adopt import AdoptOptions, run_adopt

        made = AdoptOptions(**options)
        result = run_adopt(shards, output, made, executor=executor, progress=session.output.progress())
    raise typer.Exit(show.adopted(session.output, result))
