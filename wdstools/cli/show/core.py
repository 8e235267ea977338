"""Results as text and as JSON lines. Functions return the exit code where there is more than one."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, get_args

from wdstools.address import is_address
from wdstools.cli.output import one_line, printable
from wdstools.options.pack import ImageType
from wdstools.results import proof
from wdstools.units import counted, size
from wdstools.user_cache import SHARED_BY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from wdstools.cli.lines import InfoSummary, ScanSummary, VerifySummary
    from wdstools.cli.output import Output
    from wdstools.dataset import Dataset
    from wdstools.ops.pack import PackResult
    from wdstools.ops.pack_plan import PackPreview
    from wdstools.ops.scan import Inventory
    from wdstools.results import Report, Skip

_SKIP_HINTS = {
    "caption-not-utf8": "`iconv -f CP1252 -t UTF-8 FILE` converts a text from Windows to UTF-8; use `-f UTF-16` if Windows calls it Unicode",
    **{
        f"image-not-{kind}": f"--convert {kind} goes by the content of images, not by their names"
        for kind in get_args(ImageType)
    },
    "caption-missing": "--captions optional also packs images without a caption file",
    "image-needs-convert": "--convert jpg re-encodes images of types that do not go into shards as they are",
    "label-missing": "--drop-members cls also packs samples without a label, and leaves the labels out of all samples",
    "link-outside": "--follow-links packs what links lead to",
    "member-left-out": "--members NAME,... keeps a member that few samples have, and skips the samples without it",
    "removed-before": "--removed take takes back samples that an earlier version removed",
    "outside-layout": "--ignore PATTERN marks files outside the layout as known; --image and --caption describe another layout",
}
#: Remarks about samples that were packed, by code.
_REMARKS = {
    "caption-control": "with a byte order mark or NUL in the caption; kept byte for byte",
    "image-frames": "with more frames or pages after the first, which are left out",
    "image-stray-bytes": "with bytes between their parts, which decoders skip; kept (jpegtran -copy all removes them)",
    "image-trailing-bytes": "with bytes after the end, which some phones write; kept (--trailing cut removes them)",
}


def inventory(output: Output, found: Inventory) -> None:
    """What a scan found."""
    output.line(
        f"{found.source}: {counted(found.total, 'sample')}, recipe {found.recipe}"
        + (f", {found.layout}" if found.layout else "")
    )
    for split, labels in found.samples.items():
        count = sum(labels.values())
        named = ", ".join(f"{label} {n:,}" for label, n in labels.items() if label)
        output.line(f"  {split or '(no split)'}: {count:,}" + (f"  ({named})" if named else ""))
    images = f"images: {_counts(found.image_types)}" if found.image_types else "no images"
    output.line(f"  {images}; members: {', '.join(found.members)}")
    for note in found.notes:
        output.line(printable(f"  {note}"))
    source_account(output, found.account, found.outside)
    output.few(f"  differs: {text}" for text in found.differences)
    would_be_skipped(output, found.skipped, found.skips)
    output.hint("only names were checked: pack also checks the content of each image and caption")
    for skip in found.skips if output.json else ():
        output.record("skip", skip)
    if found.losses:
        skip_hints(output, found.skipped)
    types = [kind for kind in found.image_types if kind in get_args(ImageType)]
    if len(types) > 1:
        most = max(types, key=lambda kind: found.image_types[kind])
        output.hint(
            f"hint: images are of several types: pack with --convert {most} (re-encodes the others) or --only {most} (leaves them out)"
        )
    summary: ScanSummary = {
        "source": found.source,
        "recipe": found.recipe,
        "layout": found.layout,
        "samples": found.samples,
        "total": found.total,
        "image_types": found.image_types,
        "members": found.members,
        "skipped": found.skipped,
        "losses": found.losses,
        "unmatched": found.unmatched,
        "differences": found.differences,
        "account": found.account,
        "notes": found.notes,
    }
    output.summary(summary, exit_code=0, ok=True)


def packed(output: Output, result: PackResult, *, fail_on_leak: bool) -> int:
    """What a pack wrote; the exit code."""
    leaked = any(result.leaks.values())
    code = 1 if fail_on_leak and leaked else 3 if result.losses else 0
    total = sum(result.samples.values())
    output.line(
        f"packed {counted(total, 'sample')} into {counted(result.shards, 'shard')}, {size(result.bytes)}: {result.path}"
    )
    output.note("  " + ", ".join(f"{split} {count:,}" for split, count in sorted(result.samples.items())))
    if result.kept_shards:
        output.note(f"  {counted(result.kept_shards, 'finished shard')} from an interrupted run checked and kept")
    if result.remade_shards:
        output.note(
            f"  {counted(result.remade_shards, 'finished shard')} made again from the source: nothing shows that an earlier run of yours wrote them"
        )
        output.hint(
            f"hint: hosts without a shared home folder trust each other if {SHARED_BY} is the same secret text on all of them"
        )
    for note in result.notes:
        output.note(printable(f"  {note}"))
    for remark, count in result.remarks.items():
        output.note(f"  {remark}: {counted(count, 'image')} {_REMARKS[remark]}")
    output.line(f"  root digest {result.root}")
    if result.skipped:
        output.line(f"  skipped: {_counts(result.skipped)}; each is listed in {result.path}/.wdstools/skipped.jsonl")
        if result.losses:
            skip_hints(output, result.skipped)
    if not output.quiet:
        source_account(output, result.account, result.outside)
    if leaked or (result.leaks and not output.quiet):
        matrix = ", ".join(f"{pair.replace('/', ' and ')} {count:,}" for pair, count in result.leaks.items())
        same = "identical images" if result.level == "exact" else f"duplicate images, level {result.level},"
        output.line(f"  {same} in two splits: {matrix}")
    output.note(f"  surplus copies of identical images: {result.duplicates:,}")
    split = max(result.samples, key=lambda name: result.samples[name])
    by_hand = "" if is_address(result.path) else f"   (or: cd {quote(result.path)} && sha256sum -c SHA256SUMS)"
    output.hint(f"check:  wdstools verify {quote(result.path)}{by_hand}")
    output.hint(
        f"read:   wdstools.open_dataset({result.path!r})[{split!r}], or any WebDataset reader on {result.path}/{split}/*.tar"
    )
    output.summary(result, exit_code=code, ok=code == 0)
    return code


def pack_plan(output: Output, found: PackPreview) -> int:
    """What a pack would write; the exit code, as far as names show."""
    code = 3 if found.losses else 0
    total, shards = sum(found.samples.values()), sum(found.shards.values())
    output.line(
        f"would pack {counted(total, 'sample')} of {found.source} into {counted(shards, 'shard')}, about {size(found.bytes)};"
        f" members: {', '.join(found.members)}"
    )
    for split, count in sorted(found.samples.items()):
        output.line(f"  {split}: {counted(count, 'sample')} in {counted(found.shards[split], 'shard')}")
    for note in found.notes:
        output.line(printable(f"  {note}"))
    source_account(output, found.account, found.outside)
    would_be_skipped(output, found.skipped, found.skips)
    output.hint("nothing was written; only names were checked: pack also checks the content of each image and caption")
    for skip in found.skips if output.json else ():
        output.record("skip", skip)
    output.summary(replace(found, skips=()), exit_code=code, ok=code == 0)
    return code


_CLASSES = {
    "packed": "packed",
    "samples": "of samples",
    "read": "read as tables or lists",
    "skipped": "skipped",
    "outside": "outside the layout",
    "ignored": "ignored",
    "hidden": "hidden",
}


def source_account(
    output: Output, account: Mapping[str, int], outside: Sequence[tuple[str, str, int, tuple[str, ...]]]
) -> None:
    """What happens to the files of the source, and which are outside the layout."""
    if account:
        classes = ", ".join(f"{account[name]:,} {what}" for name, what in _CLASSES.items() if account.get(name))
        output.line(f"  files in the source: {account['files']:,}: {classes}")
    output.few(
        printable(
            f"  outside the layout: {count:,} {f'.{extension}' if extension else 'without extension'} in {folder or 'the top folder'}"
            f" ({', '.join(names)}{', ...' if count > len(names) else ''})"
        )
        for folder, extension, count, names in outside
    )


def report(output: Output, checked: Report, repair: str | None) -> int:
    """What a check found, and the command to run next (``repair``), if any; the exit code."""
    code = 1 if checked.findings else 4 if checked.unproved else 0
    counts = {what: count for what, count in checked.checked.items() if what != "not_asked"}
    looked_at = ", ".join(_amount(what, count) for what, count in counts.items())
    for finding in checked.findings if output.json else ():
        output.record("finding", finding)
    if code == 0:
        so_far = " so far" if checked.checked.get("waiting") else ""
        output.line(
            f"ok{so_far}: {looked_at}, level {checked.level}" + (f", root {checked.root}" if checked.root else "")
        )
        if "not_asked" in checked.checked:
            output.line(f"  {_of_all(checked)}")
    elif checked.findings:
        output.few(str(finding) for finding in checked.findings)
        output.line(f"damaged: {counted(len(checked.findings), 'finding')} in {looked_at}, level {checked.level}")
        if repair is not None:
            output.hint(f"hint: {repair}")
    if code == 0:
        output.line(f"  {proof(checked.proved, checked.signer)['proof']}")
        not_covered(output, checked.not_covered)
    _not_read(output, checked)
    if checked.unproved and not checked.findings and repair is not None:
        output.hint(f"hint: {repair}")
    output.summary(_verified(checked), exit_code=code, ok=code == 0)
    return code


def _verified(checked: Report) -> VerifySummary:
    """What was checked, for programs."""
    proved = proof(checked.proved, checked.signer)
    summary: VerifySummary = {
        "level": checked.level,
        "checked": checked.checked,
        "findings": len(checked.findings),
        "unproved": checked.unproved,
        "root": checked.root,
        "proved": proved["proved"],
        "authenticated": proved["authenticated"],
        "proof": proved["proof"],
    }
    if checked.signer:
        summary["signer"] = checked.signer
    if checked.not_covered:
        summary["not_covered"] = checked.not_covered
    if checked.believed is not None:
        summary["believed"] = checked.believed
    if checked.left:
        summary["left"] = checked.left
    return summary


def not_covered(output: Output, what: Sequence[str]) -> None:
    """What the root digest does not prove, though it is here."""
    if what:
        output.line(f"  not covered by the root digest: {', '.join(map(one_line, what))}")


def _not_read(output: Output, checked: Report) -> None:
    """What was trusted without being read, and what could not be proved."""
    if checked.believed is not None:
        shards = counted(checked.checked["passed_over"], "shard")
        output.line(f"  not read now, trusted because of earlier checks: {shards} ({one_line(checked.believed)})")
    for text in checked.unproved:
        output.line(f"not proved: {text}")
    output.few(f"  left over, not part of the dataset: {one_line(text)}" for text in checked.left)


def _of_all(checked: Report) -> str:
    """How much of the dataset a partial check covered."""
    here, others = checked.checked["shards"], checked.checked["not_asked"]
    verb = "is" if here == 1 else "are"
    whole = f"{verb} here" if checked.level == "size" else f"{verb} here and whole"
    return f"{here:,} of {counted(here + others, 'shard')} {whole}; {others:,} {'was' if others == 1 else 'were'} not asked for"


def info(output: Output, dataset: Dataset) -> None:
    """What a dataset is."""
    manifest = dataset.manifest
    totals = manifest.totals
    output.line(
        f"{one_line(dataset.name)}, version {manifest.version}: {counted(totals['samples'], 'sample')} in {counted(totals['shards'], 'shard')}, {size(totals['bytes'])}"
    )
    for split, shards in manifest.splits.items():
        output.line(
            f"  {split}: {counted(sum(s.samples for s in shards), 'sample')}, {counted(len(shards), 'shard')}, {size(sum(s.bytes for s in shards))}"
        )
    output.line(f"  members: {', '.join(manifest.members)}")
    if manifest.labels:
        output.line("  labels: " + ", ".join(f"{number} {label}" for number, label in enumerate(manifest.labels)))
    if manifest.profile != "canonical":
        output.line(f"  adopted: tars made by another tool, at {one_line(dataset.shards.url)}")
    output.line(f"  root digest {dataset.root}")
    summary: InfoSummary = {
        "profile": manifest.profile,
        "name": manifest.name,
        "version": manifest.version,
        "totals": totals,
        "members": manifest.members,
        "labels": manifest.labels,
        "root": dataset.root,
        "splits": {split: sum(s.samples for s in shards) for split, shards in manifest.splits.items()},
    }
    output.summary(summary, exit_code=0, ok=True)


def _amount(what: str, count: int) -> str:
    """A count of a check, given the plural of what it counts."""
    if what == "bytes":
        return size(count)
    name = what.replace("_", " ")
    return counted(count, name.removesuffix("s"), name)


def skip_hints(output: Output, skipped: Iterable[str]) -> None:
    """Hints against the reasons for skips, for those where one option helps."""
    for reason in sorted(set(skipped) & set(_SKIP_HINTS)):
        output.hint(f"hint: {_SKIP_HINTS[reason]}")


def would_be_skipped(output: Output, skipped: Mapping[str, int], skips: Iterable[Skip]) -> None:
    """What a pack would skip, by reason, and the first few by name."""
    if not skipped:
        return
    output.line(f"  would be skipped: {_counts(skipped)}")
    output.few(
        printable(f"    {skip.reason}: {skip.path}" + (f" ({skip.detail})" if skip.detail else ""))
        for skip in skips
        if skip.reason != "outside-layout"
    )


def _counts(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counted.items())
