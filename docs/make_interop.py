"""Writes docs/interop.md's table from ``wdstools doctor --json``: ``python docs/make_interop.py ENVIRONMENTS``.

The dataset is the demo's, emitted for all at once; ENVIRONMENTS is what tests/install-consumers.sh filled.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from wdstools.foreign.hazards import HAZARD_KINDS

TARGET = Path(__file__).with_name("interop.md")
BEGIN, END = "<!-- {}: begin -->\n", "<!-- {}: end -->\n"
NEEDS = {
    "webdataset": ("nothing", ""),
    "huggingface": ("`configs:` in the card; features and sizes", "`README.md`"),
    "open_clip": ("`txt`; the number of samples in each shard, next to the shards", "`SPLIT/sizes.json`"),
    "timm": ("`cls`; splits, shards and their lengths at the root", "`_info.json`"),
    "energon": ("the position of each sample, next to the shards; `.nv-meta`", "`SHARD.tar.idx`, `.nv-meta/`"),
    "dali": ("the position of each payload; anywhere", "`.wdstools/dali/*.idx`"),
    "webshart": ("the position of each image, with size and caption; anywhere", "`.wdstools/webshart/SPLIT/*.json`"),
    "croissant": ("JSON-LD with each shard's SHA-256", "`croissant.json`"),
    "tar": ("nothing", ""),
    "bsdtar": ("nothing", ""),
    "duckdb": ("Parquet", ""),
    "polars": ("Parquet", ""),
}


def readers_table(diagnoses: list[dict[str, Any]], root: str) -> str:
    """One line per reader."""
    lines = ["| reader | needs | `emit` writes | proof | how to open it |", "|---|---|---|---|---|"]
    for found in diagnoses:
        needs, emits = NEEDS[found["consumer"]]
        proof = f"{found['status']}: {found['samples']:,} samples, {found['equal']} compared"
        how = found["how"].replace(root, "shards").replace("|", "\\|")
        lines.append(f"| {found['consumer']} {found['version']} | {needs} | {emits} | {proof} | `{how}` |")
    return "\n".join(lines) + "\n"


def hazards_table() -> str:
    """One line per code."""
    lines = ["| code | what | hits |", "|---|---|---|"]
    lines += [f"| `{code}` | {kind.message} | {', '.join(kind.hits)} |" for code, kind in HAZARD_KINDS.items()]
    return "\n".join(lines) + "\n"


def replaced(text: str, name: str, table: str) -> str:
    """The text with the part between two marks replaced."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = text.partition(begin)
    return before + begin + table + end + rest.partition(end)[2]


def main(environments: str) -> None:
    """Make the demo, emit, ask, write."""
    with tempfile.TemporaryDirectory() as folder:
        run = [sys.executable, "-m", "wdstools"]
        root = f"{folder}/demo/shards"
        subprocess.run(
            [*run, "demo", f"{folder}/demo", "--samples", "2000", "-q"], check=True, stdout=subprocess.DEVNULL
        )
        subprocess.run([*run, "emit", root, "--for", "all", "-y", "-q"], check=True, stdout=subprocess.DEVNULL)
        asked = subprocess.run(
            [*run, "doctor", root, "--envs", environments, "--json"], check=False, capture_output=True
        )
        lines = [json.loads(line) for line in asked.stdout.splitlines()]
    found = [line for line in lines if line["type"] == "diagnosis"]
    not_proved = [
        f"{line['consumer']}: {line['status']} {line['detail']}" for line in found if line["status"] != "works"
    ]
    if not_proved or len(found) != len(NEEDS):
        raise SystemExit(
            "\n".join(["docs/interop.md is left as it is: not every reader opened the dataset", *not_proved])
        )
    readers = readers_table(found, root)
    text = replaced(replaced(TARGET.read_text(), "readers", readers), "hazards", hazards_table())
    TARGET.write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
