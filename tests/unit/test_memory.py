"""Memory beyond what there is of it lies in a file: a full disk is an error where it is asked for, and no signal later."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.small_disk import small_disk
from wdstools import memory
from wdstools.memory import take_room

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


@pytest.mark.parametrize("error", [None, errno.EOPNOTSUPP])
def test_a_file_gets_its_room_where_the_system_cannot_reserve_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, "not here")

    if error is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    with (tmp_path / "file").open("wb") as file:
        take_room(file.fileno(), 3 << 20)
        status = os.fstat(file.fileno())
    assert status.st_size == 3 << 20
    assert status.st_blocks * 512 >= 3 << 20  # no holes: a page that is written later always has its place
