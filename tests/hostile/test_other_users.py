"""What another user of the machine can put into the cache of this one is not believed, and not waited for."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

import wdstools as wt
from tests.support.accounting import write_files
from tests.support.city_pairs import tiny_jpeg
from tests.support.outcome import contents
from wdstools.formats.manifest import index_path
from wdstools.landing.site import PackSite
from wdstools.stores import confirmed
from wdstools.stores.kept_files import open_own
from wdstools.stores.receipts import leave_receipt
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


def unfinished(source: Path, dest: Path) -> Path:
    """What a pack leaves that is stopped when its shards are finished."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PackSite, "publish", stopped)
        with pytest.raises(KeyboardInterrupt):
            wt.pack(source, dest, shards=2, jobs=1)
    return dest.with_name(f"{dest.name}.partial")


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def put_there(mine: Path, theirs: Path) -> None:
    """One of two finished shards as another source gives it, with its index, and a line in the journal to match."""
    lines = [json.loads(line) for line in (mine / "journal.jsonl").read_text().splitlines()]
    forged = [json.loads(line) for line in (theirs / "journal.jsonl").read_text().splitlines()]
    path = lines[1]["entry"]["path"]
    (lie,) = (line for line in forged[1:] if line["entry"]["path"] == path)
    lines[1] = {**lie, "sources": lines[1]["sources"]}
    (mine / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for name in (path, index_path(path)):
        (mine / "new" / name).write_bytes((theirs / "new" / name).read_bytes())
        leave_receipt(str(mine / "new" / name), (mine / "new" / name).stat())


@pytest.mark.parametrize("change", [None, writable_by_others])
def test_a_shard_that_another_user_put_into_unfinished_work_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path, pytest.MonkeyPatch], None] | None
) -> None:
    """Whoever may write there may write to the journal too: then only lines that this user has sealed are believed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, text in (("source", b"mine"), ("other", b"lies")):
        write_files(
            tmp_path / name, {f"{n}.jpg": tiny_jpeg(n) for n in range(6)} | {f"{n}.txt": text for n in range(6)}
        )
    wt.pack(tmp_path / "source", tmp_path / "good", shards=2, jobs=1)
    mine, theirs = (unfinished(tmp_path / name, tmp_path / f"{name}-out") for name in ("source", "other"))
    if change is None:  # nobody else could: the line of an older version, without a seal, is this user's
        noted = (mine / "journal.jsonl").read_text()
        (mine / "journal.jsonl").write_text(re.sub(r', "seal": "[0-9a-f]+"', "", noted))
    else:
        put_there(mine, theirs)
        change(mine / "journal.jsonl", monkeypatch)
    result = wt.pack(tmp_path / "source", tmp_path / "source-out", shards=2, jobs=1)
    assert isinstance(result, wt.PackResult)
    assert (result.kept_shards, result.remade_shards) == ((2, 0) if change is None else (1, 1))
    assert contents(tmp_path / "source-out") == contents(tmp_path / "good")
