"""A plan, before it is carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.units import counted, size

if TYPE_CHECKING:
    from wdstools.cli.lines import PlanSummary
    from wdstools.cli.output import Output
    from wdstools.plan import Plan


def show_plan(output: Output, plan: Plan[object], *, last: bool, code: int = 0) -> int:
    """The steps of a plan. If nothing follows (``last``), they are the answer.

    Returns the exit code of that answer: 1 if the plan leaves something damaged, else ``code``.
    """
    code = 1 if plan.unsolved else code
    for step in plan.steps if output.json else ():
        output.record("step", step)
    output.few(str(step) for step in plan.steps)
    for finding in plan.unsolved if output.json else ():
        output.record("unsolved", finding)
    output.few(f"cannot be repaired: {finding}" for finding in plan.unsolved)
    moved = f", {size(plan.bytes)} to move" if plan.bytes else ""
    output.line(f"{plan.verb} {plan.target}: {counted(len(plan.steps), 'step')}{moved}")
    if last:
        summary: PlanSummary = {
            "verb": plan.verb,
            "target": plan.target,
            "steps": len(plan.steps),
            "bytes": plan.bytes,
            "unsolved": len(plan.unsolved),
            "applied": False,
        }
        output.summary(summary, exit_code=code, ok=code == 0)
    return code
