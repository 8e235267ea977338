"""What earlier versions of a dataset have removed, as the receipts in its provenance say: keys by their SHA-256."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.landing.small_files import read_provenance

if TYPE_CHECKING:
    from wdstools.dataset import Dataset


def removed_before(dataset: Dataset) -> frozenset[str]:
    """The SHA-256 of every key that was removed; provenance that says nothing, or nonsense, names none."""
    history = read_provenance(dataset.metadata).get("history")
    receipts = [
        change.get("receipt") for change in (history if isinstance(history, list) else ()) if isinstance(change, dict)
    ]
    items = [item for one in receipts if isinstance(one, list) for item in one if isinstance(item, dict)]
    return frozenset(item["key_sha256"] for item in items if isinstance(item.get("key_sha256"), str))
