"""mirror, pull and sign: copy datasets to and from other places, and sign them."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated

import typer

from wdstools.cli.approval import PlanChoices, approved
from wdstools.cli.session import DatasetPath, Session, command
from wdstools.cli.show import transfer as show
from wdstools.cli.show.named import as_named
from wdstools.options.move import MirrorChoices, PullChoices, SignChoices
from wdstools.options.read import SelectChoices
from wdstools.stores.open import BUCKETS

_BUCKETS = ", ".join(f"{scheme}://" for scheme in BUCKETS)


@command("mirror", "move", choices=MirrorChoices, plan=PlanChoices)
def mirror(
    session: Session,
    dataset: DatasetPath,
    url: Annotated[
        str, typer.Argument(metavar="URL", help=f"The destination: {_BUCKETS}, hf://datasets/OWNER/NAME or a folder.")
    ],
    choices: MirrorChoices,
    plan: PlanChoices,
) -> None:
    """Copy a dataset to another place: send only what differs, and have the store prove what it holds.

    Example: wdstools mirror shards s3://bucket/shards -y
    """
    from wdstools.ops.mirror import plan_mirror
    from wdstools.plan import apply

    output = session.output
    with session.workers("threads", remote=True) as executor:
        made = plan_mirror(dataset, url, executor=executor, progress=output.progress(), **choices)
        show.comparison(output, made)
        if approved(output, made, plan):
            result = apply(made, executor=executor, progress=output.progress())
            raise typer.Exit(show.mirrored(output, result, dataset))


@command("pull", "move", chosen=SelectChoices, choices=PullChoices)
def pull(
    session: Session,
    url: Annotated[str, typer.Argument(metavar="URL", help=f"The source: {_BUCKETS}, https://, hf:// or a folder.")],
    dest: Annotated[str, typer.Argument(metavar="DIR", help="The folder to write to; it must not exist.")],
    chosen: SelectChoices,
    choices: PullChoices,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Print what would be fetched, and fetch nothing.")
    ] = False,
) -> None:
    """Download a dataset, a split, or selected samples; no file gets its final name before it is checked.

    Example: wdstools pull s3://bucket/shards newyork --where "label == 'newyork'"
    """
    from wdstools.ops.pull import plan_pull
    from wdstools.plan import apply
    from wdstools.reader.select import select

    output, selection = session.output, select(**chosen)
    with session.workers("threads", remote=True) as executor:
        planned = partial(plan_pull, url, dest, executor=executor, progress=output.progress(), **choices)
        plan = as_named(output, url, selection, lambda which: planned(selection=which))
        show.wanted(output, plan, last=dry_run)
        if not dry_run:
            result = apply(plan, executor=executor, progress=output.progress())
            raise typer.Exit(show.pulled(output, result))


@command("sign", "move", choices=SignChoices)
def sign(session: Session, dataset: DatasetPath, choices: SignChoices) -> None:
    """Sign a dataset with your key, so that others can check it: with --public-key, verify and pull accept nothing else.

    Example: wdstools sign shards --key key.pem
    """
    from wdstools.ops.sign import sign as run

    show.signed(session.output, run(dataset, **choices), dataset, os.fspath(choices["key"] or ""))
