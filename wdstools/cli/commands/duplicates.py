"""duplicates."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.options import At, DatasetPath, Session, command, page_file
from wdstools.cli.show import duplicates as show

_COMPARE = "What is compared"
_ANSWER = "The answer"

COMPARE_OPTIONS = (
    ("level", Annotated[Optional[str], typer.Option("--level", help="exact, re-encode (other quality or size; the default) or edited (cropped a little, filtered, mirrored).", rich_help_panel=_COMPARE)], None),
    ("method", Annotated[str, typer.Option("--method", help="phash; or size: width, height and file size, which is no proof and here for comparison; without --level.", rich_help_panel=_COMPARE)], "phash"),
    ("captions", Annotated[bool, typer.Option("--captions", help="Count repeated captions and sets of hashtags too.", rich_help_panel=_COMPARE)], False),
    ("cache", Annotated[Optional[str], typer.Option("--cache", metavar="DIR", help="Keep hashes here, not in the dataset.", rich_help_panel=_COMPARE)], None),
)  # fmt: skip


@command("duplicates", compare=COMPARE_OPTIONS)
def duplicates(
    session: Session, dataset: DatasetPath, compare: dict[str, Any], at: At = None,
    across_splits: Annotated[bool, typer.Option("--across-splits", help="Only groups that lie in several splits.", rich_help_panel=_ANSWER)] = False,
    html: Annotated[Optional[str], typer.Option("--html", metavar="FILE", callback=page_file, help="Write a page with pictures.", rich_help_panel=_ANSWER)] = None,
) -> None:  # fmt: skip
    """Tell how many images are different ones, which are the same, and whether splits leak.

    Example: wdstools duplicates shards --html duplicates.html
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.duplicates.find import find_duplicates

    with session.workers("processes", show.WORKER_MODULES) as executor:
        opened = open_dataset(dataset, at=at)
        found = find_duplicates(opened, executor=executor, progress=session.output.progress(), **compare)
    if html is not None:
        show.page(opened, found, html)
    raise typer.Exit(show.duplicates(session.output, opened.name, found, across_splits=across_splits, html=html))
