"""duplicates."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from wdstools.cli.options import At, DatasetPath, Session, command, page_file
from wdstools.cli.show import duplicates as show
from wdstools.options.check import DuplicateChoices

_ANSWER = "The answer"


@command("duplicates", choices=DuplicateChoices)
def duplicates(
    session: Session,
    dataset: DatasetPath,
    choices: DuplicateChoices,
    at: At = None,
    across_splits: Annotated[
        bool, typer.Option("--across-splits", help="Only groups that lie in several splits.", rich_help_panel=_ANSWER)
    ] = False,
    html: Annotated[
        Optional[str],
        typer.Option(
            "--html", metavar="FILE", callback=page_file, help="Write a page with pictures.", rich_help_panel=_ANSWER
        ),
    ] = None,
) -> None:
    """Tell how many images are different ones, which are the same, and whether splits leak.

    Example: wdstools duplicates shards --html duplicates.html
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.duplicates.find import find_duplicates

    with session.workers("processes", show.WORKER_MODULES) as executor:
        opened = open_dataset(dataset, at=at)
        found = find_duplicates(opened, executor=executor, progress=session.output.progress(), **choices)
    if html is not None:
        show.page(opened, found, html)
    raise typer.Exit(show.duplicates(session.output, opened.name, found, across_splits=across_splits, html=html))
