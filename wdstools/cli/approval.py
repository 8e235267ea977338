"""How commands that change something ask for confirmation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, TypedDict, TypeVar, cast

import typer

from wdstools.cli.show.plan import show_plan
from wdstools.errors import UsageError, option
from wdstools.options.declare import Option

if TYPE_CHECKING:
    from collections.abc import Callable

    from wdstools.cli.output import Output
    from wdstools.landing.staging import FinishResult
    from wdstools.ops.remove import RemovePlan, RemoveResult
    from wdstools.plan import Plan
    from wdstools.reader.select import Selection

Result = TypeVar("Result")

_PANEL = "Confirmation"


class PlanChoices(TypedDict, total=False):
    """Whether to only show a plan, or to carry it out without asking."""

    dry_run: Annotated[bool, Option(False, "Print the plan and change nothing.", _PANEL, flag="--dry-run -n")]
    yes: Annotated[bool, Option(False, "Carry out the plan without asking.", _PANEL, flag="--yes -y")]


def approved(output: Output, plan: Plan[object], choices: PlanChoices, code: int = 0, *, listed: bool = False) -> bool:
    """Show a plan, and return whether to carry it out: with ``-y``, or if the user at the terminal agrees.

    With ``-n`` the plan is the answer, and the command ends with ``code``, or with 1 if the plan leaves something damaged.
    With ``-q -y`` the plan is not shown. ``listed``: standard input holds the list of what to change. Raises UsageError if
    there is nobody to ask.
    """
    dry_run, yes = choices["dry_run"], choices["yes"]
    if output.quiet and yes and not (dry_run or output.json):
        return True
    code = show_plan(output, plan, last=dry_run, code=code)
    if dry_run:
        raise typer.Exit(code)
    if yes or not plan.steps:
        return True
    if output.json or not sys.stdin.isatty():
        raise UsageError(
            "nothing was changed: there is no terminal to ask for confirmation",
            code="not-confirmed",
            where=plan.target,
            hint=f"add {option('yes', True)} to carry out the plan, or {option('dry_run', True)} to only see it"
            + ("; standard input holds the list, so it cannot take an answer" if listed else ""),
        )
    return typer.confirm("carry out this plan?", err=True)


def first_finished(
    output: Output, choices: PlanChoices, plan: Callable[[], Plan[Result | FinishResult]]
) -> tuple[Plan[Result], FinishResult | None]:
    """The plan of the command, and the result of finishing an interrupted change of the dataset first, if there was one.

    Ends the command if the user does not want to finish that change.
    """
    from wdstools.cli.show.change import finished
    from wdstools.landing.staging import FinishPlan
    from wdstools.plan import apply

    done = None
    while isinstance(made := plan(), FinishPlan):
        if not approved(output, made, choices):
            raise typer.Exit
        done = apply(made)
        finished(output, done)
    return cast("Plan[Result]", made), done


def removal_named(
    output: Output,
    choices: PlanChoices,
    selection: Selection,
    planned: Callable[[Selection], Plan[RemoveResult | FinishResult]],
) -> tuple[RemovePlan, FinishResult | None]:
    """The plan of a removal, as from ``first_finished``; names that are not keys are looked up, if there are any."""
    from wdstools.cli.show.named import tell_meant
    from wdstools.ops.named import find_named
    from wdstools.ops.remove import RemovePlan

    made, done = first_finished(output, choices, lambda: planned(selection))
    assert isinstance(made, RemovePlan)
    if made.absent and made.dataset is not None:
        found = find_named(made.dataset, selection, gone=made.earlier)
        tell_meant(output, found)
        if found.meant:
            made, _ = first_finished(output, choices, lambda: planned(found.selection))
            assert isinstance(made, RemovePlan)
    return made, done
