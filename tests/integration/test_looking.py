"""head, ls -l and stats: what a dataset holds, seen without opening a shard."""

from __future__ import annotations

import shutil
import unicodedata
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.city_pairs import tiny_jpeg, write_city_pairs
from tests.support.command import environment, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.nginx import WebServer

#: Captions that would move the cursor, forge a line, or hide what follows; and one of characters of two columns.
HOSTILE = {
    "escape": "red \x1b[31m and \x1b]0;title\x07 done",
    "lines": "one\r\ntwo\n  forged/key  oslo  9x9  1 B  nothing",
    "bidi": "before \u202egnihton\u2066 after",
    "wide": "京都の朝ごはん " * 30,
    "long": "x" * 100_000,
    "emoji": "👩‍👩‍👧‍👦 family and ❤️ " * 10,
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looking")
    source = write_city_pairs(folder / "source")
    for number, (name, caption) in enumerate(HOSTILE.items()):
        (source / f"img/val/rome/{name}.jpg").write_bytes(tiny_jpeg(number + 500_000))
        (source / f"captions/val/rome/{name}.txt").write_text(caption, newline="")
    wt.pack(str(source), str(folder / "set"), shards=2, name="cities")
    for tar in (folder / "set").rglob("*.tar"):
        tar.write_bytes(b"")  # whoever opens a shard fails
    return folder / "set"


def _columns(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def test_head_shows_the_first_samples_in_their_order(shards: Path) -> None:
    ran = run_command("head", shards, "-n", "3", "--split", "train")
    assert ran.code == 0, ran.err
    keys = run_command("ls", shards, "train").out.split()
    lines = ran.out.splitlines()
    assert [line.split()[0] for line in lines] == keys[:3]
    first = wt.head(str(shards), 3, splits="train")
    assert [sample.key for sample in first] == keys[:3]
    for line, sample in zip(lines, first, strict=True):
        assert f"{sample.label}" in line
        assert f"{sample.width}x{sample.height}" in line
        assert str(sample.caption).split()[1] in line
        assert (sample.split, sample.members) == ("train", ("jpg", "txt", "cls"))


def test_a_condition_chooses_samples_for_every_command(shards: Path) -> None:
    where = "label == 'oslo' and width >= 20"
    keys = [sample.key for sample in wt.head(str(shards), 10_000, where=where)]
    assert 0 < len(keys) < 20
    assert run_command("ls", shards, "--where", where).out.split() == keys
    listed = run_command("ls", "-l", shards, "--where", where, "--json")
    assert [line["key"] for line in listed.lines[:-1]] == keys
    assert listed.summary["samples"] == len(keys)
    counted = run_command("stats", shards, "--where", where, "--json").summary
    assert counted["samples"] == len(keys)
    assert set(counted["labels"]) == {"oslo"}
    assert counted["widths"]["least"] >= 20
    wrong = run_command("head", shards, "--where", "colour == 'red'")
    assert wrong.code == 2
    assert "where-not-understood" in wrong.err


@pytest.mark.parametrize("columns", [60, 120])
def test_lines_fit_the_terminal_whatever_captions_hold(shards: Path, columns: int) -> None:
    ran = run_command("ls", "-l", shards, "val", env=environment(COLUMNS=str(columns)))
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert all(_columns(line) <= columns for line in lines)
    assert sum(1 for line in lines if not line.startswith("    ")) == 10 + len(HOSTILE)
    assert all(c.isprintable() or c == "\n" for c in ran.out)
    (wide,) = (line for line in lines if "京都" in line)
    assert wide.endswith("…")
    assert _columns(wide) >= columns - 2
    assert "\n  forged/key" not in ran.out


def test_a_caption_stands_whole_where_nobody_asks_for_a_width(shards: Path) -> None:
    ran = run_command("ls", "-l", shards, "val", env=environment(COLUMNS="0"))
    assert "x" * 100_000 in ran.out


def test_statistics_count_what_was_packed(shards: Path) -> None:
    found = wt.stats(str(shards))
    samples = wt.head(str(shards), 10_000)
    assert found.samples == len(samples) == 46
    assert found.bytes == sum(sample.bytes for sample in samples)
    assert found.counts == {"train": {"oslo": 15, "rome": 15}, "val": {"oslo": 5, "rome": 5 + len(HOSTILE)}}
    assert found.members == {"cls": 46, "jpg": 46, "txt": 46}
    assert found.hashtags[0].tag == "#été"
    assert found.hashtags[0].captions == 40
    assert found.widths is not None
    assert found.widths.least == min(sample.width or 0 for sample in samples)
    assert found.caption_lengths is not None
    assert found.caption_lengths.most == 100_000
    assert sum(found.caption_lengths.counts) == found.captioned == 46
    assert sum(shape.images for shape in found.shapes) <= 46
    parallel = wt.stats(str(shards), executor=wt.open_executor("threads", 4))
    assert parallel == found


def test_statistics_read_well(shards: Path) -> None:
    ran = run_command("stats", shards)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0].startswith("cities: 46 samples, ")
    assert any(line.split() == ["oslo", "15", "5", "20"] for line in lines)
    assert any("100,000" in line and line.lstrip().startswith("caption, characters") for line in lines)
    assert "#été 40" in ran.out
    assert run_command("stats", shards, "--json").summary["proved"] == "accident"


def test_what_cannot_be_is_refused(shards: Path, tmp_path: Path) -> None:
    for arguments in (
        ("ls", shards, "holdout"),
        ("head", shards, "--split", "holdout"),
        ("stats", shards, "--split", "holdout"),
    ):
        ran = run_command(*arguments)
        assert ran.code in (2, 4), arguments
        assert "Traceback" not in ran.err
        assert "train" in ran.err
    assert run_command("head", tmp_path).code == 4
    assert run_command("head", shards, "-n", "-1").code == 2
    assert run_command("head", shards, "--root", "0" * 64).code == 1


def test_a_dataset_on_a_web_server_is_looked_at_by_its_index_alone(nginx: WebServer, shards: Path) -> None:
    url = f"{nginx.endpoint}/{shards.parent.name}"
    shutil.copytree(shards, nginx.root / shards.parent.name)
    assert run_command("head", url, "-n", "4").out == run_command("head", shards, "-n", "4").out
    far, near = run_command("stats", url, "--json").summary, run_command("stats", shards, "--json").summary
    assert far == near
