"""Memory beyond what there is of it lies in a file: a full disk is an error where it is asked for, and no signal later."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.small_disk import small_disk
from wdstools import memory

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_that_no_disk_has_room_for_are_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_IN_MEMORY", 0)
    with small_disk(tmp_path / "disk", 256) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        rows = memory.many_rows(8, 4096)
        rows[:] = 7
        assert np.all(rows == 7)
        with pytest.raises(OSError, match="space"):
            memory.many_rows(4096, 4096)
        assert list(disk.iterdir()) == []
        del rows


def test_what_a_container_has_read_of_files_is_no_memory_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", str(tmp_path))
    for name, text in (("max", "1000"), ("current", "990"), ("stat", "anon 300\ninactive_file 600\nactive_file 90\n")):
        (tmp_path / f"memory.{name}").write_text(f"{text}\n")
    assert memory.free_bytes() == 610
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes() > 1 << 20
