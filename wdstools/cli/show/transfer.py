"""What mirror, pull and sign found and did."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.address import display
from wdstools.cli.show.core import not_covered
from wdstools.cli.show.named import no_such_keys
from wdstools.cli.show.plan import show_plan
from wdstools.results import proof
from wdstools.units import counted, size

if TYPE_CHECKING:
    from wdstools.cli.lines import Comparison, FilesAndBytes, Transfer
    from wdstools.cli.output import Output
    from wdstools.ops.mirror import MirrorResult
    from wdstools.ops.mirror.run import MirrorPlan
    from wdstools.ops.pull import PullPlan, PullResult
    from wdstools.ops.sign import SignResult


def comparison(output: Output, plan: MirrorPlan) -> None:
    """How a place compares with a dataset, before the steps."""
    from wdstools.transfer.compare import STATES

    states: dict[str, FilesAndBytes] = {
        name: {"files": plan.counts.get(name, 0), "bytes": plan.sizes.get(name, 0)} for name in STATES
    }
    line: Comparison = {"target": plan.target, "states": states, "replaces": plan.replaced}
    output.record("comparison", line)
    told = ", ".join(
        f"{entry['files']:,} {name} ({size(entry['bytes'])})" for name, entry in states.items() if entry["files"]
    )
    output.note(f"{plan.target}: {told}")
    if plan.extra and not plan.delete:
        output.hint("hint: extra files stay; --delete removes them")


def mirrored(output: Output, result: MirrorResult, dataset: str) -> int:
    """What a mirror did; the exit code."""
    code = 4 if result.unproved else 0
    if result.uploaded or result.deleted:
        output.line(f"mirrored: {counted(result.uploaded, 'file')}, {size(result.bytes)} sent, {result.same:,} already there, {result.deleted:,} deleted")  # fmt: skip
    else:
        output.line("nothing to do: the mirror is whole")
    output.line(f"  root digest {result.root}")
    if not result.unproved:
        output.line(f"  {proof(result.proved)['proof']}, by the digests that the store reports")
    if result.history is not None:
        output.line(
            f"  the Hub's history still holds the earlier files, for everyone who can read it: commit {result.history}"
        )
        output.hint(
            "hint: to remove it, squash the history (HfApi.super_squash_history) and delete its files under Settings, "
            "List LFS files; copies that others have made remain"
        )
    if result.unproved:
        output.line(f"not proved: the store reports no comparable digest of {counted(len(result.unproved), 'file')}")
        output.hint(
            f"hint: wdstools verify {quote(display(dataset))} --at {quote(result.target)} --level digest    reads them back"
        )
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def wanted(output: Output, plan: PullPlan, *, last: bool) -> None:
    """What a pull would fetch."""
    share = plan.bytes / plan.total_bytes if plan.total_bytes else 1.0
    document: Transfer = {
        "samples": plan.samples,
        "bytes": plan.bytes,
        "requests": plan.requests,
        "share": round(share, 4),
        "root": plan.source.root,
        "missing_keys": len(plan.missing_keys),
        **proof(plan.proved, plan.source.signer),
    }
    output.record("transfer", document)
    output.note(
        f"{plan.source.metadata.url}: {counted(plan.samples, 'sample')}, {size(plan.bytes)} in {counted(plan.requests, 'request')}, "
        f"{share:.3f} of the shards' bytes"
    )
    if last:
        show_plan(output, plan, last=True)


def pulled(output: Output, result: PullResult) -> int:
    """What a pull fetched; the exit code."""
    code = 3 if result.missing_keys else 0
    output.line(
        f"pulled {counted(result.samples, 'sample')} in {counted(result.shards, 'shard')}, {size(result.bytes)}: {result.path}"
    )
    parts = (
        ("fetched", result.fetched),
        ("kept from an interrupted pull", result.kept),
        ("from local shards", result.seeded),
    )
    output.line("  " + ", ".join(f"{size(count)} {what}" for what, count in parts if count or what == "fetched"))
    if result.columns:
        output.line(f"  added columns: {', '.join(result.columns)}")
    if result.again:
        output.line(f"  {counted(result.again, 'sample')} arrived damaged and were fetched again")
    output.line(
        f"  root digest {result.root}" + ("" if result.root == result.source_root else f", of {result.source_root}")
    )
    output.line(f"  {proof(result.proved, result.signer)['proof']}")
    not_covered(output, result.not_covered)
    no_such_keys(output, result.missing_keys)
    output.hint(f"check:  wdstools verify {quote(result.path)}")
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def signed(output: Output, result: SignResult, dataset: str, key: str) -> None:
    """Who signed what, and how others check it."""
    named = f"{result.name}, version {result.version}, " if result.name else ""
    output.line(f"signed: {named}root {result.root}")
    output.line(f"  by the key {result.signer}")
    output.line(f"  in {result.path}")
    asked = "--public-key public.pem"
    if result.signer.startswith("of "):
        asked = "--authorities CA.pem"
    else:
        output.hint(f"public: openssl pkey -in {quote(key)} -pubout -out public.pem    writes the key that others need")
    output.hint(f"check:  wdstools verify {quote(display(dataset))} {asked}")
    output.summary(result, exit_code=0, ok=True)
