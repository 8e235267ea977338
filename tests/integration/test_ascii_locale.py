"""A locale without letters beyond ASCII, as in a bare container or under cron: nothing is lost, and nothing fails for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import run_command
from tests.support.outcome import contents
from tests.support.warm import REPOSITORY
from wdstools.dataset import open_dataset

if TYPE_CHECKING:
    from pathlib import Path


def in_ascii(folder: Path, *words: str, encoding: str = "ascii:strict") -> tuple[int, bytes]:
    """A command in that locale, with everything that Python does against it switched off; its exit code, and what it says."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    variables |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(REPOSITORY)}
    if encoding:
        variables["PYTHONIOENCODING"] = encoding
    command = [os.fsencode(word) for word in (sys.executable, "-m", "wdstools", *words)]
    ran = subprocess.run(command, cwd=folder, env=variables, capture_output=True, check=False)
    assert b"Traceback" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("encoding", [pytest.param("", marks=pytest.mark.slow), "ascii:strict"])
def test_names_of_any_letters_go_there_and_back(encoding: str, tmp_path: Path) -> None:
    files = {f"bilder-ä/{city}/ü{n}.jpg": tiny_jpeg(n) for n, city in enumerate(("münchen", "東京", "são paulo"))}
    files |= {path.replace(".jpg", ".txt"): "größe 🎈".encode() for path in files}
    write_files(tmp_path, files)
    assert run_command("pack", tmp_path / "bilder-ä", tmp_path / "usual", "--name", "x").code == 0
    code, said = in_ascii(tmp_path, "pack", "bilder-ä", "paket-ö", "--name", "x", encoding=encoding)
    assert (code, b"paket-\\xf6" in said) == (0, encoding != "")
    assert open_dataset(str(tmp_path / "paket-ö")).root == open_dataset(str(tmp_path / "usual")).root
    assert in_ascii(tmp_path, "extract", "paket-ö", "dateien-ü", encoding=encoding)[0] == 0
    assert contents(tmp_path / "dateien-ü") == {path.removeprefix("bilder-ä/"): data for path, data in files.items()}


def test_what_cannot_be_shown_is_escaped(tmp_path: Path) -> None:
    code, said = in_ascii(tmp_path, "verify", "nowhere-ü")
    assert code == 4
    assert b"nowhere-\\xfc" in said
    assert in_ascii(tmp_path, "pack", "--help")[0] == 0
