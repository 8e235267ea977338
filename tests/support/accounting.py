"""Pack a source and account for all of it: what was packed, and what was skipped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wdstools import open_source, pack
from wdstools.ops.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wdstools.dataset import Dataset
    from wdstools.reader.sample import Sample


@dataclass(frozen=True)
class Packed:
    """A dataset and its list of skips."""

    dataset: Dataset
    skips: tuple[dict[str, Any], ...]

    def samples(self, split: str | None = None) -> dict[str, Sample]:
        """Every sample by key."""
        splits = self.dataset.splits if split is None else [split]
        return {sample.key: sample for name in splits for sample in self.dataset.split(name)}

    @property
    def reasons(self) -> dict[str, str]:
        """Skipped path -> reason."""
        return {skip["path"]: skip["reason"] for skip in self.skips}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by their paths below a folder."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def pack_all(source: Path | str, dest: Path, *, layout: Mapping[str, Any] | None = None, **options: Any) -> Packed:
    """Pack in this process; the result is verified down to every sample."""
    dataset = pack(open_source(str(source), **(layout or {})), dest, **options).dataset
    verify(dataset, level="samples").raise_for_findings()
    listed = dest / ".wdstools" / "skipped.jsonl"
    lines = listed.read_text("utf-8").splitlines() if listed.exists() else []
    return Packed(dataset, tuple(map(json.loads, lines)))
