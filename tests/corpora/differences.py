"""Every decision that differs from another tool's, by kind; each kind with its reason. It writes ``docs/differences.md``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.corpora.decide import (
    GOOD,
    Decision,
    digest,
    is_image,
    is_small,
    is_tar,
    is_zip,
    of_image,
    of_list,
    of_tar,
    of_zip,
)
from tests.corpora.explained import EXPLAINED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Lists of sums that lie on a Debian machine, and where what they name is.
LISTS, LISTED = Path("/var/lib/dpkg/info"), "/"
_MOST_LISTS = 40
_LARGEST_LIST = 40_000
_EXAMPLES = 3


def decisions(corpora: Mapping[str, Path]) -> Iterator[tuple[str, Decision]]:
    """Every decision about every file, with the corpus that it is of; a file that is there twice is asked about once."""
    for corpus, folder in corpora.items():
        seen: set[bytes] = set()
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.is_symlink() or not is_small(path):
                continue
            of = of_tar if is_tar(path) else of_image if is_image(path) else of_zip if is_zip(path) else None
            if of is not None and (known := digest(path)) not in seen:
                seen.add(known)
                yield from ((corpus, found) for found in of(path))
    lists = [path for path in sorted(LISTS.glob("*.md5sums")) if path.stat().st_size < _LARGEST_LIST]
    for path in lists[:: max(1, len(lists) // _MOST_LISTS)]:
        yield from (("dpkg", found) for found in of_list(path, LISTED))


def render(found: Sequence[tuple[str, Decision]], corpora: Mapping[str, Path]) -> str:
    """The page."""
    lines = [
        "# Where wdstools decides differently",
        "",
        "See here where wdstools judges a file differently from well-known tools, and why. Test files of other projects were given to",
        "both. This page lists every decision that differs, by kind. `make differences` writes it.",
        "",
        "| corpus | tars | zips | images | checksum lines |",
        "|---|---:|---:|---:|---:|",
    ]
    counts = Counter((corpus, one.subject, one.path) for corpus, one in found)
    names = dict.fromkeys([*corpora, *(corpus for corpus, _ in found)])
    for corpus in names:
        row = [sum(c == corpus and s == subject for c, s, _ in counts) for subject in ("tar", "zip", "image", "sums")]
        lines.append(f"| {corpus} | {' | '.join(f'{count:,}' for count in row)} |")
    lines += ["", f"Decisions that agree: {sum(not one.differs for _, one in found):,} of {len(found):,}.", ""]
    for taken, title in (
        (False, "Refused or called damaged by wdstools, accepted by the tool"),
        (True, "Accepted by wdstools, refused by the tool"),
    ):
        lines += [f"## {title}", ""]
        kinds: dict[tuple[str, str, str, str], list[str]] = {}
        for corpus, one in found:
            if one.differs and (one.ours == GOOD) is taken:
                kinds.setdefault(one.kind, []).append(f"{corpus}: {one.path.rpartition('/')[2]}")
        if not kinds:
            lines += ["None.", ""]
            continue
        lines += ["| subject | tool | wdstools | files | examples | why |", "|---|---|---|---:|---|---|"]
        for kind, files in sorted(kinds.items()):
            examples = ", ".join(f"`{name}`" for name in sorted(files)[:_EXAMPLES])
            lines.append(
                f"| {kind[0]} | {kind[1]} | `{kind[2]}` | {len(files)} | {examples} | {EXPLAINED.get(kind, 'not explained')} |"
            )
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"
