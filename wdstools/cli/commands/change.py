"""Commands that change a dataset, compare two, or write samples back as files."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Optional

import typer

from wdstools.cli.approval import PlanChoices, approved, first_finished, removal_named
from wdstools.cli.session import DatasetPath, Session, command
from wdstools.cli.show import change as show
from wdstools.cli.show.named import named
from wdstools.options.check import RepairChoices
from wdstools.options.pack import AppendChoices
from wdstools.options.read import OpenChoices, SelectChoices
from wdstools.writer import WORKER_MODULES


@command("repair", "change", choices=RepairChoices, plan=PlanChoices)
def repair(session: Session, dataset: DatasetPath, choices: RepairChoices, plan: PlanChoices) -> None:
    """Repair a damaged dataset, copying only the damaged bytes from a good copy.

    Example: wdstools repair shards --from /backup/shards
    """
    from wdstools.ops.repair import plan_repair
    from wdstools.plan import apply

    with session.workers("processes") as executor:
        progress = session.output.progress()
        made, _ = first_finished(
            session.output, plan, lambda: plan_repair(dataset, executor=executor, progress=progress, **choices)
        )
        if not approved(session.output, made, plan):
            return
        result = apply(made, executor=executor, progress=progress)
    raise typer.Exit(show.repaired(session.output, result))


@command("remove", "change", chosen=SelectChoices, plan=PlanChoices)
def remove(
    session: Session,
    dataset: DatasetPath,
    chosen: SelectChoices,
    plan: PlanChoices,
    output: Annotated[
        Optional[str],
        typer.Option(
            "--output",
            "-o",
            metavar="NEW",
            help="Write a new dataset to this folder or empty bucket prefix, and leave the old one unchanged.",
        ),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Change the dataset itself.")] = False,
    root: Annotated[
        Optional[str],
        typer.Option(
            "--root", metavar="DIGEST", help="The root digest that the dataset must have, from a source you trust."
        ),
    ] = None,
    caches: Annotated[
        Optional[list[str]],
        typer.Option(
            "--cache",
            metavar="DIR",
            help="Also delete the shards that hold the samples from this cache folder; may be repeated.",
        ),
    ] = None,
) -> None:
    """Remove samples: rewrite only the shards that hold them, as the next version of the dataset.

    Example: wdstools remove shards --keys takedown.txt --in-place
    """
    from wdstools.ops.next_version.land import choose_place
    from wdstools.ops.remove import plan_remove
    from wdstools.plan import apply
    from wdstools.reader.select import select

    choose_place("remove", output, in_place=in_place, dry_run=plan["dry_run"])
    planned = partial(plan_remove, dataset, output=output, root=root, caches=caches or ())
    made, done = removal_named(session.output, plan, select(**chosen), planned)
    code = show.absent(session.output, made.absent, made.earlier if done else ())
    if not approved(session.output, made, plan, code=code, listed=chosen.get("keys") == "-"):
        return
    with session.workers("threads") as executor:
        result = apply(made, executor=executor, progress=session.output.progress())
    raise typer.Exit(show.removed(session.output, result, code))


@command("append", "change", choices=AppendChoices, plan=PlanChoices)
def append(
    session: Session,
    dataset: DatasetPath,
    src: Annotated[
        str,
        typer.Argument(
            metavar="SRC", help="What to add: a folder, zip or tar of images and captions, a table, or existing shards."
        ),
    ],
    choices: AppendChoices,
    plan: PlanChoices,
    output: Annotated[
        Optional[str],
        typer.Option(
            "--output",
            "-o",
            metavar="NEW",
            help="Write a new dataset to this folder or empty bucket prefix, and leave the old one unchanged.",
        ),
    ] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Change the dataset itself.")] = False,
) -> None:
    """Add samples, packed as the dataset was: rewrite only the shards that get any, as the next version of the dataset.

    Example: wdstools append shards more --in-place
    """
    from wdstools.ops.append import plan_append
    from wdstools.ops.next_version.land import choose_place
    from wdstools.plan import apply

    choose_place("append", output, in_place=in_place, dry_run=plan["dry_run"])
    with session.workers("processes", WORKER_MODULES) as executor:
        progress = session.output.progress()
        planned = partial(plan_append, dataset, src, output=output, executor=executor, progress=progress, **choices)
        made, _ = first_finished(session.output, plan, planned)
        if not approved(session.output, made, plan, code=show.append_plan(session.output, made)):
            return
        result = apply(made, executor=executor, progress=progress)
    raise typer.Exit(show.appended(session.output, result))


@command("diff", "check")
def diff(
    session: Session,
    before: Annotated[str, typer.Argument(metavar="A", help="A dataset or a manifest file.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The dataset or manifest file to compare it with.")],
) -> None:
    """Show which samples and shards differ between two datasets, without reading any shard.

    Example: wdstools diff shards shards-v2
    """
    from wdstools.ops.diff import diff as compare

    with session.workers("serial") as executor:
        found = compare(before, after, executor=executor, progress=session.output.progress())
    raise typer.Exit(show.difference(session.output, found))


@command("extract", "move", chosen=SelectChoices, opening=OpenChoices)
def extract(
    session: Session,
    dataset: DatasetPath,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder to write to; it must not exist.")],
    chosen: SelectChoices,
    opening: OpenChoices,
) -> None:
    """Write samples back as files, under their original names.

    Example: wdstools extract shards files --split val
    """
    from wdstools.dataset import open_dataset
    from wdstools.landing.inside import refuse_elsewhere
    from wdstools.ops.extract import extract as write
    from wdstools.reader.select import select

    refuse_elsewhere(folder)
    with session.workers("processes") as executor:
        opened, progress = open_dataset(dataset, **opening), session.output.progress()
        which = named(session.output, opened, select(**chosen))
        result = write(opened, folder, selection=which.selection, executor=executor, progress=progress)
    raise typer.Exit(show.extracted(session.output, replace(result, missing_keys=which.missing)))
