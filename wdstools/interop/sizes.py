"""open_clip's ``sizes.json`` and timm's ``_info.json``: the number of samples of each shard."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdstools.formats.manifest import Manifest


def open_clip_files(manifest: Manifest) -> dict[str, bytes]:
    """``sizes.json`` in each folder of shards: open_clip looks for sizes by base name next to the first shard."""
    folders: dict[str, dict[str, int]] = defaultdict(dict)
    for _, entry in manifest.shards:
        folder, slash, name = entry.path.rpartition("/")
        folders[folder + slash][name] = entry.samples
    return {f"{folder}sizes.json": _json(sizes) for folder, sizes in folders.items()}


def timm_files(manifest: Manifest) -> dict[str, bytes]:
    """``_info.json`` at the root: timm's name, number of samples, file names and shard lengths of each split."""
    splits = {
        split: {
            "name": split,
            "num_samples": sum(entry.samples for entry in entries),
            "filenames": [entry.path for entry in entries],
            "shard_lengths": [entry.samples for entry in entries],
            "alt_label": "",
        }
        for split, entries in manifest.splits.items()
    }
    return {"_info.json": _json({"splits": splits})}


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()
