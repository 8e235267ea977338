"""The core commands. Each takes options, calls one operation, and shows its result."""

from __future__ import annotations

import os
import sys
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from wdstools.address import display
from wdstools.cli.session import At, DatasetPath, Session, command
from wdstools.cli.show import core as show
from wdstools.options.check import VerifyChoices
from wdstools.options.pack import LayoutChoices, PackChoices
from wdstools.stores.open import is_bucket
from wdstools.user_cache import cache_folder
from wdstools.writer import WORKER_MODULES

if TYPE_CHECKING:
    from wdstools.results import Report

Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder, zip or tar of images and captions, a table, or existing shards; local or in a bucket.",
    ),
]
Destination = Annotated[
    str,
    typer.Argument(
        metavar="DEST", help="The folder of the new dataset, which must be absent or empty, or an empty bucket prefix."
    ),
]
Checkable = Annotated[
    str,
    typer.Argument(
        metavar="DATASET|MANIFEST|SHARD.tar|SUMS|-", help="What to check; - reads a shard from standard input."
    ),
]


@command("scan", "make", layout=LayoutChoices)
def scan(session: Session, src: Source, layout: LayoutChoices) -> None:
    """Show what a source contains, and what pack would skip and why. Writes nothing.

    Example: wdstools scan InstaCities1M
    """
    from wdstools.ops.scan import scan as look

    with session.workers("serial") as executor:
        found = look(src, executor=executor, **layout)
    show.inventory(session.output, found)


@command("pack", "make", choices=PackChoices)
def pack(
    session: Session,
    src: Source,
    dest: Destination,
    choices: PackChoices,
    fail_on_leak: Annotated[
        bool, typer.Option("--fail-on-leak", help="Exit with code 1 if an image is in two splits.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be written, and write nothing.")
    ] = False,
) -> None:
    """Pack images and captions into checksummed shards, one set per split.

    Example: wdstools pack InstaCities1M shards --split train=80,val=5,test=15
    """
    from wdstools.ops.pack import pack as run  # imported before workers are forked, so that they inherit it
    from wdstools.ops.pack_plan import plan_pack

    with session.workers("processes", WORKER_MODULES) as executor:
        if dry_run:
            preview = plan_pack(src, dest, executor=executor, progress=session.output.progress(), **choices)
            raise typer.Exit(show.pack_plan(session.output, preview))
        result = run(src, dest, executor=executor, progress=session.output.progress(), **choices)
    raise typer.Exit(show.packed(session.output, result, fail_on_leak=fail_on_leak))


@command("verify", "check", choices=VerifyChoices)
def verify(session: Session, path: Checkable, choices: VerifyChoices) -> None:
    """Check that everything is as it was packed, and report what is not. Changes nothing.

    Example: wdstools verify shards
    """
    at = None if choices["at"] is None else os.fspath(choices["at"])
    choices["state"] = choices["state"] or os.path.join(cache_folder(), "scrub")
    report = _checked_pipe() if path == "-" else _checked(session, path, at, choices)
    raise typer.Exit(show.report(session.output, report, _repair(path, at, report)))


def _checked_pipe() -> Report:
    from wdstools.ops.verify.lone import verify_stream
    from wdstools.stores.local import translated

    with translated("standard input"):
        return verify_stream(sys.stdin.buffer, "standard input")


def _checked(session: Session, path: str, at: str | None, choices: VerifyChoices) -> Report:
    from wdstools.ops.verify import verify as check

    remote = any("://" in place for place in (path, at or ""))
    threads = remote or choices["level"] in ("size", "digest")
    preload = () if threads else ("wdstools.checks.rebuild",)
    with session.workers("threads" if threads else "processes", preload, remote=remote) as executor:
        return check(path, executor=executor, progress=session.output.progress(), **choices)


def _repair(path: str, at: str | None, report: Report) -> str | None:
    """What to do next: check elsewhere, or repair. Only a writable dataset can be repaired, and not into another dataset."""
    place = at or path
    if report.unproved and not report.findings:
        return _read_back(path, at) if report.level == "remote" else None
    if any(finding.cause == "shards-missing" for finding in report.findings):
        return None if at else f"wdstools verify {quote(display(path))} --at WHERE    checks them where they are"
    if all(finding.cause == "change-unfinished" for finding in report.findings):
        return None  # the findings say to run the interrupted command again
    writable = is_bucket(place) if "://" in place else os.path.isdir(place)
    if not writable or (at and any(finding.kind == "manifest" for finding in report.findings)):
        return None
    if at and os.path.isdir(path):
        return f"wdstools repair {quote(display(place))} --from {quote(display(path))}"
    return f"wdstools repair {quote(display(place))} --from COPY    with another copy, or the source it was packed from"


def _read_back(path: str, at: str | None) -> str:
    """What to do if a store proves nothing by itself: compare with the original's notes, or read every byte."""
    there = f" --at {quote(display(at))}" if at else ""
    reading = f"wdstools verify {quote(display(path))}{there} --level digest    reads every byte"
    if at:
        return reading
    return f"{reading}; wdstools verify ORIGINAL --at {quote(display(path))} --level remote    compares with what its mirror noted"


@command("info", "look")
def info(session: Session, dataset: DatasetPath, at: At = None) -> None:
    """Show a dataset's totals, splits, labels and root digest.

    Example: wdstools info shards
    """
    from wdstools.dataset import open_dataset

    show.info(session.output, open_dataset(dataset, at=at))


@command("demo", "make")
def demo(
    session: Session,
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="The folder to work in; it must not exist.")] = "demo",
    samples: Annotated[int, typer.Option(help="How many samples to make.")] = 2_000,
) -> None:
    """Take the tour: make a small dataset, pack it, verify it, damage it, see the damage found, and read it back.

    Example: wdstools demo
    """
    from wdstools.ops.demo import run_demo

    with session.workers("processes", WORKER_MODULES) as executor:
        result = run_demo(
            folder, samples, executor=executor, say=session.output.line, progress=session.output.progress()
        )
    session.output.summary(result, exit_code=0, ok=True)
