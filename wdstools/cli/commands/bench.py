"""The command that measures."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from wdstools.cli.session import DatasetPath, Session, command, page_file
from wdstools.cli.show import bench as show
from wdstools.options.check import BenchChoices


@command("bench", "train", choices=BenchChoices)
def bench(
    session: Session,
    dataset: DatasetPath,
    choices: BenchChoices,
    html: Annotated[
        Optional[str],
        typer.Option(
            "--html",
            metavar="FILE",
            callback=page_file,
            help="Write the results to this file, as one HTML page with charts.",
        ),
    ] = None,
) -> None:
    """Measure how fast this machine feeds a dataset to a training loop, what limits it, and what to change.

    Example: wdstools bench shards --html bench.html
    """
    from wdstools.ops.bench import bench as run

    with session.workers("serial") as executor:
        result = run(dataset, executor=executor, progress=session.output.progress(), **choices)
    if html is not None:
        from wdstools.report.bench import bench_page

        session.output.page(html, bench_page(result))
    raise typer.Exit(show.measured(session.output, result, wanted=choices["wanted"]))
