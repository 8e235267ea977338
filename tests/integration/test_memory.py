"""Memory is bounded: a million samples are packed and listed in half a gigabyte, all processes together."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks.memory import peak_memory
from benchmarks.tiny_source import write_zip

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(sys.platform != "linux", reason="memory of a family of processes is read from /proc"),
]

MOST_BYTES = 500_000_000
WDSTOOLS = (sys.executable, "-m", "wdstools")


@pytest.mark.parametrize("samples", [200_000, 1_000_000])
def test_packing_a_million_samples_needs_less_than_half_a_gigabyte(samples: int, tmp_path: Path) -> None:
    zipped, out = tmp_path / "tiny.zip", tmp_path / "packed"
    write_zip(str(zipped), samples)
    peak = peak_memory([*WDSTOOLS, "pack", str(zipped), str(out), "-j2", "-q", "--no-progress"])
    assert (peak.code, peak.stderr) == (0, "")
    manifest = json.loads((out / ".wdstools" / "manifest.json").read_text())
    assert sum(shard["samples"] for shards in manifest["splits"].values() for shard in shards) == samples
    assert peak.resident < MOST_BYTES


@pytest.mark.parametrize("samples", [1_000_000])
def test_listing_a_folder_of_a_million_pairs_needs_less_than_half_a_gigabyte(samples: int, tmp_path: Path) -> None:
    source = tmp_path / "source"
    per_folder = samples // 10
    for label in range(10):
        for kind, suffix in (("img", "jpg"), ("captions", "txt")):
            folder = source / kind / "train" / f"city{label}"
            folder.mkdir(parents=True)
            at = os.open(folder, os.O_RDONLY)
            for number in range(per_folder):
                name = f"{1_480_000_000_000_000_000 + number * 7_654_321}.{suffix}"
                os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=at))
            os.close(at)
    peak = peak_memory([*WDSTOOLS, "scan", str(source), "--json"])
    assert (peak.code, peak.stderr) == (0, "")
    summary = json.loads(peak.stdout.splitlines()[-1])
    assert summary["samples"] == {"train": {f"city{label}": per_folder for label in range(10)}}
    assert peak.resident < MOST_BYTES
