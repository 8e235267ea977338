"""What a member's extension and payload mean: the one rule for images, captions and labels, in any container. Pure functions."""

from __future__ import annotations

from wdstools.formats.image_types import is_image_extension

#: Extensions of captions, in the order in which they are tried.
CAPTION_EXTENSIONS = ("txt", "caption", "text")
#: Classes are stored as int32.
_MAX_CLASS = 2**31 - 1
_MAX_CLASS_DIGITS = 20
#: The longest class name, in bytes.
_MAX_LABEL_BYTES = 128


def kind_of(extension: str) -> str:
    """What an extension means, ignoring case: ``image`` (including dotted ones), ``caption``, ``cls``, ``json`` or ""."""
    lower = extension.lower()
    if is_image_extension(lower):
        return "image"
    if lower in CAPTION_EXTENSIONS:
        return "caption"
    return lower if lower in ("cls", "json") else ""


def class_of(payload: bytes) -> int | None:
    """The number in a ``cls`` payload: ASCII digits, with optional white space around them; None if there is none that fits."""
    digits = payload.strip()
    if not digits.isdigit() or len(digits) > _MAX_CLASS_DIGITS:
        return None
    number = int(digits)
    return number if number <= _MAX_CLASS else None


def label_of(payload: bytes) -> str | None:
    """The name of a class in a ``cls`` payload, in place of a number: a line of text; None if there is none."""
    if len(payload) > _MAX_LABEL_BYTES:
        return None
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and text and not text.lstrip("+-").replace(".", "", 1).isdigit() else None
