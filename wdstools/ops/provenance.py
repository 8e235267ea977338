"""Provenance: how a dataset was made. Outside the root digest, so it is read with care and may be missing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from wdstools.errors import FormatError, StoreError
from wdstools.formats.manifest import PROVENANCE_PATH
from wdstools.stores.base import get_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdstools.ops.repair_copies import Copy
    from wdstools.stores.base import Store


def read_provenance(store: Store, copies: Sequence[Copy] = ()) -> dict[str, Any]:
    """How the dataset was made, from its own provenance or a copy's; empty if none can be read."""
    try:
        own = get_whole(store, PROVENANCE_PATH)
    except (StoreError, FormatError):
        own = None
    for data in (own, *(copy.file(PROVENANCE_PATH) for copy in copies)):
        try:
            document = json.loads(data or b"")
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    return {}
