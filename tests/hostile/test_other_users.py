"""What another user of the machine can put into the cache of this one is not believed, and not waited for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from wdstools.stores import confirmed
from wdstools.stores.kept_files import open_own
from wdstools.user_cache import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = path.stat().st_uid
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)


def writable_by_others(path: Path, _: pytest.MonkeyPatch) -> None:
    path.chmod(0o622)


def a_link(path: Path, _: pytest.MonkeyPatch) -> None:
    path.rename(path.with_suffix(".theirs"))
    path.symlink_to(path.with_suffix(".theirs"))


def a_pipe(path: Path, _: pytest.MonkeyPatch) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("change", [of_another_user, writable_by_others, a_link, a_pipe])
def test_a_file_of_somebody_else_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], None]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kept = tmp_path / "kept"
    kept.write_bytes(b"rows")
    kept.chmod(0o600)
    fd = open_own(str(kept))
    assert fd is not None
    os.close(fd)
    confirmed.note("places", "what", "said")
    secret = confirmed.secret_of("packing")
    assert (confirmed.noted("places", "what"), confirmed.secret_of("packing")) == ("said", secret)
    (noted,) = (tmp_path / "wdstools/places").iterdir()
    (held,) = (tmp_path / "wdstools/secrets").iterdir()
    assert cache_folder() == str(tmp_path / "wdstools")
    assert noted.stat().st_mode & 0o077 == held.stat().st_mode & 0o077 == 0
    for path in (kept, noted, held):
        change(path, monkeypatch)
    assert open_own(str(kept)) is None
    assert confirmed.noted("places", "what") is None
    assert confirmed.secret_of("packing") != secret
