"""Commands that change a dataset, and those that show what changed."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from wdstools.cli.options import DatasetPath, Session, command
from wdstools.cli.plan_options import PLAN_OPTIONS, approved
from wdstools.cli.show import change as show


@command("repair", plan=PLAN_OPTIONS)
def repair(
    session: Session, dataset: DatasetPath, plan: dict[str, bool],
    copies: Annotated[Optional[list[str]], typer.Option("--from", metavar="COPY", help="Another copy, some shards of it, or the source it was packed from; may be given again.")] = None,
    root: Annotated[Optional[str], typer.Option("--root", metavar="DIGEST", help="The root digest that the dataset must have.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Also delete tars that are not of the dataset.")] = False,
) -> None:  # fmt: skip
    """Make a damaged dataset whole again, moving only the damaged bytes from a copy.

    Example: wdstools repair shards --from /backup/shards
    """
    from wdstools.ops.repair import plan_repair

    with session.workers("processes") as executor:
        progress = session.output.progress()
        made = plan_repair(dataset, spares=copies or (), root=root, delete=delete, executor=executor, progress=progress)
        if not approved(session.output, made, **plan):
            return
        result = made.carry_out(executor, progress)
    raise typer.Exit(show.repaired(session.output, result))
