"""Commands for what others made and what others read."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from wdstools.cli.options import Session, command
from wdstools.cli.plan_options import PLAN_OPTIONS, approved
from wdstools.cli.show import interop as show
from wdstools.errors import UsageError

Shards = Annotated[
    str, typer.Argument(metavar="SHARDS", help="A folder or URL of tars, one tar, or a pattern as x-{000..123}.tar.")
]
Output = Annotated[
    Optional[str],
    typer.Option("-o", "--output", metavar="DIR", help="Where manifest and indexes go; without it, beside the tars."),
]
ADOPT_OPTIONS = (
    ("name", Annotated[str, typer.Option(help="The dataset's name.")], ""),
    ("version", Annotated[int, typer.Option(help="The dataset's version.")], 1),
    ("split", Annotated[Optional[str], typer.Option(help="One split for everything.")], None),
    ("split_from", Annotated[str, typer.Option("--split-from", help="Where splits are written: auto, path, timm, energon, huggingface or one.")], "auto"),
    ("digests", Annotated[str, typer.Option(help="none reads headers alone; xxh3 every byte; all adds sha256 and what clouds speak.")], "xxh3"),
    ("replace", Annotated[bool, typer.Option("--replace", help="Adopt the tars as they are now, in place of an older adoption.")], False),
)  # fmt: skip


@command("adopt", options=ADOPT_OPTIONS)
def adopt(session: Session, shards: Shards, options: dict[str, Any], output: Output = None) -> None:
    """Make a manifest and indexes for tars that something else made, and tell what will go wrong with them, for whom.

    The tars are not touched.

    Example: wdstools adopt their-shards -o theirs
    """
    with session.workers("processes", ("wdstools.foreign.shard",)) as executor:
        from wdstools.ops.adopt import AdoptOptions, run_adopt

        made = AdoptOptions(**options)
        result = run_adopt(shards, output, made, executor=executor, progress=session.output.progress())
    raise typer.Exit(show.adopted(session.output, result))


Consumers = Annotated[
    Optional[list[str]],
    typer.Option(
        "--for",
        metavar="NAME,...",
        help="huggingface, open_clip, timm, energon, dali, croissant, or all; --remove takes all without it.",
    ),
]


@command("emit", plan=PLAN_OPTIONS)
def emit(
    session: Session,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder.")],
    plan: dict[str, bool],
    consumers: Consumers = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take away what was emitted.")] = False,
    license_name: Annotated[Optional[str], typer.Option("--license", help="For the card, as cc-by-4.0.")] = None,
) -> None:
    """Write the files that other readers want, placed so that they do not break each other. The root digest stays.

    Example: wdstools emit shards --for all -y
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.emit import plan_emit, plan_emit_removal
    from wdstools.plan import apply

    if not consumers:
        if not remove:
            raise UsageError("nothing says for whom: emit", expected="--for all, or names")
        consumers = ["all"]
    opened = open_dataset(dataset)
    made = plan_emit_removal(opened, consumers) if remove else plan_emit(opened, consumers, license_name=license_name)
    if approved(session.output, made, **plan):
        apply(made, progress=session.output.progress())
        show.emitted(session.output, made)


@command("doctor")
def doctor(
    session: Session,
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's folder.")],
    consumers: Annotated[list[str], typer.Option("--for", metavar="NAME,...", help="Whom to ask; all without it.")] = ["all"],  # noqa: B006  typer copies it
    envs: Annotated[
        Optional[str], typer.Option("--envs", metavar="DIR", help="Environments to ask, as DIR/timm/bin/python.")
    ] = None,
) -> None:  # fmt: skip
    """Ask every reader that is installed to open the dataset, and tell which one does, with what to type.

    Example: wdstools doctor shards
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.doctor import examine

    found = examine(open_dataset(dataset), consumers, envs=envs, progress=session.output.progress())
    raise typer.Exit(show.diagnoses(session.output, found))
