"""Commands that show what is in a dataset: its shards and samples, one member, statistics."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from wdstools.cli.session import DatasetPath, Session, command, completes, page_file
from wdstools.cli.show import documents
from wdstools.cli.show import look as show
from wdstools.cli.show.named import named
from wdstools.options.read import OpenChoices, SelectChoices, ShownChoices

_ONE_FILE = "One page instead of a server"


@command("ls", "look", shown=ShownChoices, chosen=SelectChoices, opening=OpenChoices)
def ls(
    session: Session,
    dataset: DatasetPath,
    shown: ShownChoices,
    chosen: SelectChoices,
    opening: OpenChoices,
    which: Annotated[
        Optional[str],
        typer.Argument(
            metavar="[SPLIT|SHARD]",
            autocompletion=completes(kind="split-or-shard"),
            help="List the keys of this split or shard.",
        ),
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", "-l", help="Show each sample's key, label, size and caption.")
    ] = False,
) -> None:
    """List a dataset's shards, the keys of a split or shard, or the keys of chosen samples.

    Example: wdstools ls shards train
    Example: wdstools ls -l shards --where "'sunset' in caption and width >= 640"
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.ls import list_keys, list_samples, list_shards
    from wdstools.reader.select import select

    opened, selection = open_dataset(dataset, **opening), select(**chosen)
    found = named(session.output, opened, selection)
    columns = shown["columns"]
    if long or columns:
        listed = list_samples(opened, which, found.selection, columns)
        raise typer.Exit(show.samples(session.output, listed, found.missing))
    if which is None and selection.is_everything:
        show.shards(session.output, list_shards(opened))
    else:
        raise typer.Exit(show.keys(session.output, list_keys(opened, which, found.selection), found.missing))


@command("head", "look", shown=ShownChoices, chosen=SelectChoices, opening=OpenChoices)
def head(
    session: Session,
    dataset: DatasetPath,
    shown: ShownChoices,
    chosen: SelectChoices,
    opening: OpenChoices,
    samples: Annotated[int, typer.Option("--samples", "-n", min=0, help="How many samples to show.")] = 10,
) -> None:
    """Show the first samples: key, label, size and caption, from the index alone.

    Example: wdstools head hf://datasets/me/cities -n 5
    Example: wdstools head shards --columns score,recaption
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.ls import first_samples
    from wdstools.reader.select import select

    opened = open_dataset(dataset, **opening)
    found = named(session.output, opened, select(**chosen))
    listed = first_samples(opened, samples, found.selection, shown["columns"])
    raise typer.Exit(show.samples(session.output, listed, found.missing))


@command("cat", "look", opening=OpenChoices)
def cat(
    session: Session,
    dataset: DatasetPath,
    member: Annotated[
        str,
        typer.Argument(
            metavar="KEY.EXT",
            autocompletion=completes(kind="member"),
            help="The name of a member, such as london/123.jpg, or of its original file; a key alone means its caption.",
        ),
    ],
    opening: OpenChoices,
) -> None:
    """Check one member and write it to standard output; with --json as text, or as base64 if it is not text.

    Example: wdstools cat shards london/1413.txt
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.member_names import read_member

    documents.member(session.output, member, read_member(open_dataset(dataset, **opening), member))


@command("schema", "look")
def schema(
    session: Session,
    name: Annotated[
        Optional[str],
        typer.Argument(
            metavar="[COMMAND]",
            autocompletion=completes(kind="schema"),
            help="The command whose schema to print, or error. Default: list all names.",
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the lines that a command prints with --json, or of errors.

    Example: wdstools schema verify
    """
    documents.schemas(session.output, name)


@command("stats", "look", chosen=SelectChoices, opening=OpenChoices)
def stats(session: Session, dataset: DatasetPath, chosen: SelectChoices, opening: OpenChoices) -> None:
    """Count labels, image sizes, bytes, caption lengths and hashtags, from the indexes alone.

    Example: wdstools stats shards --split train
    """
    from wdstools.dataset import open_dataset
    from wdstools.ops.stats import count_samples
    from wdstools.reader.select import select

    opened = open_dataset(dataset, **opening)
    which = named(session.output, opened, select(**chosen))
    far = show.is_far(opened)
    with session.workers("threads" if far else "processes", show.WORKER_MODULES, remote=far) as executor:
        found = count_samples(opened, which.selection, executor, session.output.progress())
    raise typer.Exit(show.stats(session.output, found, which.missing))


@command("view", "look", chosen=SelectChoices, opening=OpenChoices)
def view(
    session: Session,
    dataset: DatasetPath,
    chosen: SelectChoices,
    opening: OpenChoices,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to serve the page on; 0 picks a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in your browser.")] = False,
    findings: Annotated[
        Optional[str],
        typer.Option(metavar="FILE", help="Show the damage listed in this file, the output of verify --json."),
    ] = None,
    html: Annotated[
        Optional[str],
        typer.Option(
            "--html",
            metavar="FILE",
            callback=page_file,
            help="Write statistics and some samples to this file as one page, and serve nothing.",
            rich_help_panel=_ONE_FILE,
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=0, max=2_000, help="How many samples to put on that page.", rich_help_panel=_ONE_FILE)
    ] = 60,
) -> None:
    """Browse a dataset: gallery, search, filters, statistics, every sample. The page is served to this machine only.

    Example: wdstools view shards
    Example: wdstools view shards --where "label == 'london'" --html london.html
    """
    from wdstools.dataset import open_dataset
    from wdstools.reader.select import select

    show.refuse_idle(html, port=port, open=browser, findings=findings)
    opened, selection = open_dataset(dataset, **opening), select(**chosen)
    if html is None:
        address = show.named(dataset, opening)
        show.serve_view(session.output, opened, selection, address, port=port, findings=findings, browser=browser)
        return
    far = show.is_far(opened)
    with session.workers("threads" if far else "processes", show.WORKER_MODULES, remote=far) as executor:
        found = named(session.output, opened, selection)
        raise typer.Exit(show.write_sheet(session.output, opened, found, html, samples=samples, executor=executor))
