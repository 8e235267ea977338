"""What ``duplicates`` found, as text, JSON lines and a page."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.cli.output import one_line
from wdstools.dedup.levels import EXACT, LIMITS
from wdstools.results import proof
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.cli.lines import DuplicatesSummary, HashesSummary
    from wdstools.cli.output import Output
    from wdstools.dataset import Dataset
    from wdstools.dedup.results import CaptionCounts, DuplicateGroup, DuplicateGroups, DuplicateMember, LevelCounts
    from wdstools.executors.base import Executor
    from wdstools.options.check import DuplicateChoices

#: What worker processes need.
WORKER_MODULES = ("wdstools.reader.hashes", "simplejpeg")
_CAPTION_CHARACTERS = 100


def expected(output: Output, dataset: Dataset, choices: DuplicateChoices) -> None:
    """Before a long search, say about how long it takes."""
    from wdstools.ops.duplicates.find import expected_work

    images = dataset.manifest.totals["samples"]
    work = expected_work(images, choices)
    if work is not None:
        output.hint(
            f"searching {counted(images, 'image')} at level {work.level} takes about {work.search:.1f} core-hours;"
            f" hashing them takes {work.hashing:.1f}, once, unless their hashes are kept"
        )


def duplicates(
    output: Output, name: str, found: DuplicateGroups, *, across_splits: bool = False, html: str | None = None
) -> int:
    """Unique shares, leak matrix, groups; the exit code is 1 if there are groups at the requested level."""
    groups = found.across_splits if across_splits else found.groups
    code = 1 if groups else 0
    for group in groups if output.json else ():
        output.record("group", group)
    if not output.quiet:
        output.few(_group_line(group) for group in groups)
    output.line(f"{one_line(name)}: {counted(found.samples, 'image')}")
    _levels(output, found)
    _leaks(output, found.levels)
    _remarks(output, found)
    if found.captions is not None:
        _captions(output, found.captions, found.samples)
    output.few(f"  cannot be decoded: {one_line(key)}: {reason}" for key, reason in found.unreadable)
    output.line(f"  {proof(found.proved)['proof']}")
    if html is not None:
        output.hint(f"page:   {html}")
    if code and found.method == "phash":
        output.hint(
            f"hint: wdstools pack DATASET NEW --duplicates drop --level {found.level}    leaves out the surplus copies"
        )
    output.summary(_summary(found, len(groups)), exit_code=code, ok=code == 0)
    return code


def _levels(output: Output, found: DuplicateGroups) -> None:
    output.line(f"  {'level':<12}{'unique':>12}{'share':>9}{'groups':>10}{'largest':>9}   pairs expected by chance")
    for level in found.levels:
        output.line(
            f"  {level.level:<12}{level.unique:>12,}{_share(level.unique, found.samples):>9}{level.groups:>10,}"
            f"{level.largest:>9,}   {_chance(level)}"
        )
    if LIMITS[found.level]:
        output.line(f"  {found.level}: {LIMITS[found.level]}")
    output.line(
        f"  {'(file size)':<12}{found.same_size_unique:>12,}{_share(found.same_size_unique, found.samples):>9}"
        "   images with a unique width, height and file size: no proof"
    )


def _leaks(output: Output, levels: Sequence[LevelCounts]) -> None:
    """One matrix per level, side by side."""
    splits = list(levels[-1].leaks)
    if len(splits) < 2:
        return
    wide = max(8, *(len(split) + 2 for split in splits))
    output.line("  leaks: images of the row's split that are also in the column's")
    titles = (f"{level.level:^{wide * len(splits)}}" for level in levels)
    output.line(("    " + " " * wide + "    ".join(titles)).rstrip())
    heads = "".join(f"{split:>{wide}}" for split in splits)
    output.line("    " + " " * wide + "    ".join(heads for _ in levels))
    for split in splits:
        rows = ([f"{level.leaks[split][other]:,}" if other != split else "." for other in splits] for level in levels)
        output.line(f"    {split:<{wide}}" + "    ".join("".join(f"{cell:>{wide}}" for cell in row) for row in rows))


def _remarks(output: Output, found: DuplicateGroups) -> None:
    counts = {
        "groups with different labels": found.other_labels,
        "groups with different captions": found.other_captions,
        "mirrored images": found.flipped,
        "nearly blank images": found.low_information,
    }
    output.line("  " + "; ".join(f"{name} {count:,}" for name, count in counts.items()))
    if found.computed:
        output.line(f"  hashes computed for {counted(found.computed, 'image')}, and kept")


def _captions(output: Output, counts: CaptionCounts, samples: int) -> None:
    output.line(
        f"  captions: {counts.distinct:,} different, {counts.repeated:,} images with a repeated one, {counts.empty:,}"
        f" empty, {counts.over_long:,} over-long, of {samples:,}"
    )
    output.few(
        f"    {counted(entry.count, 'image')}, {entry.kind}: {one_line(_cut(entry.text))} (such as {one_line(entry.keys[0])})"
        for entry in counts.top
    )


def _group_line(group: DuplicateGroup) -> str:
    return f"{len(group.members)} images: " + ", ".join(_member(member) for member in group.members)


def _member(member: DuplicateMember) -> str:
    how = [member.split]
    if member.flipped:
        how.append("mirrored")
    if member.turned:
        how.append("turned by EXIF")
    if member.phash or member.phash16:
        how.append(f"{member.phash} and {member.phash16} bits")
    return f"{one_line(member.key)} ({', '.join(how)})"


def _share(count: int, samples: int) -> str:
    return f"{100 * count / samples:.2f} %" if samples else "-"


def _chance(level: LevelCounts) -> str:
    if level.level == EXACT:
        return "none" if level.false_pairs_bound < 1e-3 else f"at most {level.false_pairs_bound:.2g}"
    return (
        f"{level.false_pairs:.2g}, at most {level.false_pairs_bound:.2g} among photographs; unknown for other pictures"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _CAPTION_CHARACTERS else text[:_CAPTION_CHARACTERS] + "..."


def _summary(found: DuplicateGroups, shown: int) -> DuplicatesSummary:
    return {
        "level": found.level,
        "method": found.method,
        "samples": found.samples,
        "unique": found.unique,
        "levels": found.levels,
        "same_size_unique": found.same_size_unique,
        "low_information": found.low_information,
        "other_labels": found.other_labels,
        "other_captions": found.other_captions,
        "flipped": found.flipped,
        "computed": found.computed,
        "unreadable": found.unreadable,
        "captions": found.captions,
        "versions": found.versions,
        "groups": shown,
        **proof(found.proved),
    }


def page(dataset: Dataset, found: DuplicateGroups, path: str) -> None:
    """Write the page."""
    from wdstools.landing.answer import write_page
    from wdstools.ops.duplicates.contact_sheet import thumbnails
    from wdstools.report.duplicates import render_duplicates

    write_page(path, render_duplicates(dataset.name, dataset.root, found, thumbnails(dataset, found)))


def is_of_images(path: str) -> bool:
    """Whether a path is a folder, zip or tar of images, not a dataset."""
    from wdstools.planning.prints import opened

    return os.path.exists(path) and opened(path) is None


def refuse_beside_hashes(choices: DuplicateChoices, *, across_splits: bool, html: str | None) -> None:
    """Raise UsageError for options that have no effect when the hashes of images outside a dataset are written."""
    from wdstools.errors import UsageError, option
    from wdstools.options import check
    from wdstools.options.declare import settle

    usual = settle(check.DuplicateChoices, {})
    given = [name for name, value in choices.items() if value != usual.get(name)]
    given += [name for name, is_given in (("across_splits", across_splits), ("html", html is not None)) if is_given]
    if given:
        raise UsageError(
            f"{option(given[0])} has no effect on images that are not a dataset",
            code="option-idle",
            where=option(given[0]),
            hint="make a dataset of them first: wdstools pack",
        )


def hand_out_images(output: Output, path: str, target: str, executor: Executor) -> int:
    """Write the hashes of images outside a dataset to one file; the exit code."""
    from wdstools.planning.prints import hand_out_images as write

    count, unread = write(path, target, executor, output.progress())
    output.line(f"{one_line(target)}: hashes of {counted(count, 'image')}")
    output.few(f"  cannot be decoded: {one_line(key)}: {reason}" for key, reason in unread)
    summary: HashesSummary = {"name": path, "hashes": target, "samples": count, "unreadable": unread}
    output.summary(summary, exit_code=0, ok=True)
    return 0


def write_files(
    dataset: Dataset, found: DuplicateGroups, choices: DuplicateChoices, *, html: str | None, hashes_to: str | None
) -> None:
    """Write the page and the hashes, if requested."""
    if html is not None:
        page(dataset, found, html)
    if hashes_to is not None:
        hand_out(dataset, hashes_to, choices)


def hand_out(dataset: Dataset, path: str, choices: DuplicateChoices) -> None:
    """Write the hashes that were just computed to one file."""
    from wdstools.errors import UsageError, option
    from wdstools.planning.prints import hand_out as write

    if choices.get("level") == EXACT or choices.get("method") == "size":
        raise UsageError(f"{option('hashes_to')} needs hashes, which {option('level', 'exact')} does not compute")
    cache = choices.get("cache")
    write(dataset, path, None if cache is None else os.fspath(cache))
