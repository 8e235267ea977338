"""Commands for what others made and what others read."""

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
    str, typer.Argument(metavar="SHARDS", help="A folder or URL of tars, one tar, or a pattern as x-{000..123}.tar.")
]
Output = Annotated[
    Optional[str],
    typer.Option("-o", "--output", metavar="DIR", help="Where manifest and indexes go; without it, beside the tars."),
]


@command("adopt", "make", choices=AdoptChoices)
def adopt(session: Session, shards: Shards, choices: AdoptChoices, output: Output = None) -> None:
    """Make a manifest and indexes for tars that something else made, and say what will go wrong with them, and in which reader.

    The tars are not touched.

    Example: wdstools adopt their-shards -o theirs
    """
    from wdstools.ops.adopt import adopt as run  # before workers are forked, which then have it too

    with session.workers("processes", ("wdstools.foreign.shard",)) as executor:
        result = run(shards, output, executor=executor, progress=session.output.progress(), **choices)
    raise typer.Exit(show.adopted(session.output, result))


Consumers = Annotated[
    Optional[list[str]],
    typer.Option(
        "--for",
        metavar="NAME,...",
        autocompletion=completes(kind="consumers"),
        help=f"{', '.join(get_args(Consumer)[:-1])}, or all; without it, --remove deletes all.",
    ),
]


@command("emit", "train", choices=EmitChoices, plan=PlanChoices)
def emit(
    session: Session,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder.")],
    choices: EmitChoices,
    plan: PlanChoices,
    consumers: Consumers = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete what was emitted.")] = False,
    at: At = None,
) -> None:
    """Write the files that other readers want, placed so that they do not break each other. The root digest stays.

    Example: wdstools emit shards --for all -y
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.emit import plan_emit, plan_emit_removal, refuse_only_read
    from wdstools.plan import apply

    names = cast("list[Consumer]", consumers or ["all"])  # checked where they are used
    if not consumers and not remove:
        raise UsageError("it is not said for whom", where="emit", expected=f"{option('consumers', 'all')}, or names")
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
            help="Which readers to ask; without it, all.",
        ),
    ] = None,
    envs: Annotated[
        Optional[str], typer.Option("--envs", metavar="DIR", help="Environments of readers, as DIR/timm/bin/python.")
    ] = None,
) -> None:
    """Ask every reader that is installed to open the dataset, and tell which ones can, and what to type for them.

    Example: wdstools doctor shards
    """
    from wdstools.ops.doctor import doctor as ask

    names = cast("list[Reader]", consumers or ["all"])  # checked where they are used
    with session.workers("serial") as executor:
        found = ask(dataset, names, envs=envs, executor=executor, progress=session.output.progress())
    raise typer.Exit(show.diagnoses(session.output, found))
