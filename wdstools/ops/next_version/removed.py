"""What earlier versions of a dataset have removed, according to the receipts in its provenance: the SHA-256 of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wdstools.landing.small_files import read_provenance

if TYPE_CHECKING:
    from wdstools.dataset import Dataset


def removed_before(dataset: Dataset) -> frozenset[str]:
    """The SHA-256 of every removed key; none if provenance has no receipts, or nonsense."""
    history = read_provenance(dataset.metadata).get("history")
    receipts = [
        change.get("receipt") for change in (history if isinstance(history, list) else ()) if isinstance(change, dict)
    ]
    items = [item for one in receipts if isinstance(one, list) for item in one if isinstance(item, dict)]
    return frozenset(item["key_sha256"] for item in items if isinstance(item.get("key_sha256"), str))
