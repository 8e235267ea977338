"""What a member's extension and payload say: the one rule of images, captions and labels, whatever the container. Pure."""

from __future__ import annotations

from wdstools.formats.image_types import is_image_extension

#: Extensions of captions, in the order in which a sample's one is looked for.
CAPTION_EXTENSIONS = ("txt", "caption", "text")
#: A class is a column of int32.
_MAX_CLASS = 2**31 - 1
_MAX_CLASS_DIGITS = 20
#: A longer class name is no name.
_MAX_LABEL_BYTES = 128


def kind_of(extension: str) -> str:
    """What an extension stands for, in upper or lower case: ``image`` (dotted ones too), ``caption``, ``cls``, ``json`` or "" ."""
    lower = extension.lower()
    if is_image_extension(lower):
        return "image"
    if lower in CAPTION_EXTENSIONS:
        return "caption"
    return lower if lower in ("cls", "json") else ""


def class_of(payload: bytes) -> int | None:
    """The number that a ``cls`` payload gives: ASCII digits, with white space around them; None if it gives none that fits."""
    digits = payload.strip()
    if not digits.isdigit() or len(digits) > _MAX_CLASS_DIGITS:
        return None
    number = int(digits)
    return number if number <= _MAX_CLASS else None


def label_of(payload: bytes) -> str | None:
    """The name of a class that a ``cls`` payload gives in place of a number: a line of text; None if it gives none."""
    if len(payload) > _MAX_LABEL_BYTES:
        return None
    try:
        text = payload.decode().strip()
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() and text and not text.lstrip("+-").replace(".", "", 1).isdigit() else None
