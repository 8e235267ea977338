"""What adopting, emitting and the doctor found."""

from __future__ import annotations

from collections import Counter
from shlex import quote
from typing import TYPE_CHECKING

from wdstools.address import display
from wdstools.cli.output import one_line
from wdstools.results import proof
from wdstools.stores.open import is_bucket
from wdstools.units import counted, size

if TYPE_CHECKING:
    from wdstools.cli.lines import DoctorSummary
    from wdstools.cli.output import Output
    from wdstools.ops.adopt import AdoptResult
    from wdstools.ops.doctor import Diagnosis
    from wdstools.ops.emit import EmitResult


def adopted(output: Output, result: AdoptResult) -> int:
    """What was adopted, and its hazards; the exit code."""
    total = sum(result.samples.values())
    output.line(
        f"adopted {counted(total, 'sample')} in {counted(result.shards, 'shard')}, {size(result.bytes)}, digests {result.digests}: {one_line(result.path)}"
    )
    output.line("  " + ", ".join(f"{split} {count:,}" for split, count in sorted(result.samples.items())))
    output.line(f"  members: {one_line(', '.join(result.members))}")
    output.line(f"  root digest {result.root}")
    for hazard in result.hazards:
        output.record("hazard", hazard)
        hits = f"; hits {', '.join(hazard.hits)}" if hazard.hits else ""
        output.line(one_line(f"{hazard.code}: {hazard.message} ({hazard.count:,}{hits})"))
        output.line(one_line(f"  first: {hazard.example}"))
    for hint in dict.fromkeys(hazard.hint for hazard in result.hazards):
        output.hint(f"hint: {hint}")
    if "://" in result.shards_at and result.path != result.shards_at:
        named = f"{quote(result.path)} --at {quote(display(result.shards_at))}"
        output.hint(f"check:  wdstools verify {named}    other machines read the tars only where you name the place")
    code = 3 if result.incomplete else 0
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def emitted(output: Output, result: EmitResult, *, removed: bool) -> None:
    """What emit did. The counts include the file that lists what is emitted."""
    linked = f", {counted(result.linked, 'shard')} linked" if result.linked else ""
    deleted = f", {result.deleted:,} deleted" if result.deleted else ""
    output.line(f"{counted(result.written, 'file')} written{linked}{deleted}")
    if not removed:
        output.line(f"  their content: {proof(result.proved)['proof']}")
        if not is_bucket(result.target):  # doctor needs a local dataset
            output.hint(f"check:  wdstools doctor {quote(result.target)}")
    output.summary(result, exit_code=0, ok=True)


def diagnoses(output: Output, found: tuple[Diagnosis, ...]) -> int:
    """One line per consumer; the exit code."""
    for diagnosis in found:
        output.record("diagnosis", diagnosis)
        name = f"{diagnosis.consumer} {diagnosis.version}".strip()
        counts = f"{counted(diagnosis.samples, 'sample')}, {diagnosis.equal:,} compared" if diagnosis.samples else ""
        output.line(one_line(f"{name:24} {diagnosis.status:14} {'; '.join(filter(None, (counts, diagnosis.detail)))}"))
        if diagnosis.status == "works":
            output.line(one_line(f"    {diagnosis.how}"))
    answers = Counter(diagnosis.status for diagnosis in found)
    code = 1 if answers["fails"] else 0
    summary: DoctorSummary = {
        "consumers": len(found),
        "works": answers["works"],
        "fails": answers["fails"],
        "cannot": answers["cannot"],
        "not installed": answers["not installed"],
    }
    output.summary(summary, exit_code=code, ok=code == 0)
    return code
