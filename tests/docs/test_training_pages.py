"""What the pages about training show runs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.running import BLOCKS
from tests.support.command import HANG_SECONDS, environment
from tests.support.streams import packed

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "training").glob("*.md"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    packed(folder, train=40, val=6, side=100)
    return folder


def _blocks(page: Path) -> list[str]:
    found = BLOCKS.blocks(page.read_text("utf-8"))
    return [block.text for block in found if block.language == "python" and not block.not_run]


@pytest.mark.parametrize("page", [page.stem for page in PAGES if _blocks(page)])
def test_the_python_of_a_page_runs(place: Path, page: str) -> None:
    code = "\n".join(_blocks(ROOT / "docs/training" / f"{page}.md"))
    if "import torch" in code and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    assert done.returncode == 0, done.stderr
