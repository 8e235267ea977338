"""Every parser of strangers' bytes is fuzzed; what a fuzzer ever found is tried again by every run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, summed
from tests.support.command import HANG_SECONDS, environment
from tests.support.tools import need_module
from tests.support.valid_files import a_shard
from wdstools.formats.tar import parse_header

CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(path.relative_to(CORPUS) for path in CORPUS.glob("*/*"))

#: A loop without end fails its own test, and leaves the others alone.
pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_are_answered(target: str) -> None:
    for seed in TARGETS[target].seeds():
        TARGETS[target].check(seed)


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_what_fuzzing_once_found_is_answered(kept: Path) -> None:
    TARGETS[kept.parts[0]].check((CORPUS / kept).read_bytes())


def test_every_kept_input_belongs_to_a_target() -> None:
    assert {kept.parts[0] for kept in KEPT} <= set(TARGETS)


def test_headers_get_their_sums_back() -> None:
    data = bytearray(a_shard())
    data[3] ^= 1
    assert parse_header(summed(bytes(data))[:512]).sealed is False


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_announced_errors_comes_out(target: str, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    need_module("atheris")
    seconds = str(pytestconfig.getoption("--fuzz-seconds"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--seconds", seconds, "--work", tmp_path],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5_000:]
    assert "Done " in done.stderr
