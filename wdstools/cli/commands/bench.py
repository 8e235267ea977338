"""The command that measures."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.bench_options import BENCH_OPTIONS
from wdstools.cli.options import DatasetPath, Session, command, page_file
from wdstools.cli.reading_options import READING_OPTIONS, reading
from wdstools.cli.show import bench as show


@command("bench", options=BENCH_OPTIONS, afar=READING_OPTIONS)
def bench(
    session: Session,
    dataset: DatasetPath,
    options: dict[str, Any],
    afar: dict[str, Any],
    html: Annotated[
        Optional[str],
        typer.Option("--html", metavar="FILE", callback=page_file, help="Write a page with pictures, one file."),
    ] = None,
) -> None:
    """Measure how fast a dataset reaches a training loop here, what bounds it, and what to change.

    Example: wdstools bench shards --html bench.html
    """
    from wdstools.ops.bench.run import BenchOptions, run_bench

    options["compare"] = tuple(filter(None, options["compare"].split(",")))
    made = BenchOptions(**options)
    result = run_bench(dataset, options=made, progress=session.output.progress(), **reading(afar))
    if html is not None:
        from wdstools.report.bench import bench_page

        session.output.page(html, bench_page(result))
    raise typer.Exit(show.measured(session.output, result, wanted=made.wanted))
