"""What starting costs, and memory: ``wdstools --help``, ``import wdstools``, and packing by number of samples."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.measure import WDSTOOLS, Row, clocked_command, environment, race
from benchmarks.memory import MemoryPeak, peak_memory
from benchmarks.pack import PEERS, pack_command
from benchmarks.tiny_source import write_zip

if TYPE_CHECKING:
    from benchmarks.inputs import Setup

_HELP, _IMPORT, _PYTHON = "wdstools --help", "import wdstools", "python -c pass"
_MAX_MEMORY = 500e6


def measure(setup: Setup) -> list[Row]:
    """Seconds of starting, then megabytes of packing the input, and zips of tiny samples of growing number."""
    contenders = {
        _HELP: lambda: clocked_command([*WDSTOOLS, "--help"]),
        _IMPORT: _import_seconds,
        _PYTHON: lambda: clocked_command([sys.executable, "-c", "pass"]),
    }
    result = race(contenders, setup.rounds * 3, hasty=setup.tiny)
    rows = [
        _limit(_HELP, result.median(_HELP) * 1e3, "ms", 250, others=result.others),
        _limit(_IMPORT, result.median(_IMPORT) * 1e3, "ms", 50, others=result.others),
        Row("start", _PYTHON, result.median(_PYTHON) * 1e3, "ms", others=result.others),
    ]
    if sys.platform == "linux":
        rows += _measure_memory(setup)
    return rows


def _import_seconds() -> float:
    done = subprocess.run([*PEERS, "importing"], env=environment(), capture_output=True, text=True, check=True)
    return float(done.stdout)


def _measure_memory(setup: Setup) -> list[Row]:
    out = f"{setup.scratch}/memory"
    shutil.rmtree(out, ignore_errors=True)
    peak = _checked(peak_memory(pack_command(setup, out, "decode")))
    rows = [_limit(f"peak of pack -j2, {setup.samples:,} samples", peak.resident / 1e6, "MB", _MAX_MEMORY / 1e6)]
    peaks = {}
    for samples in (50, 100) if setup.tiny else (50_000, 100_000, 200_000):
        zipped = f"{setup.scratch}/tiny-{samples}.zip"
        write_zip(zipped, samples)
        shutil.rmtree(out, ignore_errors=True)
        peak = _checked(peak_memory([*WDSTOOLS, "pack", zipped, f"{out}/dataset", "-j2", "-q", "--no-progress"]))
        os.remove(zipped)
        peaks[samples] = peak.resident / 1e6
        what = f"peak of pack -j2, {samples:,} tiny samples in a zip"
        rows.append(_limit(what, peaks[samples], "MB", _MAX_MEMORY / 1e6))
    shutil.rmtree(out, ignore_errors=True)
    (few, low), *_, (many, high) = peaks.items()
    rows.append(Row("start", "memory for each further sample", (high - low) * 1e6 / (many - few), "bytes"))
    return rows


def _checked(peak: MemoryPeak) -> MemoryPeak:
    if peak.code not in (0, 3):
        raise SystemExit(peak.stderr)
    return peak


def _limit(what: str, value: float, unit: str, limit: float, *, others: float = 0.0) -> Row:
    return Row("start", what, value, unit, target=f"< {limit:g} {unit}", met=value < limit, others=others)
