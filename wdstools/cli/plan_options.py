"""The options of commands that change something, and how they ask first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from wdstools.cli.show.plan import show_plan
from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools.cli.output import Output
    from wdstools.plan import Plan

_PANEL = "Before anything changes"

PLAN_OPTIONS = (
    ("dry_run", Annotated[bool, typer.Option("--dry-run", "-n", help="Print the plan and change nothing.", rich_help_panel=_PANEL)], False),
    ("yes", Annotated[bool, typer.Option("--yes", "-y", help="Carry the plan out without asking.", rich_help_panel=_PANEL)], False),
)  # fmt: skip


def approved(output: Output, plan: Plan[object], *, dry_run: bool, yes: bool) -> bool:
    """Show a plan, and tell whether to carry it out: with ``-y``, or when a person at the terminal says so.

    With ``-n`` the plan is the answer, and the command ends with 1 where it leaves something damaged; with ``-q -y`` nobody
    wants to see it. Raises UsageError when there is nobody to ask.
    """
    if output.quiet and yes and not (dry_run or output.json):
        return True
    code = show_plan(output, plan, last=dry_run)
    if dry_run:
        raise typer.Exit(code)
    if yes or not plan.steps:
        return True
    if output.json or not sys.stdin.isatty():
        raise UsageError(
            "nothing was changed: there is nobody to ask",
            code="not-confirmed",
            where=plan.target,
            hint="add -y to carry the plan out, or -n to see it only",
        )
    return typer.confirm("carry this out?", err=True)
