"""Commands that change a dataset, and those that show what changed."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.options import DatasetPath, Session, command
from wdstools.cli.plan_options import PLAN_OPTIONS, approved
from wdstools.cli.reading_options import READING_OPTIONS, reading
from wdstools.cli.select_options import SELECT_OPTIONS, selection
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
    from wdstools.ops.repair.plan import plan_repair

    with session.workers("processes") as executor:
        progress = session.output.progress()
        made = plan_repair(dataset, spares=copies or (), root=root, delete=delete, executor=executor, progress=progress)
        if not approved(session.output, made, **plan):
            return
        result = made.carry_out(executor, progress)
    raise typer.Exit(show.repaired(session.output, result))


@command("remove", select=SELECT_OPTIONS, plan=PLAN_OPTIONS)
def remove(
    session: Session, dataset: DatasetPath, select: dict[str, Any], plan: dict[str, bool],
    output: Annotated[Optional[str], typer.Option("--output", "-o", metavar="NEW", help="Make a new dataset and leave this one as it is.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Change this dataset.")] = False,
) -> None:  # fmt: skip
    """Take samples out: only the shards that hold them are written anew, as the next version.

    Example: wdstools remove shards --keys takedown.txt --in-place
    """
    from wdstools.ops.remove.plan import RemovePlan, choose_place, plan_remove

    choose_place(output, in_place=in_place, dry_run=plan["dry_run"])
    made = plan_remove(dataset, selection(**select), output=output)
    show.absent(session.output, made.absent if isinstance(made, RemovePlan) else ())
    if not approved(session.output, made, **plan):
        return
    with session.workers("threads") as executor:
        result = made.carry_out(executor, session.output.progress())
    show.removed(session.output, result)


@command("diff")
def diff(
    session: Session,
    before: Annotated[str, typer.Argument(metavar="A", help="A dataset, or a manifest file.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another.")],
) -> None:
    """Tell which samples and shards are different in two datasets, without opening a shard.

    Example: wdstools diff shards shards-v2
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.diff import diff as compare

    raise typer.Exit(show.difference(session.output, compare(open_dataset(before), open_dataset(after))))


@command("extract", select=SELECT_OPTIONS, afar=READING_OPTIONS)
def extract(
    session: Session,
    dataset: DatasetPath,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where the files go; it must not exist.")],
    select: dict[str, Any],
    afar: dict[str, Any],
) -> None:
    """Write samples back as files, under the names that they were packed from.

    Example: wdstools extract shards files --split val
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.extract.write import extract as write

    with session.workers("processes") as executor:
        opened = open_dataset(dataset, **reading(afar))
        chosen, progress = selection(**select), session.output.progress()
        result = write(opened, folder, selection=chosen, executor=executor, progress=progress)
    show.extracted(session.output, result)
