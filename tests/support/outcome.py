"""What a pack left behind: nothing under the final name, or everything."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from wdstools.ops.verify import verify_path
from wdstools.stores.abilities import TEMP_SUFFIX
from wdstools.stores.receipts import MARK, is_log

if TYPE_CHECKING:
    from pathlib import Path

    from wdstools.options.check import VerifyLevel
    from wdstools.results import Report


_READABLE_BYTES = 1 << 30


def assert_absent_or_complete(dest: Path) -> bool:
    """Assert that DEST is absent or an intact dataset; returns whether it is there."""
    if not dest.exists():
        return False
    _assert_whole(dest)
    return True


def assert_complete(dest: Path) -> None:
    """Assert that DEST is an intact dataset, with no work files left in it or next to it.

    A run that is killed between its last calls leaves an empty folder, whose owner is unknown, or one with only marks,
    which goes when something is made there again.
    """
    _assert_whole(dest)
    places = [dest.with_name(dest.name + suffix) for suffix in (".partial", TEMP_SUFFIX)]
    marks = (dest.with_name(dest.name + TEMP_SUFFIX) / name for name in (MARK, "names"))
    left = {path for place in places for path in place.rglob("*") if not is_log(path.name)}
    assert left <= set(marks)


def _assert_whole(dest: Path) -> None:
    report = verify_path(str(dest), level="samples")
    assert report.findings == ()
    assert report.ok
    ours = ("journal.jsonl", "lock", "names", MARK)
    assert [path for path in dest.rglob("*") if path.name.endswith("-tmp") or path.name in ours] == []


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file by its ``/``-separated path below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def snapshot(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Mode, size, modification time and SHA-256 of everything below a folder; no digest for files too large to read."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = os.lstat(path)
        readable = path.is_file() and path.stat().st_size < _READABLE_BYTES
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if readable else ""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_size, status.st_mtime_ns, digest)
    return found


def verify_unchanged(folder: Path, level: VerifyLevel = "digest") -> Report:
    """Verify, and make sure that verifying changed nothing."""
    before = snapshot(folder)
    report = verify_path(str(folder), level=level)
    assert snapshot(folder) == before
    return report
