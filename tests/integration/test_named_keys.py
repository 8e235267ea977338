"""Lists of keys: what they name that is not there is told by every command, and names as people write them are understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.command import run_command
from tests.support.lookalikes import jpeg, scene

if TYPE_CHECKING:
    from pathlib import Path

LOOKING = (("ls",), ("ls", "-l"), ("head",), ("stats",), ("view", "--html"))
WRITING = (("extract",), ("pull",), ("remove", "-o"))
GIVEN = {"cat/IMG 1": "cat/IMG%201", "cat/IMG 2.jpg": "cat/IMG%202", "train/dog/x": "dog/x"}


@pytest.fixture(scope="module")
def cities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with keys that are escaped, and with two that are called alike where folders do not count."""
    place = tmp_path_factory.mktemp("named")
    for number, name in enumerate(("cat/IMG 1", "cat/IMG 2", "dog/x", "dog/IMG 1")):
        path = place / "images/train" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(scene(number, 64, 64)))
        path.with_suffix(".txt").write_text(name)
    wt.pack(str(place / "images"), str(place / "set"))
    return place / "set"


def listed(folder: Path, *names: str) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


@pytest.mark.parametrize("command", [*LOOKING, *WRITING])
def test_keys_that_are_not_there_are_named_and_exit_3(command: tuple[str, ...], cities: Path, tmp_path: Path) -> None:
    keys = listed(tmp_path, "dog/x", "nobody", "IMG 1", "x")  # the last two are only parts of names
    verb, *options = command
    out = () if command in LOOKING[:4] else (tmp_path / "out.html",)
    yes = ("--yes",) if verb == "remove" else ()
    ran = run_command(verb, cities, *options, *out, "--keys", keys, *yes)
    assert ran.code == 3
    told = ran.out + ran.err
    assert all(name in told for name in ("nobody", "IMG 1", "3 of the named keys are not in the dataset"))
    if verb == "ls":
        assert "nobody" not in ran.out  # where keys are the answer


@pytest.mark.parametrize("command", [*LOOKING, *WRITING])
def test_names_as_people_write_them_are_keys(command: tuple[str, ...], cities: Path, tmp_path: Path) -> None:
    verb, *options = command
    out = () if command in LOOKING[:4] else (tmp_path / "out.html",)
    yes = ("--yes",) if verb == "remove" else ()
    ran = run_command(verb, cities, *options, *out, "--keys", listed(tmp_path, *GIVEN), *yes)
    assert ran.code == 0
    assert all(f"{name} is the key {key}" in ran.err for name, key in GIVEN.items())
    if verb in ("pull", "remove"):
        kept = set(run_command("ls", tmp_path / "out.html", "train").out.split())
        assert kept == (set(GIVEN.values()) if verb == "pull" else {"dog/IMG%201"})


def test_json_counts_what_is_missing(cities: Path, tmp_path: Path) -> None:
    ran = run_command("ls", cities, "--json", "--keys", listed(tmp_path, "cat/IMG 1", "nobody"))
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert lines[0] == {"type": "meant", "name": "cat/IMG 1", "key": "cat/IMG%201"}
    assert lines[-1]["missing_keys"] == ["nobody"]
    assert (lines[-1]["ok"], lines[-1]["exit_code"], ran.code) == (False, 3, 3)


def test_a_key_comes_first_and_no_name_means_two(tmp_path: Path) -> None:
    for name in ("train/a/q", "train/a/a b", "val/train/a/q"):
        path = tmp_path / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(scene(len(name), 64, 64)))
        path.with_suffix(".txt").write_text(name)
    source = wt.open_source(tmp_path / "images", image="{split}/{id}.jpg", caption="{split}/{id}.txt")
    wt.pack(source, str(tmp_path / "set"))
    assert run_command("ls", tmp_path / "set", "val").out.split() == ["train/a/q"]
    exact = run_command("ls", tmp_path / "set", "--keys", listed(tmp_path, "train/a/q"))
    assert (exact.out.split(), exact.err) == (["train/a/q"], "")
    two = run_command("ls", tmp_path / "set", "--keys", listed(tmp_path, "train/a/q.jpg"))
    assert (two.code, two.out) == (3, "")
    assert "several samples are called train/a/q.jpg" in two.err
    gone = listed(tmp_path, "train/a/q")
    assert run_command("remove", tmp_path / "set", "--in-place", "--yes", "--keys", gone).code == 0
    again = run_command("remove", tmp_path / "set", "--in-place", "--yes", "--keys", gone)
    assert again.code == 3  # the sample of train is called so too, and stays: this key was of the one that is gone
    assert set(run_command("ls", tmp_path / "set", "train").out.split()) == {"a/q", "a/a%20b"}


def test_a_list_from_a_pipe_needs_the_answer_beforehand(cities: Path) -> None:
    ran = run_command("remove", cities, "--in-place", "--keys", "-", stdin=b"dog/x\n")
    assert (ran.code, "not-confirmed" in ran.err) == (2, True)
    assert "--yes" in ran.err
    assert "standard input holds the list, so it cannot take an answer" in ran.err
