"""Packing like another manifest: what did not change keeps its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.city_pairs import write_city_pairs
from wdstools import FolderSource, UsageError, open_dataset, pack, verify

if TYPE_CHECKING:
    from pathlib import Path


def test_one_more_sample_changes_one_shard(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_city_pairs(source)
    first = pack(str(source), str(tmp_path / "first"), shards=3).dataset
    image = next((source / "img" / "train").rglob("*.jpg"))
    caption = source / "captions" / image.relative_to(source / "img").with_suffix(".txt")
    image.with_name("99999.jpg").write_bytes(image.read_bytes())
    caption.with_name("99999.txt").write_bytes(b"one more")
    second = pack(str(source), str(tmp_path / "second"), like=tmp_path / "first").dataset
    before = {shard.path: shard.sha256 for _, shard in first.manifest.shards}
    after = {shard.path: shard.sha256 for _, shard in second.manifest.shards}
    assert before.keys() == after.keys()
    changed = [path for path in before if before[path] != after[path]]
    assert len(changed) == 1
    assert changed[0].startswith("train/")
    assert verify(second).ok


def test_another_kind_of_manifest_is_refused(tmp_path: Path) -> None:
    write_city_pairs(tmp_path / "source")
    pack(str(tmp_path / "source"), str(tmp_path / "first"))
    source = FolderSource(str(tmp_path / "source"), captions="none")
    with pytest.raises(UsageError, match="does not fit this source"):
        pack(source, str(tmp_path / "second"), like=str(tmp_path / "first"))
    assert not (tmp_path / "second").exists()
    assert open_dataset(str(tmp_path / "first")).manifest.members == ("jpg", "txt", "cls")
