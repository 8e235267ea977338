"""The site: its pages lead to one another, and it is built without asking anything of a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import wdstools
from tests.docs.pages import ROOT, anchors, links, pages
from tests.support.came import came

if TYPE_CHECKING:
    from pathlib import Path


def test_every_link_of_every_page_leads_somewhere() -> None:
    lost = [
        (page.name, path.name, anchor)
        for page in came(pages())
        for path, anchor in links(page)
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path))
    ]
    assert lost == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder / "site")]
    told = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=told)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "site"


@pytest.mark.slow
def test_every_public_name_is_on_the_pages_about_python(site: Path) -> None:
    text = "".join(path.read_text("utf-8") for path in came((site / "python").glob("*.html")))
    names = set(wdstools.__all__) - {"__version__", "image", "torch"}
    assert {name for name in names if f'id="wdstools.{name}"' not in text} == set()


@pytest.mark.slow
def test_the_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(
        r"""<(?:script|img|source|iframe)[^>]*\ssrc=["']?(https?:[^"'\s>]+)|<link[^>]*\shref=["']?(https?:[^"'\s>]+)"""
    )
    from_styles = re.compile(r"""url\(["']?(https?:[^"')]+)""")
    for page in came(site.rglob("*.html")):
        assert not fetched.findall(page.read_text("utf-8")), page.name
    for style in came(site.rglob("*.css")):
        assert not from_styles.findall(style.read_text("utf-8")), style.name
