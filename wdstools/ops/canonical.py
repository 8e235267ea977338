"""What wdstools has not written is read and checked, and not changed, sent or taken apart."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from wdstools.errors import UsageError

if TYPE_CHECKING:
    from wdstools.formats.manifest import Manifest


def require_canonical(manifest: Manifest, where: str, message: str) -> None:
    """Raise UsageError (``not-canonical``) with ``message`` for tars that something else made."""
    if manifest.profile != "canonical":
        raise UsageError(
            message,
            code="not-canonical",
            where=where,
            hint=f"wdstools pack {quote(where)} NEW    makes a dataset of which that can be asked",
        )
