"""Runs the suites of Ray and Dask in the environment that ``make engines`` makes."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.command import REPOSITORY
from tests.support.tools import missing

ENGINES = os.environ.get("WDSTOOLS_ENGINES") or os.path.join(REPOSITORY, ".venv-engines")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "dask"])
def test_the_laws_hold_on_a_cluster(engine: str) -> None:
    python = os.path.join(ENGINES, "bin", "python")
    if not os.path.exists(os.path.join(ENGINES, ".ready")):
        missing("the engines are not installed (make engines)")
    suite = os.path.join(REPOSITORY, "tests", "engines", f"{engine}_suite.py")
    # of the project's settings only those that need nothing else
    command = [python, "-m", "pytest", "-q", "--noconftest", "-c", os.devnull, "--rootdir", str(REPOSITORY), suite]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_USAGE_STATS_ENABLED": "0"}
    ran = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
