"""Manifests of very many shards: read as far as memory goes, and refused before they are read where they cannot be."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from wdstools.errors import FormatError
from wdstools.formats.manifest import MANIFEST_PATH, Manifest, ShardEntry, dumps, loads, shard_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("size", "code"), [(270 << 20, "manifest-damaged"), ((1 << 30) + 1, "file-too-large")], ids=["read", "refused"]
)
def test_a_manifest_may_be_larger_than_other_small_files(tmp_path: Path, size: int, code: str) -> None:
    path = tmp_path / MANIFEST_PATH
    path.parent.mkdir()
    path.touch()
    os.truncate(path, size)
    with pytest.raises(FormatError) as caught:
        wt.open_dataset(tmp_path)
    assert caught.value.code == code


_OPEN = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
import wdstools as wt
print(len(wt.open_dataset(sys.argv[1]).manifest.shards))
"""


@pytest.mark.slow
def test_a_manifest_of_half_a_million_shards_is_opened_by_a_process_that_may_compute_for_20_seconds(
    tmp_path: Path,
) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    shards = tuple(
        ShardEntry(
            shard_path("train", n), 10**6, 2000, digest, f"{n:032x}", "0" * 8, f"{n:016x}", digest, values=digest
        )
        for n in range(500_000)
    )
    path = tmp_path / MANIFEST_PATH
    path.parent.mkdir()
    path.write_bytes(dumps(Manifest("large", 1, (), ("jpg",), 0, {"train": shards})))
    del shards
    done = subprocess.run([sys.executable, "-c", _OPEN, tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "500000")


@pytest.mark.slow
def test_a_manifest_of_800_000_shards_is_opened(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"").hexdigest()
    shards = tuple(
        ShardEntry(shard_path("train", n), 10**6 + n, 2000, digest, f"{n:032x}", f"{n:08x}", f"{n:016x}", digest)
        for n in range(800_000)
    )
    manifest = Manifest("large", 1, (), ("jpg",), 0, {"train": shards})
    path = tmp_path / MANIFEST_PATH
    path.parent.mkdir()
    path.write_bytes(dumps(manifest))
    assert path.stat().st_size > 256 << 20 or loads(path.read_bytes()) == manifest
    opened = wt.open_dataset(tmp_path)
    assert opened.manifest == manifest
    assert len(opened["train"]) == 1_600_000_000
