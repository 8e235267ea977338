"""What a change has made of a dataset, and what is different between two."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.units import counted, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.cli.output import Output
    from wdstools.landing.staging import FinishResult
    from wdstools.ops.diff import DiffResult
    from wdstools.ops.extract.write import ExtractResult
    from wdstools.ops.remove.plan import RemoveResult
    from wdstools.ops.repair.result import RepairResult

_ABSENT_SHOWN = 5


def finished(output: Output, result: FinishResult) -> None:
    """A change that was cut short, and what it has made now that it is finished."""
    output.line(f"finished: {result.path} is version {result.version}; root digest {result.root}")
    output.hint(f"check:  wdstools verify {quote(result.path)}")
    output.hint("more:   run the same command again if it was another change that you wanted")
    output.summary(result, exit_code=0, ok=True)


def repaired(output: Output, result: RepairResult | FinishResult) -> int:
    """What a repair has done; the exit code."""
    from wdstools.landing.staging import FinishResult

    if isinstance(result, FinishResult):
        finished(output, result)
        return 0
    code = 1 if result.unsolved else 0
    shards, indexes = counted(len(result.shards), "shard"), counted(result.indexes, "index", "indexes")
    written = f"{shards}, {indexes}, {counted(len(result.files), 'other file')}"
    if result.shards or result.indexes or result.files or result.unsolved:
        output.line(f"repaired: {written}; {size(result.bytes)} came from copies; root digest {result.root}")
    else:
        output.line(f"nothing to repair: {result.path}; root digest {result.root}")
    if result.unsolved:
        output.line(f"still damaged: {counted(len(result.unsolved), 'finding')}, named above; what is left was kept")
        output.hint(f"hint: wdstools repair {quote(result.path)} --from COPY    with a copy that has them whole")
    else:
        output.hint(f"check:  wdstools verify {quote(result.path)}")
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def absent(output: Output, keys: Sequence[str]) -> None:
    """Keys that were to be removed and are not there."""
    if keys:
        shown = ", ".join(keys if output.verbose else keys[:_ABSENT_SHOWN])
        more = " ..." if not output.verbose and len(keys) > _ABSENT_SHOWN else ""
        output.line(
            f"{counted(len(keys), 'key')} of those named {'is' if len(keys) == 1 else 'are'} not in the dataset: {shown}{more}"
        )
    output.record("absent", {"keys": len(keys)})


def removed(output: Output, result: RemoveResult | FinishResult) -> None:
    """What a removal has made."""
    from wdstools.landing.staging import FinishResult

    if isinstance(result, FinishResult):
        finished(output, result)
        return
    if not result.removed:
        output.line("nothing to remove: no sample is chosen, and nothing was written")
    else:
        output.line(
            f"removed {counted(result.removed, 'sample')}: {result.path} is version {result.version}; "
            f"{counted(len(result.shards), 'shard')} rewritten"
        )
        output.hint(f"check:  wdstools verify {quote(result.path)}")
        output.hint(
            f"others: wdstools mirror {quote(result.path)} URL --replace    takes the samples out of a mirror too;"
        )
        output.hint("        who pulled them before: wdstools pull URL NEW --seed OLD, then delete OLD")
    output.line(f"  root digest {result.root}")
    output.summary(result, exit_code=0, ok=True)


def difference(output: Output, result: DiffResult) -> int:
    """What is different between two datasets; the exit code."""
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
    summary = {"roots": result.roots, "fields": result.fields, "shards": result.shards, "samples": result.counts}
    output.summary(summary, exit_code=code, ok=code == 0)
    return code


def extracted(output: Output, result: ExtractResult) -> None:
    """What was written back as files."""
    output.line(
        f"extracted {counted(result.samples, 'sample')} into {counted(result.files, 'file')}, {size(result.bytes)}: {result.path}"
    )
    output.summary(result, exit_code=0, ok=True)
