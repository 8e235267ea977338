"""The page of duplicates in a real browser: it shows, filters, sorts, and runs nothing that captions say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.alike_pairs import write_alike_pairs
from tests.support.command import run_command
from wdstools.dedup.results import DuplicateGroup, DuplicateGroups, DuplicateMember, LevelCounts, Thumbnail
from wdstools.ops.duplicates.contact_sheet import thumbnails
from wdstools.report.duplicates import MOST_GROUPS, render_duplicates

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.browser import Browser

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    source = write_alike_pairs(folder / "source")
    (source / "captions/train/oslo/920.txt").write_text(EVIL)
    wt.pack(str(source), str(folder / "set"), name=EVIL)
    ran = run_command("duplicates", folder / "set", "--level", "edited", "--captions", "--html", folder / "page.html")
    assert ran.code == 1, ran.err
    return folder / "page.html"


def test_a_person_reads_filters_and_sorts_the_groups(browser: Browser, page: Path) -> None:
    with browser.open(page) as opened:
        assert opened.errors == []
        assert opened.asked == [address for address in opened.asked if address.startswith(("file:", "data:"))]
        assert len(opened.texts(".group")) == 3
        assert opened.texts("#leaks [data-level=edited] tr:nth-child(2) td") == ["·", "3", "1"]
        assert "mirrored" in "".join(opened.texts(".member"))
        shown = opened.page.evaluate("[...document.images].filter(i => i.complete && i.naturalWidth === 120).length")
        assert shown == 7
        opened.page.fill("#search", "ROME/901")
        assert len(opened.texts(".group")) == 1
        assert opened.texts("#count") == ["1 of 3 groups"]
        opened.page.fill("#search", "")
        opened.page.check("#edits")
        assert len(opened.texts(".group")) == 2
        opened.page.uncheck("#edits")
        opened.page.check("#labels")
        assert len(opened.texts(".group")) == 2
        opened.page.uncheck("#labels")
        opened.page.select_option("#sort", "key")
        assert opened.texts(".group code")[0] == "oslo/900"
        opened.page.select_option("#sort", "far")
        assert opened.texts(".group code")[0] == "oslo/911"


def test_names_and_captions_are_text_whatever_they_say(browser: Browser, page: Path) -> None:
    with browser.open(page) as opened:
        opened.page.fill("#search", "owned")
        assert len(opened.texts(".group")) == 1
        assert EVIL in opened.texts(".member p")
        assert opened.texts("h1") == [EVIL]
        assert opened.page.title() == EVIL


@pytest.mark.parametrize("count", [3, 3_200])
def test_it_looks_right_with_few_groups_and_with_thousands(browser: Browser, tmp_path: Path, count: int) -> None:
    groups = tuple(
        DuplicateGroup(
            f"a/{n}", tuple(DuplicateMember(f"{'ab'[i]}/{n}", ("train", "test")[i], "x.tar", n) for i in range(2))
        )
        for n in range(count)
    )
    levels = (LevelCounts("exact", count, count, 2, {"test": {"train": count}, "train": {"test": count}}),)
    found = DuplicateGroups("exact", "phash", 2 * count, groups, levels, count)
    path = tmp_path / "page.html"
    path.write_text(render_duplicates("many", "0" * 64, found, {"a/0": Thumbnail("", "x")}), encoding="utf-8")
    listed = min(count, MOST_GROUPS)
    with browser.open(path, viewport={"width": 380, "height": 700}) as opened:
        assert opened.errors == []
        assert len(opened.texts(".group")) <= 120
        assert opened.texts("#count") == [f"{listed:,} of {listed:,} groups"]
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        before = len(opened.texts(".group"))
        if count > 3:
            assert "lists 3,000 of 3,200 groups" in opened.page.inner_text("main")
            opened.page.locator("#more").scroll_into_view_if_needed()
            opened.page.locator(".group").nth(before).wait_for()
            assert len(opened.texts(".group")) < count
    with browser.open(path, viewport={"width": 1200, "height": 800}) as opened:
        tops = opened.page.evaluate("[...document.querySelectorAll('.group')].map(g => g.getBoundingClientRect().top)")
        assert tops[0] == tops[1]  # pairs stand side by side where there is room


def test_where_not_all_can_be_shown_the_least_certain_groups_are_shown_too(browser: Browser, tmp_path: Path) -> None:
    """Groups come largest first; a doubtful pair at their end is what a person must see."""

    def group(number: int, size: int, bits: int) -> DuplicateGroup:
        members = (
            DuplicateMember(f"{number:05}/{n}", "train", "x.tar", n, phash16=bits if n else 0) for n in range(size)
        )
        return DuplicateGroup(f"{number:05}/0", tuple(members))

    groups = (*(group(number, 3, 0) for number in range(MOST_GROUPS + 100)), group(90_000, 2, 58))
    found = DuplicateGroups("edited", "phash", 10_000, groups, (LevelCounts("exact", 1, 1, 3, {}),), 1)
    assert [one.representative for one in found.to_look_at()][:3] == ["00000/0", "90000/0", "00001/0"]
    assert sorted(one.representative for one in found.to_look_at()) == [one.representative for one in groups]
    path = tmp_path / "page.html"
    path.write_text(render_duplicates("many", "0" * 64, found, {}), encoding="utf-8")
    with browser.open(path) as opened:
        opened.page.select_option("#sort", "far")
        assert opened.texts(".group code")[:2] == ["90000/0", "90000/1"]
        assert len(opened.texts(".group")) == 60


def test_pictures_go_to_the_largest_and_to_the_least_certain_groups(tmp_path: Path) -> None:
    packed = wt.pack(str(write_alike_pairs(tmp_path / "source")), str(tmp_path / "set")).dataset
    found = wt.find_duplicates(packed, level="edited")
    least_certain = max(found, key=lambda one: max(member.phash16 for member in one.members))
    assert least_certain is not found.groups[0]
    assert set(thumbnails(packed, found, most=5)) == {
        member.key for one in (found.groups[0], least_certain) for member in one.members
    }
