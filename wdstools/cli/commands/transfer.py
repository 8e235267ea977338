"""mirror and pull: datasets to and from other places."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wdstools.cli.options import DatasetPath, Session, command
from wdstools.cli.plan_options import PLAN_OPTIONS, approved
from wdstools.cli.select_options import SELECT_OPTIONS
from wdstools.cli.show import transfer as show
from wdstools.cli.transfer_options import MIRROR_OPTIONS, PULL_OPTIONS, pull_arguments


@command("mirror", options=MIRROR_OPTIONS, plan=PLAN_OPTIONS)
def mirror(
    session: Session,
    dataset: DatasetPath,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where to: s3://, gs://, az:// or a folder.")],
    options: dict[str, Any],
    plan: dict[str, Any],
) -> None:
    """Make another place hold a dataset: only what differs moves, and the store proves what it holds.

    Example: wdstools mirror shards s3://bucket/shards -y
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.mirror.plan import plan_mirror

    output = session.output
    with session.workers("threads", afar=True) as executor:
        made = plan_mirror(open_dataset(dataset), url, executor=executor, progress=output.progress(), **options)
        show.comparison(output, made)
        if approved(output, made, **plan):
            result = made.carry_out(executor, output.progress())
            raise typer.Exit(show.mirrored(output, result, dataset))


@command("pull", select=SELECT_OPTIONS, options=PULL_OPTIONS)
def pull(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where from: s3://, gs://, az://, https://, hf:// or a folder.")],
    dest: Annotated[str, typer.Argument(metavar="DIR", help="Where to; it must not exist.")],
    select: dict[str, Any],
    options: dict[str, Any],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Print what would be fetched, and fetch nothing.")] = False,
) -> None:  # fmt: skip
    """Bring a dataset here, a split, or only some samples; nothing has its final name before it is checked.

    Example: wdstools pull s3://bucket/shards newyork --where "label == 'newyork'"
    """
    from wdstools.ops.pull import plan_pull

    output = session.output
    with session.workers("threads", afar=True) as executor:
        plan = plan_pull(url, dest, executor=executor, progress=output.progress(), **pull_arguments(options, select))
        show.wanted(output, plan, last=dry_run)
        if not dry_run:
            raise typer.Exit(show.pulled(output, plan.carry_out(executor, output.progress())))
