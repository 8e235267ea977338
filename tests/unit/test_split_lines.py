"""Lines of split lists: as Python gives them of the whole text, whatever block they lie in, in memory or in a mapped file."""

from __future__ import annotations

import hashlib
import pickle
import resource
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wdstools.errors import NotFoundError, StoreError, UsageError
from wdstools.planning import split_lines
from wdstools.planning.split_lines import Lines, digest_of_lines, read_lines

if TYPE_CHECKING:
    from pathlib import Path

_TEXTS = st.text(st.sampled_from("aé/,\n\r\v\x1c\x85\u2028\ufeff "), max_size=40)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXTS, st.booleans(), st.sampled_from([1, 2, 5, 1 << 20]), st.booleans())
def test_lines_are_those_of_the_whole_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, has_mark: bool, block: int, is_mapped: bool
) -> None:
    data = ("\ufeff" if has_mark else "").encode() + text.encode()
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    monkeypatch.setattr(split_lines, "_BLOCK_BYTES", block)
    monkeypatch.setattr(split_lines, "_HELD_BYTES", 1 if is_mapped else 1 << 20)
    wanted = data.decode("utf-8-sig").splitlines()
    lines = read_lines(str(path))
    path.write_bytes(b"changed since")
    assert (list(lines), len(lines), list(lines)) == (wanted, len(wanted), wanted)
    assert lines.digest == digest_of_lines(wanted) == hashlib.sha256("\n".join(wanted).encode()).hexdigest()
    assert list(pickle.loads(pickle.dumps(lines))) == wanted  # noqa: S301  of this test
    if wanted:
        assert (lines[0], lines[-1:]) == (wanted[0], wanted[-1:])


@pytest.mark.parametrize("has_folder", [True, False])
def test_where_no_copy_can_be_held_the_temporary_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_folder: bool
) -> None:
    (tmp_path / "list.txt").write_text("oslo/1\n" * 20_000)
    folder = tmp_path if has_folder else tmp_path / "missing"
    monkeypatch.setattr(split_lines, "_HELD_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises((NotFoundError, StoreError)) as caught:
            read_lines(str(tmp_path / "list.txt"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.where == str(folder)


def test_what_is_no_text_is_refused_with_its_name() -> None:
    with pytest.raises(UsageError) as caught:
        Lines(b"good\nb\xffd\n", "train.txt")
    assert caught.value.where == "train.txt"
