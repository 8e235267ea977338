"""Every block of code in the documentation is run, or says why it is not; what it shows is what commands print."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.pages import ROOT, pages
from tests.docs.running import BLOCKS, maker
from tests.support.came import came

if TYPE_CHECKING:
    from pathlib import Path

OUTPUTS = maker("make_outputs")
#: Pages whose blocks are run by another test (test_training_pages), or are a recipe for developers of make's targets.
_TRAINING = ROOT / "docs" / "training"
_QUICK = {"README.md"}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _runs(page: Path) -> bool:
    found = [block for block in BLOCKS.blocks(page.read_text("utf-8")) if block.language in BLOCKS.RUN]
    return page.parent != _TRAINING and any(not block.not_run for block in found)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=_name(page), marks=[] if _name(page) in _QUICK else [pytest.mark.slow])
        for page in pages()
        if _runs(page)
    ],
)
def test_the_blocks_of_a_page_run_and_print_what_it_shows(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    text = page.read_text("utf-8")
    (tmp_path / "place").mkdir()
    with OUTPUTS.shell_for(text, tmp_path / "place", lambda: request.getfixturevalue("swift")) as shell:
        assert BLOCKS.with_outputs(text, shell.output_of, prepare=shell.prepare) == text, "run: make docs-outputs"


def _blocks() -> list[tuple[str, Any]]:
    return [(_name(page), block) for page in pages() for block in BLOCKS.blocks(page.read_text("utf-8"))]


def test_every_block_is_of_a_language_that_is_run_or_only_read() -> None:
    known = {*BLOCKS.RUN, "", "text", "toml", "json"}
    assert [(name, block.line) for name, block in came(_blocks()) if block.language not in known] == []


def test_every_block_of_data_can_be_read() -> None:
    data = [block for _, block in _blocks() if block.language in {"toml", "json"}]
    for block in came(data):
        assert (tomllib if block.language == "toml" else json).loads(block.text)


def test_the_table_of_what_is_proved_is_the_formats() -> None:
    found = [page for page in pages() if "<!-- proof: begin -->" in page.read_text("utf-8")]
    for page in came(found):
        assert OUTPUTS.with_proof(page.read_text("utf-8")) == page.read_text("utf-8"), "run: make docs-outputs"
