"""Other readers and writers, each in its own environment: see tests/install-consumers.sh."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.tools import missing

ENVIRONMENTS = Path(os.environ.get("WDSTOOLS_CONSUMERS", Path(__file__).parents[2] / ".venv-consumers"))


def need_consumer(name: str) -> str:
    """The Python that has a consumer; without it the test skips, or fails if the environment variable CI is set."""
    path = ENVIRONMENTS / name / "bin" / "python"
    if not path.exists():
        missing(f"{name} is not installed: sh tests/install-consumers.sh {ENVIRONMENTS} {name}")
    return str(path)
