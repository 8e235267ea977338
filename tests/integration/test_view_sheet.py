"""The page of ``view --html``: one file that needs nothing, runs nothing, and stands over no file of the user's."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import run_command
from tests.support.foreign_tars import compressed, tar_bytes, write
from wdstools.ops.view.sheet import spread
from wdstools.report.text import exact, readable

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Browser

EVIL = "</title></style></script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sheet")
    source = write_city_pairs(folder / "source")
    captions = {"evil": EVIL, "bidi": "a \u202egnp.exe", "control": "one\x00two\x1b[0m", "long": "long " * 20_000}
    for number, (name, caption) in enumerate(captions.items()):
        (source / f"img/val/oslo/{name}.jpg").write_bytes(tiny_jpeg(700_000 + number))
        (source / f"captions/val/oslo/{name}.txt").write_text(caption)
    wt.pack(str(source), str(folder / "set"), shards=2, name=EVIL)
    return folder / "set"


def test_the_page_shows_samples_and_statistics_and_runs_nothing(browser: Browser, shards: Path, tmp_path: Path) -> None:
    ran = run_command("view", shards, "--html", tmp_path / "page.html", "--samples", "100")
    assert ran.code == 0, ran.err
    text = (tmp_path / "page.html").read_text()
    assert "<script" not in text
    assert "script-src" not in text
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:|//)", text)
    assert "\x00" not in text
    assert "\x1b" not in text
    for width in (400, 1280):
        with browser.open(tmp_path / "page.html", viewport={"width": width, "height": 800}) as opened:
            assert opened.errors == []
            assert opened.asked[0].startswith("file:")
            assert [address for address in opened.asked[1:] if not address.startswith("data:")] == []
            assert opened.page.title() == EVIL
            assert opened.texts("h1") == [EVIL]
            assert opened.page.locator(".card").count() == 44
            assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert opened.page.evaluate("[...document.images].every(i => i.alt)")
            shown = "\n".join(opened.texts(".card"))
            assert EVIL in shown
            assert "one\u2400two\u241b[0m" in shown
            opened.page.locator("details summary", has_text="long long").click()
            assert len(opened.page.locator("details[open] .caption").inner_text()) > 10_000
            assert opened.page.locator("#statistics .chart").count() >= 6


def test_the_page_is_of_the_samples_that_were_asked_for(shards: Path, tmp_path: Path) -> None:
    wanted = [sample.key for sample in wt.head(str(shards), 100, where="label == 'rome' and split == 'train'")]
    run_command("view", shards, "--where", "label == 'rome' and split == 'train'", "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert re.findall(r"<code><bdi>(rome/[0-9]+)</bdi></code>", text) == wanted
    ran = run_command("view", shards, "--html", tmp_path / "page.html", "--samples", "3", "--json")
    assert ran.summary["shown"] == 3
    again = run_command("view", shards, "--html", tmp_path / "other.html", "--samples", "3")
    assert again.code == 0
    assert (tmp_path / "page.html").read_text() == (tmp_path / "other.html").read_text()


def test_a_picture_that_cannot_be_shown_is_counted_and_said(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "set")
    tar = tmp_path / "set/val/val-000000.tar"
    data = tar.read_bytes()
    tar.write_bytes(data[:700] + bytes(len(data) - 700))
    ran = run_command("view", tmp_path / "set", "--html", tmp_path / "page.html", "--samples", "100")
    lost = wt.open_dataset(shards).manifest.splits["val"][0].samples
    assert ran.code == 3, ran.err
    assert f"{lost} whose picture cannot be shown" in (tmp_path / "page.html").read_text()
    assert "no picture" in ran.out
    assert "sample-damaged" in ran.out


def test_samples_that_have_no_picture_are_no_fault(tmp_path: Path) -> None:
    members = [("a.jpg", tiny_jpeg(1)), ("b.txt", b"only text"), ("c.npy", b"\x93NUMPY")]
    write(tmp_path / "tars", {"train-000.tar.gz": compressed(tar_bytes(members), "tar.gz")})
    wt.adopt(str(tmp_path / "tars"), str(tmp_path / "set"))
    ran = run_command("view", tmp_path / "set", "--html", tmp_path / "page.html", "--json")
    assert (ran.code, ran.summary["shown"], ran.summary["without_picture"]) == (0, 3, 0)
    text = (tmp_path / "page.html").read_text()
    assert (text.count("<img"), text.count("no picture")) == (1, 2)


def test_no_file_of_the_user_is_written_over(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("<p>my own page")
    ran = run_command("view", shards, "--html", tmp_path / "mine.html")
    assert ran.code == 4
    assert "file-in-the-way" in ran.err
    assert (tmp_path / "mine.html").read_text() == "<p>my own page"
    assert run_command("view", shards, "--html", tmp_path / "none" / "page.html").code == 2
    assert run_command("view", shards, "--html", tmp_path / "page.html", "--samples", "2001").code == 2
    for idle in (("--port", "8000"), ("--open",), ("--findings", "f.jsonl")):
        ran = run_command("view", shards, "--html", tmp_path / "page.html", *idle)
        assert (ran.code, "option-idle" in ran.err, idle[0] in ran.err) == (2, True, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


@given(st.integers(0, 10**9), st.integers(0, 300))
def test_samples_are_spread_evenly(total: int, wanted: int) -> None:
    found = spread(min(total, 400) if wanted >= total else total, wanted)
    assert len(found) == min(wanted, total)
    assert np.all(np.diff(found) > 0)
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, total - 1)
        gaps = np.diff(found)
        assert gaps.max() - gaps.min() <= 2


@given(st.text())
def test_nothing_in_a_name_is_hidden(text: str) -> None:
    shown = exact(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]", shown)
    assert readable(readable(text)) == readable(text)
    assert exact(shown) == shown
