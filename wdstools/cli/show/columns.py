"""Results of the commands for added columns."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.cli.output import one_line
from wdstools.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wdstools.cli.approval import PlanChoices
    from wdstools.cli.lines import ColumnsSummary
    from wdstools.cli.output import Output
    from wdstools.ops.columns import ColumnsInfo, ColumnsResult
    from wdstools.plan import Plan


def joined(output: Output, plan: Plan[ColumnsResult], choices: PlanChoices) -> int:
    """How a table matches a dataset, unless the plan is not shown; the exit code that follows."""
    from wdstools.ops.columns import ColumnsPlan

    assert isinstance(plan, ColumnsPlan)
    if output.quiet and choices["yes"] and not choices["dry_run"]:
        return 3 if plan.absent else 0
    output.line(f"{plan.name}: {_named(plan.fields)}")
    output.line(f"  {plan.covered:,} of {counted(plan.samples, 'sample')} have a row")
    if plan.repeated:
        output.line(f"  rows that repeat the key of an earlier row: {plan.repeated:,}")
    return _absent(output, plan.absent, plan.absent_keys)


def _absent(output: Output, absent: int, keys: Sequence[str]) -> int:
    if not absent:
        return 0
    output.line(f"  rows with a key that is not in the dataset: {absent:,}")
    for key in keys:
        output.line(f"    not in the dataset: {one_line(key)}")
    return 3


def _named(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in fields.items())


def added(output: Output, result: ColumnsResult) -> int:
    """What was added; the exit code."""
    code = 3 if result.absent else 0
    without = result.samples - result.covered
    left = "as before" if result.change == "updated" else "without a value"
    output.line(
        f"{result.change} {result.name}: {counted(result.covered, 'sample')}"
        + (f", {without:,} {left}" if without else "")
        + f"; {size(result.bytes)}; root digest {result.root}, as before"
    )
    field = next(iter(result.fields))
    output.hint(f'use:    wdstools ls {quote(result.path)} --where "{field} is not None"')
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def removed(output: Output, result: ColumnsResult) -> int:
    """What was removed; the exit code."""
    output.line(f"removed {result.name}: {counted(len(result.deleted), 'file')}")
    output.summary(result, exit_code=0, ok=True)
    return 0


def listed(output: Output, path: str, found: Sequence[ColumnsInfo]) -> int:
    """The sets of a dataset; the exit code is 1 if one of them cannot be used."""
    code = 0 if all(one.state in ("ok", "begun") for one in found) else 1
    for one in found:
        output.record("columns", one)
        output.line(f"{one.name}: {one.state}" + (f", {size(one.bytes)}, root {one.root}" if one.root else ""))
        for name, kind in one.fields.items():
            output.line(f"  {name}  {kind}  {one.values[name]:,} of {counted(one.samples, 'sample')}")
        if one.detail:
            output.line(f"  {one_line(one.detail)}")
        if one.state == "begun":
            output.hint(f"  continue it, or remove it: wdstools columns rm {quote(path)} {one.name}")
        elif one.state != "ok":
            output.hint(f"  remove it, and add it again: wdstools columns rm {quote(path)} {one.name}")
    if not found:
        output.line("no columns were added")
    summary: ColumnsSummary = {"sets": sum(one.state != "begun" for one in found)}
    output.summary(summary, exit_code=code, ok=code == 0)
    return code
