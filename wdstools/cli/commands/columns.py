"""Commands for columns that are added to a dataset after it was packed."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from wdstools.cli.approval import PlanChoices, approved, first_finished
from wdstools.cli.program import AREAS, Program, app
from wdstools.cli.session import DatasetPath, Session, command, completes
from wdstools.cli.show import columns as show
from wdstools.options.columns import ColumnsChoices

columns = typer.Typer(
    cls=Program, no_args_is_help=True, help="Add, list and remove columns: scores, captions, embeddings."
)
app.add_typer(columns, name="columns", rich_help_panel=AREAS["change"])


@command("add", "change", columns, choices=ColumnsChoices, plan=PlanChoices)
def add(
    session: Session,
    dataset: DatasetPath,
    table: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A table with a column of keys: Parquet, CSV, TSV, JSON lines or JSON."),
    ],
    choices: ColumnsChoices,
    plan: PlanChoices,
) -> None:
    """Add the columns of a table to the samples with the same keys, for conditions and for training; no shard changes.

    Example: wdstools columns add shards scores.parquet
    """
    from wdstools.ops.columns import plan_add_columns
    from wdstools.plan import apply

    with session.workers("processes") as executor:
        progress = session.output.progress()
        planned = partial(plan_add_columns, dataset, table, executor=executor, progress=progress, **choices)
        made, _ = first_finished(session.output, plan, planned)
        if not approved(session.output, made, plan, code=show.joined(session.output, made, plan)):
            return
        result = apply(made, executor=executor, progress=progress)
    raise typer.Exit(show.added(session.output, result))


@command("ls", "look", columns)
def ls(session: Session, dataset: DatasetPath) -> None:
    """List a dataset's added columns: their types, how many samples have a value, and whether they match the dataset.

    Example: wdstools columns ls shards
    """
    from wdstools.ops.columns import list_columns

    raise typer.Exit(show.listed(session.output, dataset, list_columns(dataset)))


@command("rm", "change", columns, plan=PlanChoices)
def rm(
    session: Session,
    dataset: DatasetPath,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            autocompletion=completes(kind="columns"),
            help="The name of the set, as columns ls shows it.",
        ),
    ],
    plan: PlanChoices,
) -> None:
    """Remove a set of columns: delete exactly the files that the plan lists.

    Example: wdstools columns rm shards scores
    """
    from wdstools.ops.columns import plan_remove_columns
    from wdstools.plan import apply

    made, _ = first_finished(session.output, plan, lambda: plan_remove_columns(dataset, name))
    if approved(session.output, made, plan):
        raise typer.Exit(show.removed(session.output, apply(made)))
