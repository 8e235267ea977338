"""Checksum lists whose bytes are not text."""

from __future__ import annotations

from wdstools.formats.sums import parse_sums, render_sums


def test_a_name_that_is_not_utf8_is_read_and_written_back() -> None:
    data = b"0" * 64 + b"  train/a\xe1.tar\n"
    lines = parse_sums(data)
    assert render_sums({line.path: line.digest for line in lines}) == data
