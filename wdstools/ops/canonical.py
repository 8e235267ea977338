"""Shards that wdstools has not written are read and checked, but not changed, mirrored or pulled in part."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools.formats.manifest import Manifest


def require_canonical(manifest: Manifest, where: str, message: str) -> None:
    """Raise UsageError (``not-canonical``) with ``message`` for tars made by other tools."""
    if manifest.profile != "canonical":
        raise UsageError(
            message,
            code="not-canonical",
            where=where,
            hint=f"wdstools pack {quote(where)} NEW    makes a dataset that supports this",
        )
