"""Check a dataset whose manifest is damaged or lost: report the manifest, and check the rest by the checksum list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.checks.metadata import damaged_text, read_list
from wdstools.errors import NotFoundError, UnsupportedVersionError, WdsError
from wdstools.formats.digest import sha256_hex
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES
from wdstools.formats.sums import SumLine
from wdstools.ops.verify.lone import check_lines
from wdstools.results import Finding, Report
from wdstools.stores.local import LocalStore
from wdstools.stores.open import open_store
from wdstools.stores.reading import get_whole

if TYPE_CHECKING:
    from wdstools.executors.base import Executor
    from wdstools.progress import Progress
    from wdstools.stores.base import Store


def is_damaged(path: str, error: WdsError) -> bool:
    """Whether an unreadable manifest is damaged or lost, rather than written by a newer version or never there."""
    if isinstance(error, NotFoundError):
        return MANIFEST_PATH in read_list(LocalStore(path))[0]
    if not isinstance(error, UnsupportedVersionError):
        return True
    store = open_store(path)
    listed, _ = read_list(store)
    return listed.get(MANIFEST_PATH) not in (None, sha256_hex(get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES)))


def verify_by_list(path: str, error: WdsError, executor: Executor, progress: Progress) -> Report:
    """Check a dataset whose manifest cannot be read: report its damage, and check the rest by the checksum list."""
    store = open_store(path)
    listed, wrong = read_list(store)
    finding = _manifest_finding(store, listed, error)
    lines = [SumLine(name, "sha256", value) for name, value in listed.items() if name != MANIFEST_PATH]
    report = check_lines(store, lines, executor, progress)
    return Report("digest", report.checked, (finding, *wrong, *report.findings), report.unproved)


def _manifest_finding(store: Store, listed: dict[str, str], error: WdsError) -> Finding:
    if isinstance(error, NotFoundError):
        message = "the manifest is missing"
        return Finding("missing", MANIFEST_PATH, message, expected=listed[MANIFEST_PATH], cause="manifest-missing")
    data = get_whole(store, MANIFEST_PATH, MAX_MANIFEST_BYTES)
    if MANIFEST_PATH in listed and listed[MANIFEST_PATH] != sha256_hex(data):
        return damaged_text("manifest", MANIFEST_PATH, data, listed[MANIFEST_PATH])
    expected, got = error.expected or None, error.got or None
    return Finding("manifest", MANIFEST_PATH, error.message, expected=expected, got=got, cause=error.code)
