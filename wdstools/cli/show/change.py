"""What a change has made of a dataset, and what is different between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.cli.output import size

if TYPE_CHECKING:
    from wdstools.cli.output import Output
    from wdstools.results import DiffResult, ExtractResult, RemoveResult, RepairResult


def repaired(output: Output, result: RepairResult) -> int:
    """What a repair has done; the exit code."""
    code = 1 if result.unsolved else 0
    written = f"{len(result.shards):,} shard(s), {result.indexes:,} index(es), {len(result.files):,} other file(s)"
    if result.shards or result.indexes or result.files or result.unsolved:
        output.line(f"repaired: {written}; {size(result.bytes)} came from copies; root digest {result.root}")
    else:
        output.line(f"nothing to repair: {result.path}; root digest {result.root}")
    if result.unsolved:
        output.line(f"still damaged: {len(result.unsolved):,} finding(s), named above; what is left was kept")
        output.hint(f"hint: wdstools repair {result.path} --from COPY    with a copy that has them whole")
    else:
        output.hint(f"check:  wdstools verify {result.path}")
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def absent(output: Output, count: int) -> None:
    """Keys that were to be removed and are not there."""
    if count:
        output.line(f"{count:,} of the keys are not in the dataset")
    output.record("absent", {"keys": count})


def removed(output: Output, result: RemoveResult) -> None:
    """What a removal has made."""
    if not result.removed:
        output.line(f"nothing to remove: {result.path}")
    else:
        output.line(
            f"removed {result.removed:,} samples: {result.path} is version {result.version}, "
            f"{len(result.shards):,} shard(s) were written anew"
        )
        output.hint(f"check:  wdstools verify {result.path}")
        output.hint("others: what wdstools mirror and pull copied before is dropped when they run again")
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
        f"extracted {result.samples:,} samples into {result.files:,} files, {size(result.bytes)}: {result.path}"
    )
    output.summary(result, exit_code=0, ok=True)
