"""What ``duplicates --against`` found, as text, JSON lines, a list of keys and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.cli.output import one_line
from wdstools.dedup.levels import EXACT, LIMITS
from wdstools.errors import UsageError, option
from wdstools.results import proof
from wdstools.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.cli.lines import SharedSummary
    from wdstools.cli.output import Output
    from wdstools.dataset import Dataset
    from wdstools.ops.duplicates.against import SharedImage, SharedImages
    from wdstools.options.check import AgainstChoices, DuplicateChoices


def choices_of(choices: DuplicateChoices) -> AgainstChoices:
    """The choices that apply to two sets; raises UsageError for one that does not."""
    for name, usual in (("method", "phash"), ("captions", False)):
        if choices.get(name, usual) != usual:
            raise UsageError(f"{option(name)} and {option('against')} cannot be combined")
    wanted: AgainstChoices = {"level": choices.get("level") or "re-encode", "cache": choices.get("cache")}
    return wanted


def refuse_with_against(*, across_splits: bool, hashes_to: str | None) -> None:
    """Raise UsageError for options that have no effect on two sets."""
    for name, given in (("across_splits", across_splits), ("hashes_to", hashes_to)):
        if given:
            raise UsageError(f"{option(name)} and {option('against')} cannot be combined")


def roots_of(against: Sequence[str] | None, roots: Sequence[str] | None) -> Sequence[str | None]:
    """The root digest that each of the other sets must have; raises UsageError if their number differs."""
    others, given = list(against or ()), list(roots or ())
    if given and len(given) != len(others):
        raise UsageError(
            "give one root digest for each other set",
            where=option("against-root"),
            expected=str(len(others)),
            got=str(len(given)),
        )
    return given or [None] * len(others)


def anchored(one: str | Dataset, root: str | None) -> str | Dataset:
    """A set of images; if a root digest is given, it must be the dataset with that digest."""
    from wdstools.dataset import as_dataset

    return one if root is None else as_dataset(one).anchor(root)


def shared(output: Output, found: SharedImages, *, keys_to: str | None, html: str | None) -> int:
    """Counts and pairs; the exit code is 1 if the set holds an image of the others."""
    code = 1 if found.shared else 0
    for image in found.shared if output.json else ():
        output.record("shared", image)
    if not output.quiet:
        output.few(_line(image) for image in found.shared)
    output.line(
        f"{one_line(found.name)}: {len(found.keys):,} of {found.samples:,} images are also in the others, level {found.level}"
    )
    for name, count in found.others.items():
        output.line(f"  {one_line(name)}: {found.held[name]:,} of its {count:,} images are here")
    if found.level != EXACT:
        output.line(f"  {found.level}: {LIMITS[found.level]}")
        bound = f"at most {found.false_pairs_bound:.2g} among photographs; unknown for other pictures"
        output.line(f"  pairs expected by chance: {bound}")
    if found.unreadable:
        output.line(f"  {counted(len(found.unreadable), 'image')} cannot be decoded: only the bytes are compared")
    output.few(f"  cannot be decoded: {one_line(key)}: {reason}" for key, reason in found.unreadable)
    output.line(f"  {proof(found.proved)['proof']}")
    if keys_to is not None:
        output.hint(f"keys:   {keys_to}")
    if html is not None:
        output.hint(f"page:   {html}")
    if code and keys_to is not None:
        output.hint(f"hint: wdstools remove DATASET --keys {keys_to} -o NEW    removes them")
    summary: SharedSummary = {
        "name": found.name,
        "level": found.level,
        "samples": found.samples,
        "others": found.others,
        "held": found.held,
        "unreadable": found.unreadable,
        "shared": len(found.keys),
        **proof(found.proved),
    }
    output.summary(summary, exit_code=code, ok=code == 0)
    return code


def _line(image: SharedImage) -> str:
    how = image.level + ("" if image.level == EXACT else f", {image.phash} and {image.phash16} bits")
    how += ", mirrored" if image.flipped else ""
    return f"{one_line(image.key)} is {one_line(image.other_key)} of {one_line(image.other)} ({how})"


def write_files(found: SharedImages, sets: Sequence[str | Dataset], *, keys_to: str | None, html: str | None) -> None:
    """The list of keys, and the page."""
    from wdstools.landing.answer import write_answer, write_page
    from wdstools.ops.duplicates.pairs import pair_pictures
    from wdstools.planning.prints import opened
    from wdstools.report.shared import render_shared

    if keys_to is not None:
        write_answer(keys_to, "".join(f"{key}\n" for key in found.keys).encode(), "keys")
    if html is not None:
        mine, *others = ((opened(one) or one) if isinstance(one, str) else one for one in sets)
        pairs = pair_pictures(found, mine, dict(zip(found.others, others, strict=True)))
        write_page(html, render_shared(found, pairs))
