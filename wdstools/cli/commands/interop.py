"""Commands for tars made by other tools, and for other readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional, cast, get_args

import typer

from wdstools.cli.approval import PlanChoices, approved
from wdstools.cli.session import At, Session, command, completes
from wdstools.cli.show import interop as show
from wdstools.errors import UsageError, option
from wdstools.options.move import AdoptChoices, Consumer, EmitChoices

if TYPE_CHECKING:
    from wdstools.options.move import Reader

Shards = Annotated[
    str,
    typer.Argument(metavar="SHARDS", help="A folder or URL of tars, one tar, or a pattern such as x-{000..123}.tar."),
]
Output = Annotated[
    Optional[str],
    typer.Option(
        "-o", "--output", metavar="DIR", help="Where to write the manifest and indexes. Default: next to the tars."
    ),
]


@command("adopt", "make", choices=AdoptChoices)
def adopt(session: Session, shards: Shards, choices: AdoptChoices, output: Output = None) -> None:
    """Make a manifest and indexes for tars made by another tool, and report what will go wrong with them in which reader.

    The tars do not change.

    Example: wdstools adopt their-shards -o theirs
    """
    from wdstools.ops.adopt import adopt as run  # imported before workers are forked, so that they inherit it

    with session.workers("processes", ("wdstools.foreign.shard",)) as executor:
        result = run(shards, output, executor=executor, progress=session.output.progress(), **choices)
    raise typer.Exit(show.adopted(session.output, result))


Consumers = Annotated[
    Optional[list[str]],
    typer.Option(
        "--for",
        metavar="NAME,...",
        autocompletion=completes(kind="consumers"),
        help=f"The readers, separated by commas: {', '.join(get_args(Consumer)[:-1])}, or all. Default with --remove: all.",
    ),
]


@command("emit", "train", choices=EmitChoices, plan=PlanChoices)
def emit(
    session: Session,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder.")],
    choices: EmitChoices,
    plan: PlanChoices,
    consumers: Consumers = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete the files that emit wrote.")] = False,
    at: At = None,
) -> None:
    """Write the files that other readers need, placed so that they do not break each other. The root digest stays the same.

    Example: wdstools emit shards --for all -y
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.emit import plan_emit, plan_emit_removal, refuse_only_read
    from wdstools.plan import apply

    names = cast("list[Consumer]", consumers or ["all"])  # checked where they are used
    if not consumers and not remove:
        raise UsageError("no reader was named", where="emit", expected=f"{option('consumers', 'all')}, or names")
    refuse_only_read(dataset)
    opened = open_dataset(dataset, at=at)
    with session.workers("serial") as executor:
        made = plan_emit_removal(opened, names) if remove else plan_emit(opened, names, executor=executor, **choices)
        if approved(session.output, made, plan):
            result = apply(made, executor=executor, progress=session.output.progress())
            show.emitted(session.output, result, removed=remove)


@command("doctor", "train")
def doctor(
    session: Session,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder.")],
    consumers: Annotated[
        Optional[list[str]],
        typer.Option(
            "--for",
            metavar="NAME,...",
            autocompletion=completes(kind="readers"),
            help="The readers to try, separated by commas. Default: all.",
        ),
    ] = None,
    envs: Annotated[
        Optional[str],
        typer.Option(
            "--envs",
            metavar="DIR",
            help="The folder of the readers' own Python environments, such as DIR/timm/bin/python.",
        ),
    ] = None,
) -> None:
    """Let every installed reader open the dataset, and show which ones can, and what to type for each.

    Example: wdstools doctor shards
    """
    from wdstools.ops.doctor import doctor as ask

    names = cast("list[Reader]", consumers or ["all"])  # checked where they are used
    with session.workers("serial") as executor:
        found = ask(dataset, names, envs=envs, executor=executor, progress=session.output.progress())
    raise typer.Exit(show.diagnoses(session.output, found))
