"""A dataset that is not damaged, but is a later version of the one expected."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wdstools.checks.metadata import read_list
from wdstools.errors import FormatError, StoreError
from wdstools.formats.manifest import MANIFEST_PATH, MAX_MANIFEST_BYTES, PROVENANCE_PATH, loads
from wdstools.results import Finding, Report
from wdstools.stores.reading import get_whole
from wdstools.units import counted

if TYPE_CHECKING:
    from wdstools.dataset import Dataset
    from wdstools.formats.manifest import Manifest


def explain_change(dataset: Dataset, report: Report) -> Report:
    """The report, with all findings that another dataset or a later version explains replaced by a single one.

    A later version is one whose provenance names this root. Unexplained findings stay as they are.
    """
    if not report.findings:
        return report
    try:
        later = loads(get_whole(dataset.shards, MANIFEST_PATH, MAX_MANIFEST_BYTES))
        counts = _counts_since(dataset.root, json.loads(get_whole(dataset.shards, PROVENANCE_PATH)))
    except (StoreError, FormatError, ValueError, AttributeError, KeyError, TypeError, OverflowError, RecursionError):
        return report
    if later.root == dataset.root:
        return report
    changed = _changed(dataset.manifest, later)
    if counts is not None:
        kept = tuple(f for f in report.findings if f.path not in changed)
        return replace(report, findings=(_replaced(dataset, later, counts), *kept))
    if read_list(dataset.shards)[0].get(MANIFEST_PATH) != later.root:
        return report  # its own checksum list does not have that manifest, so the manifest is damaged
    if not changed.intersection(finding.path for finding in report.findings):
        return report
    theirs = {entry.path for _, entry in later.shards}
    kept = tuple(f for f in report.findings if f.path not in changed and not (f.kind == "extra" and f.path in theirs))
    return replace(report, findings=(_another(dataset, later), *kept))


def _counts_since(root: str, provenance: Any) -> Counter[str] | None:
    """How many samples the changes since a version were of, by what was done; None if the history does not name it."""
    history = provenance.get("history", [])
    roots = [change["previous_root"] for change in history]
    if root not in roots:
        return None
    counts: Counter[str] = Counter()
    for change in history[roots.index(root) :]:
        samples = change.get("samples", 0)  # it only explains: the root alone says which version it is
        is_count = isinstance(samples, int) and 0 <= samples < 1 << 53
        counts[str(change.get("action"))] += samples if is_count else 0
    return counts


def _changed(before: Manifest, after: Manifest) -> set[str]:
    now = {entry.path: entry.sha256 for _, entry in after.shards}
    changed = [entry for _, entry in before.shards if now.get(entry.path) != entry.sha256]
    return {path for entry in changed for path in (entry.path, entry.index_path)}


def _another(dataset: Dataset, there: Manifest) -> Finding:
    named = f"{there.name}, version {there.version}, " if there.name else ""
    return Finding(
        "manifest",
        dataset.shards.url,
        f"another dataset is here ({named}root {there.root})",
        expected=dataset.root,
        got=there.root,
        cause="another-dataset",
    )


def _replaced(dataset: Dataset, later: Manifest, counts: Counter[str]) -> Finding:
    came = f" and {counts['append']:,} added" if counts["append"] else ""
    difference = dataset.manifest.totals["samples"] - later.totals["samples"]
    return Finding(
        "manifest",
        dataset.manifest_key,
        f"this is version {dataset.manifest.version}; version {later.version} is here, "
        f"with {counted(counts['remove'], 'sample')} removed{came} "
        f"({abs(difference):,} {'fewer' if difference >= 0 else 'more'} in all)",
        expected=dataset.root,
        got=later.root,
        cause="replaced",
    )
