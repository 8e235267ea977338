"""The page of ``view`` in a real browser, by clicks and by keys; captions and keys are as hostile as they come."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

import wdstools as wt
from tests.support.came import came
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.foreign_tars import tar_bytes, write
from tests.support.viewing import Viewing, viewing, write_index_alone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.browser import Browser, Opened

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
HOSTILE = {
    "html": EVIL,
    "bidi": "left \u202ethgir ot\u202c and עברית العربية",
    "escape": "red \x1b[31m\x07 and \x00 nothing",
    "long": "word " * 20_000,
    "tall": "Z\u0351\u0343\u036b" * 40,
}
PHONE, DESK = {"width": 400, "height": 760}, {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    source = write_city_pairs(folder / "source", train=90)
    label = "<img src=x onerror=alert(1)>"
    for number, (name, caption) in enumerate(HOSTILE.items()):
        for kind, data in (("img", tiny_jpeg(900_000 + number)), ("captions", caption.encode())):
            path = source / kind / "val" / label / f"{name}.{'jpg' if kind == 'img' else 'txt'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for name in ("one", "two"):
        (source / f"img/val/rome/{name}.jpg").write_bytes(tiny_jpeg(950_000))
        (source / f"captions/val/rome/{name}.txt").write_text("a twin")
    wt.pack(str(source), str(folder / "set"), shards=2, name=EVIL)
    keys = [info.key for info in wt.head(folder / "set", 999)]
    again = [EVIL if "oslo" in key else None for key in keys]
    vectors = pa.array([[n, 0.5, math.nan] + [0.0] * 29 for n in range(len(keys))], pa.list_(pa.float32()))
    table = pa.table({"key": keys, "score": [n / 8 for n in range(len(keys))], "again": again, "vector": vectors})
    wt.add_columns(folder / "set", table, name="added")
    return folder / "set"


@pytest.fixture(scope="module")
def page(shards: Path) -> Iterator[Viewing]:
    with viewing(shards) as served:
        yield served


def _status(opened: Opened, text: str) -> None:
    """Wait until the gallery says so."""
    opened.page.locator("#status").get_by_text(text, exact=True).wait_for()


def _until(opened: Opened, expression: str) -> None:
    """Wait until it is true; the page's policy forbids playwright's own way of waiting."""
    for _ in range(200):
        if opened.page.evaluate(expression):
            return
        opened.page.wait_for_timeout(100)
    raise AssertionError(expression)


def _nothing_left_the_machine(opened: Opened, page: Viewing) -> None:
    allowed = page.url
    assert [address for address in opened.asked if not address.startswith((allowed, "data:"))] == []
    assert len(opened.asked) > 5
    assert opened.errors == []


def test_added_columns_are_shown_and_filtered_by(browser: Browser, page: Viewing) -> None:
    with browser.open(page.url, viewport=PHONE) as opened:
        _status(opened, "107 samples")
        opened.page.click("#more")
        assert "again, score, vector" in opened.texts("#columns")[0]
        opened.page.fill("#where", "0.25 <= score < 1 and again is not None and vector is not None")
        opened.page.keyboard.press("Enter")
        _until(opened, "document.querySelectorAll('.tile a').length < 9")
        opened.page.locator(".tile a").first.click()
        opened.page.locator("table.columns").wait_for()
        again, score, vector = opened.texts("table.columns tr")
        lines = "[...document.querySelectorAll('table.columns th code')].map(name => name.getClientRects().length)"
        assert opened.page.evaluate(lines) == [1, 1, 1], "names stand on one line"
        assert EVIL in again
        assert score.split()[0] == "score"
        assert "0.5, NaN, 0" in vector
        assert "32 numbers" in vector
        assert opened.page.title() != "owned"
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        _nothing_left_the_machine(opened, page)


def test_a_person_searches_narrows_down_and_opens_a_sample(browser: Browser, page: Viewing) -> None:
    with browser.open(page.url, viewport=DESK) as opened:
        _status(opened, "107 samples")
        opened.page.locator(".frame.loaded").first.wait_for()
        opened.page.fill("#q", "caption 1000")
        _status(opened, "10 of 107 samples")
        opened.page.select_option("#label", "oslo")
        _status(opened, "5 of 107 samples")
        opened.page.select_option("#split", "train")
        _status(opened, "0 of 107 samples")
        assert opened.page.locator("#nothing").is_visible()
        opened.page.select_option("#split", "")
        _status(opened, "5 of 107 samples")
        opened.page.locator(".tile a").nth(1).click()
        opened.page.locator("#position").get_by_text("2 of 5").wait_for()
        assert opened.texts("#sample-key")[0].startswith("oslo/10000")
        opened.page.locator("#picture.loaded").wait_for()
        alt = opened.page.get_attribute("#picture", "alt") or ""
        assert alt.startswith("caption 10000")
        key = opened.texts("#sample-key")
        opened.page.click("#next")
        opened.page.locator("#position").get_by_text("3 of 5").wait_for()
        opened.page.go_back()
        opened.page.locator("#sample").wait_for(state="hidden")
        opened.page.click("#more")
        opened.page.fill("#where", "width >")
        opened.page.locator("#problem").get_by_text("a condition is not understood").wait_for()
        opened.page.fill("#where", "width >= 25")
        opened.page.locator("#problem").wait_for(state="hidden")
        opened.page.click("#clear")
        _status(opened, "107 samples")
        opened.errors = [text for text in opened.errors if "400" not in text]  # the condition that was not understood
        _nothing_left_the_machine(opened, page)
        assert key


def test_an_address_brings_filters_and_sample_back(browser: Browser, page: Viewing) -> None:
    with browser.open(page.url + "?q=caption+1000&label=rome&side_min=8#3", viewport=DESK) as opened:
        opened.page.locator("#sample[open]").wait_for()
        assert opened.page.input_value("#q") == "caption 1000"
        opened.page.keyboard.press("Escape")
        assert opened.page.input_value("#label") == "rome"
        assert opened.page.input_value("#side_min") == "8"
        _status(opened, "5 of 107 samples")
        assert opened.page.url.endswith("?q=caption+1000&label=rome&side_min=8")


def test_what_a_dataset_says_is_text(browser: Browser, page: Viewing) -> None:
    with browser.open(page.url + "?label=%3Cimg+src%3Dx+onerror%3Dalert%281%29%3E", viewport=DESK) as opened:
        _status(opened, "5 of 107 samples")
        opened.page.on("dialog", lambda dialog: opened.errors.append(dialog.message))
        assert opened.texts("#name") == [EVIL]
        opened.page.locator(".tile .caption").nth(4).wait_for()
        shown = opened.texts(".tile .caption")
        assert any(text.startswith("</script><script>") for text in came(shown))
        assert any("red \u241b[31m\u2407 and \u2400 nothing" in text for text in came(shown))
        boxes = opened.page.evaluate(
            "[...document.querySelectorAll('.tile .caption')].map(c => c.getBoundingClientRect().height)"
        )
        assert max(boxes) < 45
        for number in range(5):
            opened.page.locator(".tile a").nth(number).click()
            opened.page.locator(f"#position:text('{number + 1} of 5')").wait_for()
            opened.page.locator("#details .text").wait_for()
            text = opened.page.locator("#details .text").inner_text()
            assert len(text) < 100_001
            if "thgir" in text:
                direction = "getComputedStyle(document.querySelector('#details .text')).unicodeBidi"
                assert opened.page.evaluate(direction) == "plaintext"
            opened.page.locator("button[aria-label='Show txt']").click()
            opened.page.locator("tr.shown pre").wait_for()
            assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            opened.page.keyboard.press("Escape")
            opened.page.locator("#sample").wait_for(state="hidden")
        opened.page.click("#open-stats")
        opened.page.locator(".chart").first.wait_for()
        assert "owned" not in opened.page.title().split("'")[0]
        assert opened.page.evaluate("document.querySelectorAll('main img[src=x], dialog img[src=x]').length") == 0
        assert opened.errors == []


def test_keys_of_strangers_show_what_cannot_be_seen(browser: Browser, tmp_path: Path) -> None:
    names = ["a\u202egpj", "<svg onload=alert(1)>", "esc\x1b[2J", "quote'\"`$(id)", "\u0645\u0631\u062d\u0628\u0627"]
    members = [(f"{name}.jpg", tiny_jpeg(number)) for number, name in enumerate(names)]
    write(tmp_path / "tars", {"train-000.tar": tar_bytes(members)})
    wt.adopt(str(tmp_path / "tars"), str(tmp_path / "set"))
    with viewing(tmp_path / "set") as page, browser.open(page.url, viewport=DESK) as opened:
        _status(opened, f"{len(names)} samples")
        opened.page.locator(".tile .caption").nth(4).wait_for()
        captions = opened.texts(".tile .caption")
        assert captions == ["a<U+202E>gpj", names[1], "esc\u241b[2J", names[3], names[4]]
        for number in range(len(names)):
            opened.page.locator(".tile a").nth(number).click()
            opened.page.locator(f"#position:text('{number + 1} of 5')").wait_for()
            assert opened.page.locator(".commands code").count() == 3
            assert "\u202e" not in opened.page.inner_text("#details")
            opened.page.keyboard.press("Escape")
        assert opened.errors == []


def test_everything_can_be_done_by_keys(browser: Browser, page: Viewing) -> None:
    focused = "document.activeElement.closest('.tile')?.getAttribute('aria-posinset')"
    with browser.open(page.url, viewport=DESK) as opened:
        _status(opened, "107 samples")
        opened.page.locator(".frame.loaded").first.wait_for()
        press = opened.page.keyboard.press
        press("Tab")
        assert opened.page.evaluate("document.activeElement.id") == "skip"
        press("Enter")
        _until(opened, f"{focused} === '1'")
        outline = "getComputedStyle(document.activeElement.querySelector('.frame')).boxShadow"
        assert opened.page.evaluate(outline) != "none"
        columns = opened.page.evaluate(
            "new Set([...document.querySelectorAll('.tile')].map(t => t.getBoundingClientRect().left)).size"
        )
        press("ArrowRight")
        press("ArrowDown")
        _until(opened, f"{focused} === '{2 + columns}'")
        press("Enter")
        opened.page.locator("#position").get_by_text(f"{2 + columns} of 107").wait_for()
        press("ArrowRight")
        opened.page.locator("#position").get_by_text(f"{3 + columns} of 107").wait_for()
        press("1")
        assert opened.page.get_attribute("#actual", "aria-pressed") == "true"
        press("Escape")
        opened.page.locator("#sample").wait_for(state="hidden")
        _until(opened, f"{focused} === '{3 + columns}'")
        press("End")
        _until(opened, f"{focused} === '107'")
        press("Home")
        _until(opened, f"{focused} === '1'")
        press("?")
        assert opened.page.locator("#help").is_visible()
        press("Escape")
        press("/")
        assert opened.page.evaluate("document.activeElement.id") == "q"
        assert opened.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_by_day_and_by_night(browser: Browser, page: Viewing, scheme: Any) -> None:
    fits = "document.documentElement.scrollWidth <= innerWidth && document.querySelector('#gallery').scrollWidth <= innerWidth"
    with browser.open(page.url, viewport=PHONE, color_scheme=scheme, has_touch=True) as opened:
        _status(opened, "107 samples")
        opened.page.locator(".frame.loaded").first.wait_for()
        assert opened.page.evaluate(fits)
        dark = opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 27)"
        assert dark == (scheme == "dark")
        opened.page.click("#more")
        assert opened.page.evaluate(fits)
        opened.page.click("#more")
        opened.page.locator(".tile a").first.tap()
        opened.page.locator("#picture.loaded").wait_for()
        wide = "[...document.querySelectorAll('#sample *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
        assert opened.page.evaluate(wide) == 0
        box = opened.page.locator("#close").bounding_box()
        assert box is not None
        assert box["y"] < 60
        opened.page.click("#close")
        opened.page.click("#open-stats")
        opened.page.locator(".chart").nth(2).wait_for()
        assert opened.page.evaluate(
            "[...document.querySelectorAll('#stats *')].every(e => e.getBoundingClientRect().right <= innerWidth)"
        )
        unnamed = (
            "[...document.querySelectorAll('img')].filter(i => !i.hidden && i.hasAttribute('src') && !i.alt).length"
        )
        assert opened.page.evaluate(unnamed) == 0
        assert opened.errors == []


def test_statistics_lead_to_samples_and_twins_to_each_other(browser: Browser, page: Viewing) -> None:
    with browser.open(page.url, viewport=DESK) as opened:
        _status(opened, "107 samples")
        opened.page.click("#open-stats")
        opened.page.locator("#stats button.bar-row", has_text="#été").click()
        _status(opened, "100 of 107 samples")
        assert opened.page.input_value("#q") == "#été"
        opened.page.fill("#q", "")
        opened.page.click("#more")
        opened.page.select_option("#same", "exact")
        _status(opened, "2 of 107 samples")
        opened.page.locator(".flag.same").nth(1).wait_for()
        assert opened.texts(".flag.same") == ["2 alike", "2 alike"]
        opened.page.locator(".tile a").first.click()
        twin = opened.page.locator(".small-tiles a")
        twin.wait_for()
        (key,) = opened.texts("#sample-key")
        twin.click()
        opened.page.locator("#sample-key").get_by_text("rome/two" if key == "rome/one" else "rome/one").wait_for()
        assert opened.errors == []


def test_a_check_is_made_and_its_damage_shown(browser: Browser, shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "set")
    victim = wt.head(str(shards), 3, splits="train")[2]
    tar = tmp_path / "set" / victim.shard
    text = (victim.caption or "").encode()
    tar.write_bytes(tar.read_bytes().replace(text, b"X" * len(text), 1))
    with viewing(tmp_path / "set") as page, browser.open(page.url, viewport=DESK) as opened:
        _status(opened, "107 samples")
        opened.page.click("#more")
        opened.page.fill("#where", f"key == {victim.key!r}")
        _status(opened, "1 of 107 samples")
        opened.page.locator(".tile a").click()
        opened.page.locator(".finding", has_text="Not as it was packed: sample-damaged").wait_for()
        opened.page.keyboard.press("Escape")
        opened.page.click("#open-check")
        opened.page.click("#start-check")
        opened.page.locator("#check-body").get_by_text("1 finding", exact=True).wait_for()
        opened.page.get_by_text("Show damaged samples").click()
        _status(opened, "1 of 107 samples")
        opened.page.locator(".flag").wait_for()
        assert opened.texts(".flag") == ["damaged"]
        opened.page.locator(".tile a").click()
        opened.page.locator(".finding").wait_for()
        assert opened.texts("#sample-key") == [victim.key]


def test_a_gallery_of_any_length_scrolls_to_its_end(browser: Browser, tmp_path: Path) -> None:
    """Large pictures of these many are taller than the page scrolls by pixels."""
    write_index_alone(tmp_path / "set", 2, 30_000)
    with viewing(tmp_path / "set") as page, browser.open(page.url, viewport=DESK) as opened:
        _status(opened, "60,000 samples")
        opened.page.locator(".sizes input[value=l]").check(force=True)
        assert opened.page.evaluate("document.getElementById('space').offsetHeight") == 4_000_000
        shown = "[...document.querySelectorAll('.tile')].map(t => Number(t.getAttribute('aria-posinset')))"
        assert len(opened.page.evaluate(shown)) < 80
        opened.page.evaluate("document.getElementById('gallery').scrollTop = 1e9")
        opened.page.locator(".tile .caption", has_text="caption of number 59999").wait_for()
        opened.page.evaluate("document.getElementById('gallery').scrollTop /= 2")
        _until(opened, f"Math.abs(Math.max(...{shown}) - 30000) < 1500")
        middle = max(opened.page.evaluate(shown))
        opened.page.locator("#gallery").hover()
        rested = (
            "new Promise(done => document.getElementById('gallery').addEventListener('scrollend', done, {once: true}))"
        )
        opened.page.evaluate(f"window.rested = {rested}; null")
        opened.page.mouse.wheel(0, 700)  # two rows of the largest pictures
        opened.page.evaluate("window.rested.then(() => null)")
        _until(opened, f"Math.max(...{shown}) > {middle}")
        assert max(opened.page.evaluate(shown)) < middle + 40
        opened.page.locator(".tile a").first.focus()
        opened.page.keyboard.press("End")
        _until(opened, "document.activeElement.closest('.tile')?.getAttribute('aria-posinset') === '60000'")
        assert len(opened.page.evaluate(shown)) < 80


def test_the_page_says_that_its_server_has_ended(browser: Browser, shards: Path) -> None:
    with viewing(shards) as page, browser.open(page.url) as opened:
        _status(opened, "107 samples")
        assert page.end()[0] == 0
        opened.page.fill("#q", "anything")
        opened.page.locator("#problem").get_by_text("start wdstools view again").wait_for()
        assert urlsplit(opened.page.url).hostname == "127.0.0.1"
