"""What a change has made of a dataset, and what is different between two."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.cli.output import size

if TYPE_CHECKING:
    from wdstools.cli.output import Output
    from wdstools.results import RepairResult


def repaired(output: Output, result: RepairResult) -> int:
    """What a repair has done; the exit code."""
    code = 1 if result.unsolved else 0
    written = f"{len(result.shards):,} shard(s), {result.indexes:,} index(es), {len(result.files):,} other file(s)"
    output.line(f"repaired: {written}; {size(result.bytes)} came from copies; root digest {result.root}")
    if result.unsolved:
        output.line(f"still damaged: {len(result.unsolved):,} finding(s), named above; what is left was kept")
        output.hint(f"hint: wdstools repair {result.path} --from COPY    with a copy that has them whole")
    else:
        output.hint(f"check:  wdstools verify {result.path}")
    output.summary(result, exit_code=code, ok=code == 0)
    return code
