"""The dataset card, README.md: what Hugging Face needs to find the shards, and what people need to check them.

wdstools owns only two parts of a card: the ``configs:`` entry of the YAML front matter, and the block between its two
marks. Both are pure functions of the manifest, so damage to them is found by rendering them again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.formats.manifest import Manifest

#: The path of the card in a dataset.
CARD_PATH = "README.md"
BEGIN_MARK = "<!-- wdstools:begin (written by wdstools; edits between the marks are lost) -->"
END_MARK = "<!-- wdstools:end -->"
_HUGGING_FACE_SPLITS = {"val": "validation", "valid": "validation"}


def render_card(manifest: Manifest) -> str:
    """A new card for a dataset."""
    title = printable_name(manifest.name) or "Dataset"
    return f"---\n{render_configs(manifest)}---\n\n# {title}\n\n{render_block(manifest)}"


def render_configs(manifest: Manifest) -> str:
    """The YAML that tells Hugging Face which files belong to which split, so that no other file confuses it."""
    lines = ["configs:", "- config_name: default", "  data_files:"]
    names = hugging_face_names(manifest)
    for split in _reading_order(manifest):
        # JSON strings are YAML strings
        paths = (
            split + "/*.tar" if manifest.profile == "canonical" else [entry.path for entry in manifest.splits[split]]
        )
        lines += [f"  - split: {json.dumps(names[split])}", f"    path: {json.dumps(paths)}"]
    return "\n".join(lines) + "\n"


def render_block(manifest: Manifest) -> str:
    """The block between the marks: totals per split, members, labels, root digest, and how to check."""
    return _block(manifest, tuple(map(printable_name, manifest.labels)))


def printable_name(text: str) -> str:
    """A name from outside, on one line; unprintable characters, which could affect a display, as Python escapes."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _block(manifest: Manifest, labels: Sequence[str]) -> str:
    totals = manifest.totals
    rows = [
        f"| {split} | {len(manifest.splits[split])} | {sum(s.samples for s in manifest.splits[split]):,} "
        f"| {sum(s.bytes for s in manifest.splits[split]):,} |"
        for split in _reading_order(manifest)
    ]
    lines = [
        BEGIN_MARK,
        f"{totals['samples']:,} samples in {totals['shards']:,} shards, {totals['bytes']:,} bytes, version {manifest.version}.",
        "",
        "| split | shards | samples | bytes |",
        "|---|---:|---:|---:|",
        *rows,
        "",
        f"Every sample has the members {', '.join(f'`{m}`' for m in manifest.members)}.",
    ]
    if manifest.labels and "cls" in manifest.members:
        named = ", ".join(f"{number} {label}" for number, label in enumerate(labels))
        lines += ["", f"Labels (`cls`): {named}."]
    lines += [
        "",
        f"Root digest (SHA-256 of `.wdstools/manifest.json`): `{manifest.root}`",
        "",
        "Check with `sha256sum -c SHA256SUMS`, or with `wdstools verify .`, which also names the damaged samples.",
        END_MARK,
        "",
    ]
    return "\n".join(lines)


def card_differences(text: str, manifest: Manifest) -> list[str]:
    """Which of the parts that wdstools owns differ from what the manifest gives; empty for an intact card."""
    differences = []
    front_matter = text.partition("\n---\n")[0] if text.startswith("---\n") else ""
    if render_configs(manifest) not in front_matter.removeprefix("---\n") + "\n":
        differences.append("YAML key 'configs'")
    # older writers did not escape labels
    if render_block(manifest) not in text + "\n" and _block(manifest, manifest.labels) not in text + "\n":
        differences.append("block between the wdstools marks")
    return differences


def mend_card(text: str, manifest: Manifest) -> str:
    """The card with the two parts that wdstools owns rendered from the manifest; everything else stays as it is.

    Law: ``card_differences(mend_card(t, m), m) == []``.
    """
    configs, block = render_configs(manifest), render_block(manifest)
    front, body = "", text
    if text.startswith("---\n") and "\n---\n" in text[3:]:
        front, _, body = text[3:].partition("\n---\n")
        front = front.removeprefix("\n")
    if configs not in front + "\n":
        front = configs + _without_configs(front)
    if block not in body + "\n":
        body = _with_block(body, block)
    return f"---\n{front.rstrip(chr(10))}\n---\n{body}"


def _without_configs(front: str) -> str:
    """Front matter without its key ``configs`` and anything that looks like a damaged ``configs``."""
    kept: list[str] = []
    inside = False
    for line in front.splitlines():
        top = bool(line) and line[0] not in " -#\t"
        inside = (line[:8] == "configs:" or _nearly(line, "configs:")) if top else inside
        if not inside:
            kept.append(line)
    return "\n".join(kept)


def _with_block(body: str, block: str) -> str:
    """Put the block where its marks are, even if a character or two are damaged; at the end if there are none."""
    lines = body.splitlines()
    begin = next((n for n, line in enumerate(lines) if _nearly(line, BEGIN_MARK)), None)
    end = next((n for n, line in enumerate(lines) if _nearly(line, END_MARK)), None)
    if begin is None and end is None:
        return body.rstrip("\n") + "\n\n" + block
    first = begin if begin is not None else end or 0
    last = max(first, end or first)
    after = "\n".join(lines[last + 1 :])
    return "\n".join(lines[:first]) + ("\n" if first else "") + block + (after + "\n" if after else "")


def _nearly(line: str, mark: str) -> bool:
    return len(line) == len(mark) and sum(a != b for a, b in zip(line, mark, strict=True)) <= 2


def hugging_face_names(manifest: Manifest) -> dict[str, str]:
    """The name of each split on Hugging Face, where dashes are not allowed and names must be unique."""
    names: dict[str, str] = {}
    for split in sorted(manifest.splits, key=lambda split: (split in _HUGGING_FACE_SPLITS or "-" in split, split)):
        name = _HUGGING_FACE_SPLITS.get(split, split).replace("-", "_")
        while name in names.values():
            name += "_"
        names[split] = name
    return names


def _reading_order(manifest: Manifest) -> list[str]:
    rank = {"train": 0, "val": 1, "validation": 1, "valid": 1, "test": 2}
    return sorted(manifest.splits, key=lambda split: (rank.get(split, 3), split))
