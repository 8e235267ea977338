"""Sizes as they are shown, and the count of processors where the system does not say which of them are ours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wdstools.executors.open import processors
from wdstools.units import counted, size

if TYPE_CHECKING:
    import pytest


def test_processors_are_counted_where_no_affinity_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert processors() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors() == 1


def test_a_size_never_shows_a_thousand_of_a_smaller_unit() -> None:
    shown = [size(value) for value in (0, 999, 999.6, 999_949, 999_951, 999_950_001, 10**15)]
    assert shown == ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.0 GB", "1,000.0 TB"]


def test_things_are_counted_in_words() -> None:
    assert [counted(1, "shard"), counted(2000, "shard"), counted(0, "index", "indexes")] == [
        "1 shard",
        "2,000 shards",
        "0 indexes",
    ]
