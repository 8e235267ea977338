"""Things in a source folder that are no plain files: never waited for, never endless, always named."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.command import HANG_SECONDS
from tests.support.limited import assert_announced, run_limited

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: A read that waits for ever fails its own test, and leaves the others alone.
pytestmark = pytest.mark.timeout(HANG_SECONDS, method="signal")


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


ODD: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "socket": bind,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "empty device": lambda path: path.symlink_to("/dev/null"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", ["odd.jpg", "odd.txt"])
@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_plain_file_is_named(kind: str, name: str, tmp_path: Path) -> None:
    source = tmp_path / "s"
    write_files(source, {"good.jpg": tiny_jpeg(1), "good.txt": b"x", "odd.jpg": tiny_jpeg(2), "odd.txt": b"odd"})
    (source / name).unlink()
    ODD[kind](source / name)
    ran = run_limited("pack", source, tmp_path / "out")
    assert_announced(ran, 3, 4)
    listed = tmp_path / "out/.wdstools/skipped.jsonl"
    assert "odd" in ran.err + (listed.read_text() if listed.exists() else "")
