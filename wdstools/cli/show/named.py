"""Messages about a list of keys: names that are not keys, and names that mean nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.cli.output import one_line, printable
from wdstools.cli.standard import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wdstools.cli.lines import Meant
    from wdstools.cli.output import Output
    from wdstools.dataset import Dataset
    from wdstools.ops.named import Named
    from wdstools.ops.pull import PullPlan
    from wdstools.reader.select import Selection

_FEW = 20


def named(output: Output, dataset: Dataset, selection: Selection) -> Named:
    """What the keys of a selection mean; says which names are not keys."""
    from wdstools.ops.named import find_named

    found = find_named(dataset, selection)
    tell_meant(output, found)
    return found


def tell_meant(output: Output, found: Named) -> None:
    """Say which key each other name is taken to mean, and which names are ambiguous; on stderr: the answer may be a list of keys."""
    for name, key in found.meant:
        line: Meant = {"name": name, "key": key}
        output.record("meant", line)
    for name, key in found.meant if output.verbose else found.meant[:_FEW]:
        output.hint(f"{one_line(name)} is the key {one_line(key)}")
    if len(found.meant) > _FEW and not output.verbose:
        output.hint(f"... and {len(found.meant) - _FEW:,} more (-v shows all)")
    for name in found.ambiguous:
        output.hint(f"several samples are called {one_line(name)}: none of them is chosen")


def no_such_keys(output: Output, keys: Sequence[str], *, aside: bool = False) -> int:
    """Requested keys that are not there; the exit code is 3 if there are any. ``aside`` writes them to stderr."""
    if not keys:
        return 0
    lines = [f"  no such key: {one_line(key)}" for key in (keys if output.verbose else keys[:_FEW])]
    verb = "is" if len(keys) == 1 else "are"
    lines.append(f"  {len(keys):,} of the named keys {verb} not in the dataset")
    for line in lines:
        if not aside:
            output.line(line)
        elif not output.json:
            say(printable(line) + "\n")
    return 3


def as_named(output: Output, url: str, selection: Selection, planned: Callable[[Selection], PullPlan]) -> PullPlan:
    """A pull of what a selection means; names are looked up only if some of them are not keys."""
    from wdstools.dataset import open_dataset
    from wdstools.errors import UsageError
    from wdstools.ops.named import find_named

    try:
        plan = planned(selection)
        if not plan.missing_keys:
            return plan
        found = find_named(plan.source, selection)
    except UsageError as error:
        if error.code != "nothing-chosen" or not selection.keys:
            raise
        plan, found = None, find_named(open_dataset(url), selection)
        if not found.meant:
            raise
    tell_meant(output, found)
    return planned(found.selection) if plan is None or found.meant else plan
