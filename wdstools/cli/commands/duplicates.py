"""The command that finds duplicate images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from wdstools.cli.session import At, DatasetPath, Session, command, hashes_file, keys_file, page_file
from wdstools.cli.show import duplicates as show
from wdstools.cli.show import shared
from wdstools.options.check import DuplicateChoices

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.dedup.results import DuplicateGroups

_ANSWER = "Results"
_AGAINST = "Comparing with other sets"


@command("duplicates", "check", choices=DuplicateChoices)
def duplicates(
    session: Session,
    dataset: DatasetPath,
    choices: DuplicateChoices,
    at: At = None,
    across_splits: Annotated[
        bool,
        typer.Option("--across-splits", help="Report only groups that span several splits.", rich_help_panel=_ANSWER),
    ] = False,
    html: Annotated[
        Optional[str],
        typer.Option(
            "--html",
            metavar="FILE",
            callback=page_file,
            help="Write an HTML page with pictures to this file.",
            rich_help_panel=_ANSWER,
        ),
    ] = None,
    against: Annotated[
        Optional[list[str]],
        typer.Option(
            "--against",
            metavar="OTHER",
            help="Find images that this other set also holds: a dataset, a folder of images, or a file of hashes; may be repeated.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    against_root: Annotated[
        Optional[list[str]],
        typer.Option(
            "--against-root",
            metavar="DIGEST",
            help="The root digest that OTHER must have; if repeated, one for each OTHER in the same order.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    keys_to: Annotated[
        Optional[str],
        typer.Option(
            "--keys-to",
            metavar="FILE",
            callback=keys_file,
            help="Write the keys of those images to this file, for remove --keys.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
    hashes_to: Annotated[
        Optional[str],
        typer.Option(
            "--hashes-to",
            metavar="FILE.parquet",
            callback=hashes_file,
            help="Write the hashes of a dataset, or of a folder, zip or tar of images, to this file. Others can pass it to --against without having the images.",
            rich_help_panel=_AGAINST,
        ),
    ] = None,
) -> None:
    """Find duplicate images and leaks between splits, or images that other sets also hold.

    Example: wdstools duplicates shards --html duplicates.html
    Example: wdstools duplicates train --against coco-test --keys-to shared.txt
    """
    from wdstools.dataset import open_dataset

    roots = (choices.get("root"), *shared.roots_of(against, against_root))
    if against:
        shared.refuse_with_against(across_splits=across_splits, hashes_to=hashes_to)
        mine = open_dataset(dataset, at=at) if at else dataset
        sets = tuple(shared.anchored(one, root) for one, root in zip((mine, *against), roots, strict=True))
        raise typer.Exit(_against(session, sets, choices, keys_to, html))
    if hashes_to is not None and at is None and show.is_of_images(dataset):
        show.refuse_beside_hashes(choices, across_splits=across_splits, html=html)
        raise typer.Exit(_hand_out_images(session, dataset, hashes_to))
    opened = open_dataset(dataset, at=at)
    found = _found(session, opened, choices)
    show.write_files(opened, found, choices, html=html, hashes_to=hashes_to)
    raise typer.Exit(show.duplicates(session.output, opened.name, found, across_splits=across_splits, html=html))


def _found(session: Session, dataset: Dataset, choices: DuplicateChoices) -> DuplicateGroups:
    from wdstools.ops.duplicates import find_duplicates

    with session.workers("processes", show.WORKER_MODULES) as executor:
        show.expected(session.output, dataset, choices)
        return find_duplicates(dataset, executor=executor, progress=session.output.progress(), **choices)


def _hand_out_images(session: Session, path: str, target: str) -> int:
    with session.workers("processes", show.WORKER_MODULES) as executor:
        return show.hand_out_images(session.output, path, target, executor)


def _against(
    session: Session, sets: tuple[str | Dataset, ...], choices: DuplicateChoices, keys_to: str | None, html: str | None
) -> int:
    from wdstools.ops.duplicates.against import find_shared

    wanted = shared.choices_of(choices)
    with session.workers("processes", show.WORKER_MODULES) as executor:
        found = find_shared(sets[0], sets[1:], executor=executor, progress=session.output.progress(), **wanted)
    shared.write_files(found, sets, keys_to=keys_to, html=html)
    return shared.shared(session.output, found, keys_to=keys_to, html=html)
