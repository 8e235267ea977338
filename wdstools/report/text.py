"""Texts from outside on a page: invisible characters are made visible, and cannot change the direction of other text."""

from __future__ import annotations

import re

#: Control characters except tab and newline.
_CONTROL_RE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: Characters that change the direction of text, or have no width.
_HIDDEN_RE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def readable(text: str) -> str:
    """A readable caption: control characters become their visible symbols."""
    return _CONTROL_RE.sub(_picture, text)


def exact(text: str) -> str:
    """A name that cannot be mistaken for another: invisible characters are written out."""
    plain = readable(text.replace("\n", "\u240a").replace("\t", "\u2409"))
    return _HIDDEN_RE.sub(lambda found: f"<U+{ord(found[0]):04X}>", plain)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
