"""The dataset card, README.md: what Hugging Face needs to find the shards, and what a person needs to check them.

wdstools owns two parts of a card and nothing else: the ``configs:`` entry of the YAML front matter, and the block
between its two marks. Both are pure functions of the manifest, so damage to them is found by rendering them again.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdstools.formats.manifest import Manifest

#: Where the card lies in a dataset.
CARD_PATH = "README.md"
BEGIN_MARK = "<!-- wdstools:begin (written by wdstools; edits between the marks are lost) -->"
END_MARK = "<!-- wdstools:end -->"
_HUGGING_FACE_SPLITS = {"val": "validation", "valid": "validation"}


def render_card(manifest: Manifest) -> str:
    """A new card for a dataset."""
    title = manifest.name or "Dataset"
    return f"---\n{render_configs(manifest)}---\n\n# {title}\n\n{render_block(manifest)}"


def render_configs(manifest: Manifest) -> str:
    """The YAML that tells Hugging Face which files are which split, so that no other file confuses it."""
    lines = ["configs:", "- config_name: default", "  data_files:"]
    names = _hugging_face_names(manifest)
    for split in _reading_order(manifest):
        # JSON strings are YAML strings
        lines += [f"  - split: {json.dumps(names[split])}", f"    path: {json.dumps(split + '/*.tar')}"]
    return "\n".join(lines) + "\n"


def render_block(manifest: Manifest) -> str:
    """The block between the marks: totals, root digest, how to check, the shards' layout."""
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
        named = ", ".join(f"{number} {label}" for number, label in enumerate(manifest.labels))
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
    """Which of the parts that wdstools owns are not as the manifest gives them; empty when the card is whole."""
    differences = []
    front_matter = text.split("\n---\n", 1)[0] if text.startswith("---\n") else ""
    if render_configs(manifest) not in front_matter.removeprefix("---\n") + "\n":
        differences.append("YAML key 'configs'")
    if render_block(manifest) not in text + "\n":
        differences.append("block between the wdstools marks")
    return differences


def _hugging_face_names(manifest: Manifest) -> dict[str, str]:
    """What each split is called there: dashes are not allowed, and no two may be called the same."""
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
