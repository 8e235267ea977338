"""What a change did to a dataset, and how two datasets differ."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.cli.output import one_line, printable
from wdstools.cli.show.core import not_covered, skip_hints, source_account, would_be_skipped
from wdstools.cli.show.named import no_such_keys
from wdstools.results import proof
from wdstools.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.cli.lines import Absent, DiffSummary
    from wdstools.cli.output import Output
    from wdstools.landing.staging import FinishResult
    from wdstools.ops.append import AppendResult
    from wdstools.ops.diff import DiffResult
    from wdstools.ops.extract import ExtractResult
    from wdstools.ops.remove import RemoveResult
    from wdstools.ops.repair import RepairResult
    from wdstools.plan import Plan


def finished(output: Output, result: FinishResult) -> None:
    """An interrupted change that is now finished, and its result; the requested change follows."""
    output.note(
        f"finished the interrupted change: {result.path} is version {result.version}; root digest {result.root}"
    )
    output.record("finished", result)


def repaired(output: Output, result: RepairResult) -> int:
    """What a repair did; the exit code."""
    code = 1 if result.unsolved else 0
    shards, indexes = counted(len(result.shards), "shard"), counted(result.indexes, "index", "indexes")
    written = f"{shards}, {indexes}, {counted(len(result.files), 'other file')}"
    if result.shards or result.indexes or result.files or result.deleted or result.unsolved:
        output.line(f"repaired: {written}; {size(result.bytes)} came from copies; root digest {result.root}")
    else:
        output.line(f"nothing to repair: {result.path}; root digest {result.root}")
    for path in result.deleted:
        output.line(f"  deleted: {path}")
    if not result.unsolved:
        output.line(f"  {proof(result.proved)['proof']}")
        not_covered(output, result.not_covered)
    if result.unsolved:
        output.line(
            f"still damaged: {counted(len(result.unsolved), 'finding')}, listed above; what could not be repaired was kept"
        )
        if any(finding.kind != "extra" for finding in result.unsolved):  # a file too many says itself what to do
            output.hint(
                f"hint: wdstools repair {quote(result.path)} --from COPY    with a copy that is not damaged there"
            )
    else:
        output.hint(f"check:  wdstools verify {quote(result.path)}")
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def absent(output: Output, absent_keys: Sequence[str], just_removed: Sequence[str]) -> int:
    """All keys to remove that are not there, so that nobody believes they were removed; the exit code.

    Keys that the interrupted change removed, which is now finished, are left out.
    """
    keys = [key for key in absent_keys if key not in set(just_removed)]
    for key in keys:
        output.line(f"not in the dataset: {one_line(key)}")
    if keys:
        output.line(
            f"{len(keys):,} of the named keys {'is' if len(keys) == 1 else 'are'} not in the dataset: "
            "nothing is removed for"
            f" {'it' if len(keys) == 1 else 'them'}"
        )
    line: Absent = {"keys": len(keys), "missing_keys": keys}
    output.record("absent", line)
    return 3 if keys else 0


def removed(output: Output, result: RemoveResult, code: int) -> int:
    """What a removal did; returns ``code``, the exit code."""
    if not result.removed:
        output.line("nothing to remove: no sample matches, and nothing was written")
    else:
        output.line(
            f"removed {counted(result.removed, 'sample')}: {result.path} is version {result.version}; "
            f"{counted(len(result.shards), 'shard')} rewritten"
        )
        output.hint(f"check:  wdstools verify {quote(result.path)}")
        output.hint(
            f"others: wdstools mirror {quote(result.path)} URL --replace    removes the samples from a mirror too;"
        )
        output.hint("        whoever pulled them before: wdstools pull URL NEW --seed OLD, then delete OLD")
    if result.earlier:
        output.line(f"  already removed in an earlier version: {counted(len(result.earlier), 'key')}")
    for path in result.deleted:
        output.line(f"  deleted: {one_line(path)}")
    for place in result.elsewhere:
        output.line(f"  not changed, and may still hold them: {one_line(place)}")
    output.line(f"  root digest {result.root}")
    if result.removed:
        output.line(f"  the rewritten samples: {proof(result.proved)['proof']}")
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def append_plan(output: Output, plan: Plan[AppendResult]) -> int:
    """What an append would add, and what it would skip; the exit code, as far as names and keys show."""
    from wdstools.ops.append import AppendPlan

    assert isinstance(plan, AppendPlan)
    from wdstools.sources.account import count_losses, counts_of  # imported here: it needs numpy

    skipped = counts_of(plan.skips)
    count = sum(plan.samples.values())
    split = ", ".join(f"{name} {number:,}" for name, number in plan.samples.items())
    output.line(f"{counted(count, 'new sample')}" + (f": {split}" if split else ""))
    if plan.there:
        output.line(f"  already there: {counted(plan.there, 'sample')}, byte for byte")
    for note in plan.notes:
        output.line(printable(f"  {note}"))
    source_account(output, plan.account, plan.outside)
    would_be_skipped(output, skipped, plan.skips)
    skip_hints(output, skipped if count_losses(plan.skips) else ())
    for skip in plan.skips if output.json else ():
        output.record("skip", skip)
    if plan.moved:
        output.line(f"  {counted(plan.moved, 'old sample')} move to another shard: the number of shards changes")
    if plan.intake is not None:
        output.line(f"  kept as they are: {size(plan.kept)} of shards")
        output.hint("only names and keys were checked: the content of each new sample is checked when it is written")
    return 3 if count_losses(plan.skips) else 0


def appended(output: Output, result: AppendResult) -> int:
    """What an append did; the exit code."""
    code = 3 if result.losses else 0
    if result.shards:
        _grown(output, result)
    else:
        output.line(f"nothing to append: {result.path} is still version {result.version}, and nothing was written")
    if result.there:
        output.line(f"  already there: {counted(result.there, 'sample')}")
    if result.skipped:
        listed = f"; each is listed in {result.path}/.wdstools/skipped.jsonl" if result.shards else ""
        output.line("  skipped: " + ", ".join(f"{n:,} {why}" for why, n in result.skipped.items()) + listed)
        skip_hints(output, result.skipped if result.losses else ())
    output.line(f"  root digest {result.root}")
    if result.shards:
        output.line(f"  the rewritten old samples: {proof(result.proved)['proof']}")
        output.hint(f"check:  wdstools verify {quote(result.path)}")
    for skip in result.skips if output.json else ():
        output.record("skip", skip)
    output.summary(replace(result, skips=()), exit_code=code, ok=code == 0)
    return code


def _grown(output: Output, result: AppendResult) -> None:
    """What was added and written, and its consequences."""
    split = ", ".join(f"{name} {number:,}" for name, number in result.appended.items())
    output.line(
        f"appended {counted(sum(result.appended.values()), 'sample')}"
        + (f" ({split})" if split else "")
        + f": {result.path} is version {result.version}; {counted(len(result.shards), 'shard')} written, "
        f"{size(result.written)}; {size(result.kept)} kept as they are"
    )
    for note in result.notes:
        output.line(printable(f"  {note}"))
    matrix = ", ".join(f"{pair.replace('/', ' and ')} {n:,}" for pair, n in result.leaks.items() if n)
    if matrix:
        output.line(f"  identical images in two splits: {matrix}")
    output.few(
        printable(f"  {key} in {split} is the same image as {other} in {of_other}")
        for key, split, other, of_other in result.leaked
    )
    if result.leaked:
        output.hint("hint: --duplicates drop leaves out new images that the dataset already has")
    output.line(f"  surplus copies of identical images: {result.duplicates:,}")
    for path in result.deleted:
        output.line(f"  deleted: {one_line(path)}")
    for place in result.elsewhere:
        output.line(f"  not changed, and without the new samples: {one_line(place)}")


def difference(output: Output, result: DiffResult) -> int:
    """How two datasets differ; the exit code."""
    code = 0 if result.same else 1
    for found in result.differences if output.json else ():
        output.record("difference", found)
    output.few(str(found) for found in result.differences)
    for name, (before, after) in result.fields.items():
        output.line(f"{name}: {before} -> {after}")
    if result.same:
        output.line(f"the same dataset: root digest {result.roots[0]}")
    else:
        counted = ", ".join(f"{count:,} {change}" for change, count in sorted(result.counts.items())) or "none differ"
        shards = ", ".join(f"{count:,} {change}" for change, count in result.shards.items() if count)
        output.line(f"samples: {counted}; shards: {shards}")
    output.line(f"  what is the same: {proof(result.proved)['proof']}")
    summary: DiffSummary = {
        "roots": result.roots,
        "fields": result.fields,
        "shards": result.shards,
        "samples": result.counts,
        **proof(result.proved),
    }
    output.summary(summary, exit_code=code, ok=code == 0)
    return code


def extracted(output: Output, result: ExtractResult) -> int:
    """What was written back as files; the exit code."""
    code = 3 if result.missing_keys else 0
    output.line(
        f"extracted {counted(result.samples, 'sample')} into {counted(result.files, 'file')}, {size(result.bytes)}: {result.path}"
    )
    output.line(f"  {proof(result.proved)['proof']}")
    no_such_keys(output, result.missing_keys)
    output.summary(result, exit_code=code, ok=code == 0)
    return code
