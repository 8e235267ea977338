"""The names that Google Takeout gives to the JSON of a photograph: truncated, numbered, and shared with the edited copy.

``IMG_2(1).jpg`` has ``IMG_2.jpg(1).json`` or ``IMG_2.jpg.supplemental-metadata(1).json``; the whole name is truncated to 51 bytes, so
``.supplemental-metadata`` may be cut off anywhere; ``IMG_2-edited.jpg`` has no document of its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wdstools.sources.source_words import is_image

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD = ".supplemental-metadata"
_MOST_BYTES = 46
_NUMBERED_RE = re.compile(r"(.*)(\(\d+\))")
_EDITED_RE = re.compile(r"(.+?)-(?:edited|bearbeitet|modifié|editado|modificato|bewerkt|edytowane|edit)", re.IGNORECASE)


def photograph_of(name: str) -> str | None:
    """The photograph that a document is about, by the document's name; None if it has another form."""
    stem, dot, extension = name.rpartition(".")
    if not dot or extension.lower() != "json":
        return None
    numbered = _NUMBERED_RE.fullmatch(stem)
    stem, number = (numbered[1], numbered[2]) if numbered else (stem, "")
    head, dot, tail = stem.rpartition(".")
    if dot and is_image(head) and _WORD.startswith(f".{tail}"):
        stem = head
    if not is_image(stem):
        return None
    before, _, kind = stem.rpartition(".")
    return f"{before}{number}.{kind}"


def documents(names: Iterable[str]) -> dict[str, str]:
    """The document of each photograph that has one, by the photograph's name, or the first 46 bytes of a long one."""
    found: dict[str, str] = {}
    for name in names:
        photograph = photograph_of(name)
        if photograph is not None:
            found.setdefault(photograph, name)
        elif name.lower().endswith(".json") and len(name.encode()) >= _MOST_BYTES + len(".json") - 1:
            found.setdefault(name[: -len(".json")], name)
    return found


def asked_names(stem: str, ext: str) -> list[str]:
    """The names under which ``documents`` may have the document of a photograph, the most likely first."""
    edited = _EDITED_RE.fullmatch(_NUMBERED_RE.sub(r"\1", stem))
    numbered = _NUMBERED_RE.fullmatch(stem)
    plain = [stem + ext] + ([f"{edited[1]}{numbered[2] if numbered else ''}{ext}"] if edited else [])
    return [*plain, *(cut for name in plain if (cut := _cut(name)) != name)]


def _cut(name: str) -> str:
    return name.encode()[:_MOST_BYTES].decode(errors="ignore")
